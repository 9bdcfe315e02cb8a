"""Read HDF5 files, which may be hostile. Links and references to other files are never followed.

The library ``h5py`` is used for the structure of the file alone. Tensors are mapped into memory, or unpacked
chunk by chunk with a limit, because HDF5 itself unpacks a chunk without any limit.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, final

import numpy as np
import torch
from torch import Tensor

from sneframe.errors import FileError, one_line
from sneframe.files.archive import GROWTH, SMALL
from sneframe.files.sizes import size_of

MAGIC = b"\x89HDF\r\n\x1a\n"  #: the first bytes of an HDF5 file
LINKS = 100_000  #: largest number of groups and datasets in a file
DEEPEST = 64  #: largest number of levels of nested groups
CHUNKS = 100_000  #: largest number of chunks of a dataset
DEFLATE, SHUFFLE, CHECKSUM = 1, 2, 3  #: the numbers of the filters that can be undone
REWRITE = "write the file again without it"
#: The allowed sizes in bytes of a number, by the letter that NumPy gives to the kind of the number.
NUMBERS = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1,), "b": (1,)}


@final
class H5File(AbstractContextManager["H5File"]):
    """An HDF5 file, open for reading.

    Args:
        source: the path of the file, or the open file. The file of a path is mapped into memory.
        path: the path of the file that error messages name.

    Attributes:
        path: the path of the file that error messages name.
        datasets: the datasets of numbers by path, without a slash in front. :meth:`tensor` reads their
            values.
        passed: the paths of the datasets that hold no numbers, such as strings.

    Raises:
        FileError: the file is damaged, or leads to other files.
    """

    def __init__(self, source: Path | IO[bytes], path: Path) -> None:
        import h5py

        self._h5, self.path = h5py, path
        self._size = size_of(source)
        self.datasets: dict[str, Any] = {}
        self.passed: list[str] = []
        self._groups: dict[str, Any] = {}
        try:
            self._file = h5py.File(source, "r")
        except Exception as error:  # HDF5 raises many kinds of errors for a damaged file
            raise self._damaged(error) from error
        try:
            self._bytes = _bytes_of(source)
            self._walk()
            self._check_sizes()
        except BaseException:
            self._file.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def texts(self, path: str, name: str) -> list[str] | None:
        """Return the strings in an attribute of a group or dataset, or None if it has no such attribute.

        Keras splits a long attribute into ``name0``, ``name1`` …. Their strings are returned in one list.

        Raises:
            FileError: the attribute is damaged, or its strings would take far more bytes than the file.
        """
        owner = self._groups.get(path, self.datasets.get(path))
        if owner is None:
            return None
        if (whole := self._texts(owner, name)) is not None:
            return whole
        parts: list[str] = []
        for number in itertools.count():
            if (part := self._texts(owner, f"{name}{number}")) is None:
                return parts if number else None
            parts += part
        return None

    def _texts(self, owner: Any, name: str) -> list[str] | None:
        h5a = self._h5.h5a
        try:
            if not h5a.exists(owner.id, name.encode()):
                return None
            attribute = h5a.open(owner.id, name.encode())
            shape, kind = attribute.shape, attribute.dtype
            strings = self._h5.check_string_dtype(kind)
            if shape is None or kind.kind not in "SO" or strings is None:
                # an attribute without elements, as Keras writes for a layer without weights, has any type
                return [] if shape is None or prod(shape) == 0 else None
            # Strings of variable length may all refer to the same string, which may be as long as the file.
            needed = prod(shape) * (self._size if strings.length is None else strings.length)
            if needed > max(SMALL, GROWTH * self._size):
                raise FileError(f"{self.path}: the attribute {name!r} could take {needed} bytes")
            found = np.asarray(owner.attrs[name], dtype=object).reshape(-1)
        except FileError:
            raise
        except Exception as error:
            raise self._damaged(error) from error
        return [
            each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
            for each in found.tolist()
        ]

    # -- structure -------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        """Collect the groups and datasets of the file. Refuse all links except hard links."""
        h5 = self._h5
        seen: set[int] = set()
        waiting: list[tuple[str, Any]] = []
        count = 0
        try:
            waiting.append(("", self._file["/"]))
            while waiting:
                path, group = waiting.pop()
                address = h5.h5o.get_info(group.id).addr
                if address in seen:
                    raise FileError(f"{self.path}: the group {path!r} is linked from several groups")
                seen.add(address)
                self._groups[path] = group
                if path.count("/") >= DEEPEST:
                    raise FileError(f"{self.path}: more than {DEEPEST} groups are nested")
                for name in group:
                    count += 1
                    if count > LINKS:
                        raise FileError(f"{self.path}: the file has more than {LINKS} groups and datasets")
                    inner = f"{path}/{name}" if path else name
                    if not isinstance(group.get(name, getlink=True), h5.HardLink):
                        raise FileError(f"{self.path}: {inner!r} is a link, and links are never followed")
                    found = group[name]
                    if isinstance(found, h5.Group):
                        waiting.append((inner, found))
                    elif isinstance(found, h5.Dataset):
                        self._add(inner, found)
        except FileError:
            raise
        except Exception as error:
            raise self._damaged(error) from error

    def _add(self, name: str, dataset: Any) -> None:
        settings, h5d = dataset.id.get_create_plist(), self._h5.h5d
        if settings.get_layout() == h5d.VIRTUAL or settings.get_external_count():
            raise FileError(
                f"{self.path}: the values of {name!r} are in other files, and other files are never opened"
            )
        kind = dataset.dtype
        bfloat16 = kind.str == "|V2" and self._texts(dataset, "dtype") == ["bfloat16"]
        if dataset.shape is None or not (bfloat16 or kind.itemsize in NUMBERS.get(kind.kind, ())):
            self.passed.append(name)
        else:
            self.datasets[name] = dataset

    def _check_sizes(self) -> None:
        """Check that the values of all datasets together do not take far more bytes than the file."""
        limit = max(SMALL, GROWTH * self._size)
        total = 0
        try:
            for dataset in self.datasets.values():
                total += max(prod(dataset.shape) * dataset.dtype.itemsize, _chunked(dataset))
        except Exception as error:
            raise self._damaged(error) from error
        if total > limit:
            raise FileError(
                f"{self.path}: the tensors would take {total} bytes, but the file has {self._size}"
            )

    def _damaged(self, error: BaseException) -> FileError:
        return FileError(f"{self.path}: damaged HDF5 file ({one_line(error)})")

    # -- values ----------------------------------------------------------------------------------------------

    def tensor(self, name: str) -> Tensor:
        """Return the values of the dataset with this path in ``datasets``.

        Raises:
            FileError: values are missing from the file, or an unknown filter was applied to them.
        """
        dataset = self.datasets[name]
        try:
            values = self._values(name, dataset)
            if not values.dtype.isnative:
                values = values.astype(values.dtype.newbyteorder("="))
            if not values.flags.aligned or not values.flags.writeable:
                values = values.copy()
            if values.dtype.kind == "V":
                return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(values)
        except FileError:
            raise
        except Exception as error:
            raise self._damaged(error) from error

    def _values(self, name: str, dataset: Any) -> np.ndarray[Any, Any]:
        shape, kind = dataset.shape, dataset.dtype
        layout, h5d = dataset.id.get_create_plist().get_layout(), self._h5.h5d
        if prod(shape) == 0:
            return np.empty(shape, kind)
        if layout == h5d.COMPACT:
            return np.array(dataset[()], kind).reshape(shape)
        if layout == h5d.CHUNKED:
            return self._unpacked(name, dataset)
        offset, length = dataset.id.get_offset(), prod(shape) * kind.itemsize
        if offset is None:
            raise self._unwritten(name)
        return self._slice(name, offset, length).view(kind).reshape(shape)

    def _slice(self, name: str, offset: int, length: int) -> np.ndarray[Any, Any]:
        if offset < 0 or offset + length > len(self._bytes):
            raise FileError(f"{self.path}: {name!r} goes beyond the end of the file")
        return self._bytes[offset : offset + length]

    def _unwritten(self, name: str) -> FileError:
        return FileError(f"{self.path}: the values of {name!r} were never written")

    def _unpacked(self, name: str, dataset: Any) -> np.ndarray[Any, Any]:
        shape, kind, chunk = dataset.shape, dataset.dtype, dataset.chunks
        filters = self._filters(name, dataset)
        counts = [-(-size // step) for size, step in zip(shape, chunk, strict=True)]
        if prod(counts) > CHUNKS:
            raise FileError(f"{self.path}: {name!r} has {prod(counts)} chunks, more than {CHUNKS}")
        if dataset.id.get_num_chunks() < prod(counts):
            raise self._unwritten(name)
        values = np.empty(shape, kind)
        for position in itertools.product(*(range(0, size, n) for size, n in zip(shape, chunk, strict=True))):
            info = dataset.id.get_chunk_info_by_coord(position)
            if info.byte_offset is None or not info.size:
                raise self._unwritten(name)
            packed = self._slice(name, info.byte_offset, info.size).tobytes()
            used = [each for bit, each in enumerate(filters) if not info.filter_mask >> bit & 1]
            block = self._unfiltered(name, packed, used, prod(chunk) * kind.itemsize, kind.itemsize)
            whole = np.frombuffer(block, kind).reshape(chunk)
            ends = [min(size - at, n) for size, at, n in zip(shape, position, chunk, strict=True)]
            target = tuple(slice(at, at + n) for at, n in zip(position, ends, strict=True))
            values[target] = whole[tuple(slice(n) for n in ends)]
        return values

    def _filters(self, name: str, dataset: Any) -> list[int]:
        settings = dataset.id.get_create_plist()
        found = [settings.get_filter(n) for n in range(settings.get_nfilters())]
        for number, *_, label in found:
            if number not in (DEFLATE, SHUFFLE, CHECKSUM):
                text = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
                raise FileError(f"{self.path}: {name!r} is packed by the filter {text!r}; {REWRITE}")
        return [each[0] for each in found]

    def _unfiltered(self, name: str, packed: bytes, filters: Sequence[int], size: int, item: int) -> bytes:
        """Undo the filters of a chunk, the last filter first, and return its ``size`` bytes of values.

        ``item`` is the number of bytes of a value, by which the filter SHUFFLE had reordered the bytes.
        """
        for number in reversed(filters):
            if number == CHECKSUM:
                packed = packed[:-4]
            elif number == DEFLATE:
                # If a checksum was added before the compression, it takes four more bytes.
                packed = zlib.decompressobj().decompress(packed, size + 5)
            elif len(packed) == size:
                packed = np.frombuffer(packed, np.uint8).reshape(item, -1).T.tobytes()
        if len(packed) != size:
            raise FileError(f"{self.path}: a chunk of {name!r} must have {size} bytes, but got {len(packed)}")
        return packed


def _chunked(dataset: Any) -> int:
    """Return the number of bytes of all chunks of a dataset, or zero if it has none."""
    if not (chunk := dataset.chunks):
        return 0
    counts: Iterator[int] = (-(-size // step) for size, step in zip(dataset.shape, chunk, strict=True))
    return prod(counts) * prod(chunk) * int(dataset.dtype.itemsize)


def _bytes_of(source: Path | IO[bytes]) -> np.ndarray[Any, Any]:
    """Return the bytes of a file as an array. A change of the array does not change the file."""
    if isinstance(source, Path):
        return np.memmap(source, np.uint8, mode="c")
    source.seek(0)
    return np.frombuffer(bytearray(source.read()), np.uint8)

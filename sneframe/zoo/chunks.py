"""Write the rows of arrays to chunk files, and read the rows back. Only this module uses zarr.

Chunks are encoded in memory and written with plain file operations. No write therefore continues in the
background after an interrupt, and a full disk raises an error at the call that writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sneframe.errors import ZooError
from sneframe.zoo.format import FLOATS, METADATA, chunk_file, chunk_grid, chunk_shape
from sneframe.zoo.manifest import ArrayRecord

if TYPE_CHECKING:
    import zarr

_BFLOAT16_NAN = 0x7FC0
_BFLOAT16_EXPONENT = 0x7F80


# -- values ------------------------------------------------------------------------------------------------


def stored_dtype(dtype: str) -> np.dtype[Any]:
    """Return the numpy type that stores a type of the zoo format on disk."""
    return np.dtype({"bfloat16": "uint16", "string": "O"}.get(dtype, dtype))


def content(values: np.ndarray) -> bytes | memoryview:
    """Return the bytes of an array that are hashed.

    Numbers are encoded as little-endian in C order. A string is encoded as its length in 8 bytes and its
    UTF-8 bytes.
    """
    if values.dtype == object:
        encoded = [text.encode() for text in values]
        return b"".join(len(text).to_bytes(8, "little") + text for text in encoded)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def finite(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return which rows of an array ``(n, *shape)`` have only finite values, as bools of shape ``(n,)``."""
    if dtype == "bfloat16":
        good = (values & _BFLOAT16_EXPONENT) != _BFLOAT16_EXPONENT
    elif dtype in FLOATS:
        good = np.isfinite(values)
    else:
        return np.ones(len(values), bool)
    return np.asarray(good.reshape(len(values), -1).all(axis=1))


def as_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """Convert stored values to single precision.

    Raises:
        FloatingPointError: a finite value is too large for single precision.
    """
    if dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="raise"):
        return values.astype(np.float32, copy=False)


def widest(one: str, other: str) -> str:
    """Return the narrowest type that represents all values of two types.

    For float16 and bfloat16, this is float32.
    """
    if one == other:
        return one
    if "bfloat16" in (one, other):
        return "float32" if {one, other} <= {"bfloat16", "float16", "float32"} else "float64"
    return np.promote_types(one, other).name


def cast(values: np.ndarray, before: str, dtype: str) -> np.ndarray:
    """Convert stored values from one floating-point type to a wider one."""
    if before == dtype:
        return values
    return (as_float32(values, before) if before == "bfloat16" else values).astype(dtype)


# -- writing -----------------------------------------------------------------------------------------------


class ArrayWriter:
    """A writer of one array. Each call of :meth:`write` writes one chunk of rows.

    Args:
        root: the folder in which the zoo is written.
        path: the path of the array within the zoo.
        dtype: a type name of the zoo format.
        shape: the shape of one row.
        length: the number of rows in a chunk.
        attributes: the attributes in the zarr metadata of the array.
    """

    def __init__(
        self,
        root: Path,
        path: str,
        *,
        dtype: str,
        shape: tuple[int, ...] = (),
        length: int,
        attributes: Mapping[str, Any],
    ) -> None:
        self._folder = root / path
        self._dtype = dtype
        self._shape = shape
        self._chunks = chunk_shape(length, shape, stored_dtype(dtype).itemsize)
        self._attributes = dict(attributes) | ({"sneframe:dtype": dtype} if dtype == "bfloat16" else {})
        self._rows = 0
        self._sizes: list[int] = []
        self._hash = hashlib.sha256()
        self._files: dict[str, Any] = {}
        self._chunk = self._in_memory(self._files)

    def write(self, rows: np.ndarray) -> None:
        """Write the next chunk of rows ``(length, *shape)``. Only the last chunk may have fewer rows.

        Raises:
            OSError: a file cannot be written, for example because the disk is full.
        """
        for key in [key for key in self._files if key != METADATA]:
            del self._files[key]
        self._chunk[: len(rows)] = _for_zarr(rows)
        first = self._rows // self._chunks[0]
        for index in np.ndindex(*chunk_grid(rows.shape, self._chunks)):
            data = self._files[chunk_file(index)].to_bytes()
            file = self._folder / chunk_file((first, *index[1:]))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            self._sizes.append(len(data))
        self._rows += len(rows)
        self._hash.update(content(rows))

    def close(self) -> ArrayRecord:
        """Write the array's metadata and return its record for the manifest."""
        shape = (self._rows, *self._shape)
        metadata = json.loads(self._files[METADATA].to_bytes()) | {"shape": shape}
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / METADATA).write_bytes(json.dumps(metadata).encode())
        return ArrayRecord(
            dtype=self._dtype,
            shape=shape,
            chunks=self._chunks,
            sizes=self._sizes,
            sha256=self._hash.hexdigest(),
        )

    def _in_memory(self, files: dict[str, Any]) -> zarr.Array[Any]:
        """Return a zarr array for one chunk of rows, which stores its files in the dict ``files``."""
        import zarr
        from zarr.codecs import BloscCodec, Crc32cCodec
        from zarr.storage import MemoryStore

        kind = stored_dtype(self._dtype)
        typesize = 1 if kind.kind == "O" else kind.itemsize
        return zarr.create_array(
            MemoryStore(files),
            shape=(self._chunks[0], *self._shape),
            chunks=self._chunks,
            dtype=str if kind.kind == "O" else kind,
            zarr_format=3,
            # Blosc has no checksum. Without CRC-32C, a flipped bit would silently change a weight.
            compressors=[
                BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=typesize),
                Crc32cCodec(),
            ],
            fill_value=_fill_value(self._dtype),
            attributes=self._attributes,
            # By default zarr does not write a chunk that holds only the fill value. A reader would then
            # report the chunk as missing.
            config={"write_empty_chunks": True},
        )


def _fill_value(dtype: str) -> Any:
    if dtype == "bfloat16":
        return _BFLOAT16_NAN
    if dtype in FLOATS:
        return float("nan")
    return {"string": "", "bool": False}.get(dtype, 0)


def _for_zarr(values: np.ndarray) -> np.ndarray:
    return values.astype(np.dtypes.StringDType()) if values.dtype == object else values


# -- reading -----------------------------------------------------------------------------------------------


def read(root: Path, path: str, record: ArrayRecord, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Read the rows of an array from ``start`` to ``stop``. Strings are returned as an object array.

    Args:
        root: the folder of the zoo.
        path: the path of the array within the zoo.
        record: the manifest's record of the array.
        start: the first row to read.
        stop: the row after the last row to read; by default, the number of rows.

    Raises:
        ZooError: a chunk or the metadata of the array is missing or damaged. The error names the file.
        OSError: a file exists but cannot be read.
    """
    import zarr
    from zarr.storage import LocalStore

    stop = record.shape[0] if stop is None else stop
    for _, name, size in record.chunk_files(start, stop):
        _check_size(root / path / name, size)
    try:
        array = zarr.open_array(LocalStore(root, read_only=True), path=path, mode="r", zarr_format=3)
        on_disk = (array.shape, array.chunks, "string" if record.dtype == "string" else array.dtype.name)
    except Exception as error:  # damaged metadata makes zarr's parser raise all kinds of exceptions
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        raise ZooError(f"{root / path / METADATA}: missing or damaged array metadata") from error
    if on_disk != (record.shape, record.chunks, _name_in_zarr(record.dtype)):
        raise ZooError(
            f"{root / path / METADATA}: the array's shape, chunks or type differ from those in the manifest"
        )
    try:
        values = np.asarray(array[start:stop])
    except (ValueError, RuntimeError) as error:
        file = root / path / _damaged_chunk(array, record, start, stop)
        raise ZooError(f"{file}: damaged chunk: wrong checksum or wrong compressed data") from error
    return values.astype(object) if record.dtype == "string" else values


def _name_in_zarr(dtype: str) -> str:
    return "uint16" if dtype == "bfloat16" else dtype


def _check_size(file: Path, size: int) -> None:
    # zarr silently reads a missing chunk as the fill value.
    try:
        actual = file.stat().st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ZooError(f"{file}: this chunk is missing") from error
    if actual != size:
        raise ZooError(f"{file}: damaged chunk: must have {size} bytes, but has {actual}")


def _damaged_chunk(array: zarr.Array[Any], record: ArrayRecord, start: int, stop: int) -> str:
    """Return the path within the array's folder of the first chunk that cannot be decoded."""
    for index, name, _ in record.chunk_files(start, stop):
        block = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, record.chunks, strict=True))
        try:
            array[block]
        except (ValueError, RuntimeError):
            return name
    return METADATA

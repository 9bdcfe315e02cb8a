"""Read ``torch.save`` archives that name classes of other projects. No such class is imported or called.

Some published zoos pickled objects of their own classes beside the weights. Each object becomes a
:class:`Stub`, which only records the arguments of the call that would build the object. Each tensor becomes a
:class:`StoredTensor`, which reads the values from the file on demand.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.archive import check_archive
from sneframe.files.file_bytes import FileBytes
from sneframe.files.stored import Storage, StoredTensor, Stub, read_all
from sneframe.files.unpickler import StubUnpickler, damage_named

__all__ = ["StoredTensor", "Stub", "read_all", "read_stubbed"]


def read_stubbed(
    file: Path | IO[bytes], path: Path, *, refuse_system: bool = False, script: str | None = None
) -> Any:
    """Read a zip archive of ``torch.save``. Objects that are neither plain values nor tensors become stubs.

    Args:
        file: a zip archive, as torch has written since version 1.6, as a path or an open file. An open file
            must stay open until the tensors have been read.
        path: the path of the archive, for errors.
        refuse_system: whether to refuse a file that names a function that acts on the system. If false, a
            call of such a function becomes a stub, too.
        script: the pickle to read if the archive is TorchScript: ``data`` or ``constants``. If None,
            TorchScript is refused.

    Raises:
        UnusualTensorError: the file has tensors that only torch can build, such as quantised tensors.
        FileError: the file is missing, damaged or refused.
    """
    with damage_named(path):
        if isinstance(file, Path):
            with file.open("rb") as opened:
                check_archive(opened, path, script=script is not None)
        else:
            check_archive(file, path, script=script is not None)
        archive, name = _Archive(file), script or "data"
        root = next((n for n in archive.entries if n.count("/") == 1 and n.endswith(f"/{name}.pkl")), None)
        if root is None:
            raise FileError(f"{path}: not an archive of torch.save: {name}.pkl is missing")
        inner = root.removesuffix(f"{name}.pkl")
        unpickler = StubUnpickler(
            io.BytesIO(archive.content(root)),
            path if refuse_system else None,
            lambda kind, key, length: archive.storage(f"{inner}{name}/{key}", kind, length),
        )
        if archive.entries.get(f"{inner}byteorder") and archive.content(f"{inner}byteorder") != b"little":
            unpickler.unusual = "a byte order other than little-endian"
        return unpickler.result(path)


class _Archive:
    """Reads the entries of a zip archive whose entries are not compressed."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        self._file = file
        with zipfile.ZipFile(file) as archive:
            self.entries = {entry.filename: entry for entry in archive.infolist()}
        self._mapped = FileBytes(file) if isinstance(file, Path) else None
        self._last: tuple[str, bytes] = ("", b"")  # many tensors may share one storage

    def content(self, name: str) -> bytes:
        if self._last[0] != name:
            with zipfile.ZipFile(self._file) as archive:
                self._last = (name, archive.read(name))
        return self._last[1]

    def storage(self, name: str, dtype: torch.dtype, length: int) -> Storage:
        if self.entries[name].file_size != length * dtype.itemsize:
            raise ValueError("a storage does not have the size that the pickle states")
        return Storage(lambda: self._elements(name, dtype), dtype, length, name)

    def _elements(self, name: str, dtype: torch.dtype) -> Tensor:
        if self._mapped is None:
            return torch.frombuffer(bytearray(self.content(name)), dtype=dtype)
        entry = self.entries[name]
        header = self._mapped.read(entry.header_offset, 30)
        if header[:4] != b"PK\x03\x04":
            raise FileError(f"the entry {name!r} of the archive is damaged")
        start = entry.header_offset + 30 + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        return self._mapped.elements(start, entry.file_size, dtype)

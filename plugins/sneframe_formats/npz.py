"""Read ``.npz`` files, which are archives of arrays and may be hostile."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from torch import Tensor

from sneframe.errors import FileError, one_line
from sneframe.files.archive import GROWTH, SMALL, read_entry
from sneframe_formats.mapped import Bytes, map_file, position
from sneframe_formats.npy import START, read_header

ENDING = ".npy"
ENTRIES = 100_000  #: largest number of entries of an archive
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  #: the compression methods of numpy
ENCRYPTED = 1  #: the flag of an encrypted entry
SPARSE = frozenset({"format.npy", "shape.npy", "data.npy"})  #: entries of a sparse matrix of scipy


def read_archive(path: Path) -> dict[str, Tensor | str | None]:
    """Return the arrays of an archive by name. Uncompressed, aligned arrays are mapped into memory.

    Raises:
        FileError: the archive is damaged, contains other things than arrays of numbers and strings, or would
            take far more memory than the file.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            _check(archive, path)
            mapped = map_file(path)
            return {
                info.filename.removesuffix(ENDING): _read(archive, info, path, file, mapped)
                for info in archive.infolist()
            }
    except (
        *(zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OverflowError),
        *(zlib.error, struct.error),
    ) as error:
        raise FileError(f"{path}: damaged archive ({one_line(error)})") from error


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if not entries:
        raise FileError(f"{path}: the archive holds no arrays")
    if len(entries) > ENTRIES or len(names) < len(entries):
        raise FileError(f"{path}: the archive has too many entries, or two entries with the same name")
    if names >= SPARSE:
        raise FileError(
            f"{path}: the archive holds a sparse matrix; save each array of the network with its name"
        )
    for entry in entries:
        if not entry.filename.endswith(ENDING):
            raise FileError(f"{path}: all entries must end in {ENDING}, but got {entry.filename!r}")
        if entry.compress_type not in METHODS or entry.flag_bits & ENCRYPTED:
            raise FileError(f"{path}: {entry.filename!r} is compressed or encrypted as numpy never does")
    size = path.stat().st_size
    if (declared := sum(entry.file_size for entry in entries)) > max(SMALL, GROWTH * size):
        raise FileError(f"{path}: the arrays would grow to {declared} bytes, but the file has {size}")


def _read(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, file: IO[bytes], mapped: Bytes
) -> Tensor | str | None:
    with archive.open(info) as entry:  # the header of the array is checked before its content is read
        header = read_header(entry.read(START), info.file_size, f"{path}: {info.filename}")

    def read() -> bytes:
        return read_entry(archive, info.filename, path).getvalue()[header.start :]

    start = position(info, path, file)
    return header.read(read, None if start is None else (mapped, start + header.start))

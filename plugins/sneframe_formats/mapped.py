"""Map files, and the entries of zip archives that are not compressed, into memory."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from sneframe.errors import FileError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
#: The header before the content of an entry: signature, length of the name, length of the extra field.
LOCAL = struct.Struct("<4s22xHH")


def map_file(path: Path) -> Bytes:
    """Map the bytes of a file that is not empty. A change of the bytes in memory does not change the file."""
    return np.asarray(np.memmap(path, np.uint8, mode="c"))


def position(info: zipfile.ZipInfo, path: Path, file: IO[bytes]) -> int | None:
    """Return the position of the content of an entry in its archive, or None if the entry is compressed.

    Args:
        info: the entry.
        path: the path of the archive, for errors.
        file: the open archive.

    Raises:
        FileError: the content would not be within the file.
    """
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    file.seek(info.header_offset)
    head = file.read(LOCAL.size)
    if len(head) < LOCAL.size or info.compress_size != info.file_size or not head.startswith(b"PK\3\4"):
        raise FileError(f"{path}: damaged archive (the entry {info.filename!r})")
    _, name, extra = LOCAL.unpack(head)
    start: int = info.header_offset + LOCAL.size + name + extra
    if start + info.file_size > path.stat().st_size:
        raise FileError(f"{path}: damaged archive (the entry {info.filename!r} ends after the file)")
    return start

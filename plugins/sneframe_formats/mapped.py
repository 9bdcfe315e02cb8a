"""Map files into memory, and find the uncompressed entries of zip archives in them."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from sneframe.errors import FileError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
#: The header of an entry of a zip archive: signature, length of the name, length of the extra field.
LOCAL = struct.Struct("<4s22xHH")


def map_file(path: Path) -> Bytes:
    """Map the bytes of a file that is not empty. A change of the bytes in memory does not change the file."""
    return np.asarray(np.memmap(path, np.uint8, mode="c"))


def position(info: zipfile.ZipInfo, path: Path, file: IO[bytes]) -> int | None:
    """Return the position of the content of an entry in the file of its archive. None: it is compressed.

    Args:
        info: the entry.
        path: the path of the archive, for errors.
        file: the open archive.

    Raises:
        FileError: the archive is damaged, or the content would end after the file.
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

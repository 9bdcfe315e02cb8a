"""Zip archives that may be hostile: what they say of themselves is checked before memory is taken by it."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import IO

from sneframe.errors import FileError, one_line

GROWTH = 20  #: how many times its size a compressed member may have, if it is larger than SMALL
SMALL = 1 << 26


def member(archive: zipfile.ZipFile, name: str, path: Path) -> io.BytesIO:
    """Return what a member of an archive holds, unpacked in memory.

    Raises:
        FileError: it is damaged, or grows when it is unpacked as no weights do.
    """
    try:
        info = archive.getinfo(name)
        if info.file_size > max(SMALL, GROWTH * info.compress_size):
            raise FileError(f"{path}: {name} would grow to {info.file_size} bytes when it is unpacked")
        return io.BytesIO(archive.read(info))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        raise FileError(f"{path}: {name}: damaged archive ({one_line(error)})") from error


def check_archive(file: IO[bytes], path: Path) -> None:
    """Check that an archive of torch holds its members as they are, each once: it takes no more than the file has.

    Raises:
        FileError: it is damaged, members are compressed, or more is said to be in it than the file has bytes.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise FileError(f"{path}: damaged archive ({one_line(error)})") from error
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if any("/code/" in member.filename for member in members):
        raise FileError(f"{path}: a TorchScript archive; save the state_dict() of its module")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise FileError(f"{path}: members are compressed, which torch never does")
    if (said := sum(member.file_size for member in members)) > size:
        raise FileError(f"{path}: {said} bytes are said to be in a file of {size}")

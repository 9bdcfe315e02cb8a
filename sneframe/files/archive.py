"""Read zip archives that may be hostile. The sizes that an archive declares are checked before unpacking."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import IO

from sneframe.errors import FileError, one_line

#: Largest allowed ratio of unpacked to packed bytes of an entry. Entries up to SMALL bytes may exceed the
#: ratio.
GROWTH = 20
SMALL = 1 << 26  #: size in bytes of an unpacked entry up to which GROWTH is not checked


def read_entry(archive: zipfile.ZipFile, name: str, path: Path) -> io.BytesIO:
    """Unpack one entry of an archive into memory.

    Args:
        archive: the open archive.
        name: the name of the entry.
        path: the path of the archive, for errors.

    Raises:
        FileError: the entry is damaged, or the unpacked entry would have more than ``SMALL`` bytes and more
            than ``GROWTH`` times the bytes of the packed entry. Weights never compress that well.
    """
    try:
        info = archive.getinfo(name)
        if info.file_size > max(SMALL, GROWTH * info.compress_size):
            raise FileError(f"{path}: {name} would grow to {info.file_size} bytes when it is unpacked")
        return io.BytesIO(archive.read(info))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        raise FileError(f"{path}: {name}: damaged archive ({one_line(error)})") from error


def check_archive(file: IO[bytes], path: Path, *, script: bool = False) -> None:
    """Check the entries of a ``torch.save`` archive, or of a TorchScript archive.

    The entries must be uncompressed, and their declared sizes must fit into the file.

    Args:
        file: the open archive.
        path: the path of the archive, for errors.
        script: whether the archive may be TorchScript. The code in a TorchScript archive may be compressed,
            and is not checked.

    Raises:
        FileError: the archive is damaged, is TorchScript although ``script`` is false, has compressed
            entries, or declares more bytes than the file has.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise FileError(f"{path}: damaged archive ({one_line(error)})") from error
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if len({entry.filename for entry in entries}) < len(entries):
        raise FileError(f"{path}: damaged archive (two entries have the same name)")
    if script:
        entries = [entry for entry in entries if "/code/" not in entry.filename]
    elif any("/code/" in entry.filename for entry in entries):
        raise FileError(f"{path}: this is a TorchScript archive; save the state_dict() of the module instead")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise FileError(f"{path}: the archive has compressed entries, which torch never writes")
    if (declared := sum(entry.file_size for entry in entries)) > size:
        raise FileError(f"{path}: the archive declares {declared} bytes, but the file has {size}")

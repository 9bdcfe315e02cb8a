"""Files in a folder or in a zip archive, which is read in place: nothing is unpacked onto the disk."""

from __future__ import annotations

import io
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import final

from sneframe.errors import FileError, ZooError
from sneframe.files import inside, read_entry
from sneframe_importers.each import folder


class Members(ABC):
    """Named files."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return all names, in order."""

    @abstractmethod
    def open(self, name: str) -> io.BytesIO:
        """Return what a file holds.

        Raises:
            FileError: it cannot be read.
        """


@contextmanager
def members(source: Path) -> Iterator[Members]:
    """Give the files of a folder or of an archive.

    Raises:
        ZooError: it is neither.
    """
    if not source.is_file():
        yield _Folder(folder(source))
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield _Archive(archive, source)
    except zipfile.BadZipFile as error:
        raise ZooError(f"{source}: neither a folder nor a zip archive") from error


@final
class _Folder(Members):
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        return sorted(
            path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if path.is_file()
        )

    def open(self, name: str) -> io.BytesIO:
        try:
            return io.BytesIO(inside(self._path, name).read_bytes())
        except OSError as error:
            raise FileError(f"{name}: {error.strerror or error}") from error


@final
class _Archive(Members):
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path

    def names(self) -> list[str]:
        return sorted(
            name for name in self._archive.namelist() if not PurePosixPath(name).name.startswith("._")
        )

    def open(self, name: str) -> io.BytesIO:
        return read_entry(self._archive, name, Path(name))

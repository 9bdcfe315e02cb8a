"""Read the files of a folder or of a zip archive. Nothing is unpacked to the disk."""

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


class Entries(ABC):
    """The files of a folder, or the entries of a zip archive."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return all names in alphabetical order, as paths relative to the folder or archive."""

    @abstractmethod
    def open(self, name: str) -> io.BytesIO:
        """Return the content of the file or entry ``name``.

        Raises:
            FileError: the file or entry cannot be read.
        """


@contextmanager
def open_entries(source: Path) -> Iterator[Entries]:
    """Open a folder or a zip archive.

    Raises:
        ZooError: the path is neither a folder nor a zip archive.
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
class _Folder(Entries):
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
class _Archive(Entries):
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path

    def names(self) -> list[str]:
        return sorted(
            name for name in self._archive.namelist() if not PurePosixPath(name).name.startswith("._")
        )

    def open(self, name: str) -> io.BytesIO:
        return read_entry(self._archive, name, Path(name))

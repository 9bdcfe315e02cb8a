"""Resolve file names from tables and index files. A name that leads out of its folder is refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from sneframe.errors import FileError


def inside(folder: Path, name: str, *, folders: bool = False) -> Path:
    """Return the path of a file in a folder.

    Args:
        folder: the folder that holds the file, at any depth.
        name: a relative path from a table or an index. It may have the backslashes of Windows, and its
            accents may be composed differently from those of the file's name, as on macOS.
        folders: whether the name may be that of a folder, which holds one network.

    Raises:
        FileError: the name is absolute, the path leads out of the folder through ``..`` or through a link, or
            there is no such file. In a Hugging Face cache, links from ``snapshots`` to ``blobs`` of the same
            repository are allowed.
    """
    try:
        path = next(_spellings(folder, name))
        found, own = path.resolve(), folder.resolve()
        allowed = [own, *_blobs(own)]
        if Path(name).is_absolute() or not any(found.is_relative_to(each) for each in allowed):
            raise FileError(f"{name}: leads out of {folder}")
        if not (found.is_file() or (folders and found.is_dir())):
            raise FileError(f"{name}: {'not a file' if found.exists() else 'no such file'}")
    except (OSError, RuntimeError, ValueError) as error:  # a long name, a loop of links, a null byte
        raise FileError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    return path


def _spellings(folder: Path, name: str) -> Iterator[Path]:
    """Yield the existing paths that a name may mean in the spellings of Windows and macOS.

    The last path that is yielded is ``folder / name``. Only this path may not exist.
    """
    for word in (
        name,
        name.replace("\\", "/"),
        *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")),
    ):
        if (folder / word).exists():
            yield folder / word
    yield folder / name


def plain_spelling(name: str) -> str:
    """Return a relative path with forward slashes and composed accents, so that spellings can be compared."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _blobs(folder: Path) -> list[Path]:
    """Return ``[models--ORG--NAME/blobs]`` if ``folder`` is in a snapshot of a Hugging Face cache.

    The links in a snapshot lead to this folder ``blobs``. For any other ``folder`` the list is empty.
    """
    for parent in (folder, *folder.parents):
        if parent.name == "snapshots" and parent.parent.name.partition("--")[0] in (
            "models",
            "datasets",
            "spaces",
        ):
            return [parent.parent / "blobs"]
    return []

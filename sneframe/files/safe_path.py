"""Paths that must not leave their folder, whoever wrote them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from sneframe.errors import FileError


def inside(folder: Path, name: str) -> Path:
    """Return the file of this name in a folder.

    Args:
        folder: that the file is in, at any depth.
        name: relative, as a table or an index gives it; also with the backslashes of Windows, or with accents composed
            otherwise than in the file's name, as macOS does.

    Raises:
        FileError: the name is absolute, leads out of the folder, by ``..`` or by a link, or no file is there. The links of
            a Hugging Face cache, from ``snapshots`` to ``blobs`` of the same repository, do not lead out.
    """
    try:
        path = next(_spellings(folder, name))
        found, own = path.resolve(), folder.resolve()
        allowed = [own, *_blobs(own)]
        if Path(name).is_absolute() or not any(found.is_relative_to(place) for place in allowed):
            raise FileError(f"{name}: leads out of {folder}")
        if not found.is_file():
            raise FileError(f"{name}: {'no file' if found.exists() else 'not there'}")
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, a null byte
        raise FileError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    return path


def _spellings(folder: Path, name: str) -> Iterator[Path]:
    """Yield the path of a name if something is there, else as Windows or macOS would write it; at last as it stands."""
    for word in (
        name,
        name.replace("\\", "/"),
        *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")),
    ):
        if (folder / word).exists():
            yield folder / word
    yield folder / name


def _blobs(folder: Path) -> list[Path]:
    """Return where the files of a snapshot in a Hugging Face cache lie: ``models--ORG--NAME/blobs``."""
    for parent in (folder, *folder.parents):
        if parent.name == "snapshots" and parent.parent.name.partition("--")[0] in (
            "models",
            "datasets",
            "spaces",
        ):
            return [parent.parent / "blobs"]
    return []

"""Paths that must not leave their folder, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

from sneframe.errors import FileError


def inside(folder: Path, name: str) -> Path:
    """Return the file of this name in a folder.

    Args:
        folder: that the file is in, at any depth.
        name: relative, as a table or an index gives it.

    Raises:
        FileError: the name is absolute, leads out of the folder, by ``..`` or by a link, or no file is there. The links of
            a Hugging Face cache, from ``snapshots`` to ``blobs`` of the same repository, do not lead out.
    """
    path = folder / name
    try:
        found, own = path.resolve(), folder.resolve()
        allowed = [own, *_blobs(own)]
        if Path(name).is_absolute() or not any(found.is_relative_to(place) for place in allowed):
            raise FileError(f"{name}: leads out of {folder}")
        if not found.is_file():
            raise FileError(f"{name}: {'no file' if found.exists() else 'not there'}")
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, a null byte
        raise FileError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    return path


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

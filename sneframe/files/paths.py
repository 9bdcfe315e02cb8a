"""Find the networks at a path that a user gives: a file, a model folder, or a folder of networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sneframe.errors import FileError
from sneframe.files.reader import Candidate, FileReader
from sneframe.files.recognise import recognised
from sneframe.files.safe_path import inside
from sneframe.files.search import NetworkPath, networks_in
from sneframe.zoo.manifest import is_zoo


def paths_at(path: Path, readers: Sequence[FileReader]) -> list[Path]:
    """Return the paths of the networks at a path: the path itself, or the networks in a folder.

    Args:
        path: the path of a file or folder.
        readers: the known file readers.

    Raises:
        FileError: the path is a zoo, or a folder in which no file reader recognises a file.
    """
    if not path.is_dir() or recognised(Candidate(path), readers) is not None:
        return [path]
    if is_zoo(path):
        raise FileError(f"{path}: this is a zoo; give files or a folder of files, or export the zoo first")
    names = [each.name for each in networks_in(path, readers) if isinstance(each, NetworkPath)]
    if not names:
        raise FileError(f"{path}: the folder is no zoo, and no file reader recognises a file in it")
    return [inside(path, name, folders=True) for name in names]

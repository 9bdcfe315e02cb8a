"""List the files that Python may import from an installed distribution, by the metadata of the distribution.

An ordinary installation lists its files (``RECORD``). An editable installation lists only where Python
finds the modules: paths in ``.pth`` files, or the table of a setuptools finder. The files are then
collected from there.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

INSTALLED = ("site-packages", "dist-packages")  #: folders that many distributions share
#: Folders next to the packages of a project whose files are not part of the distribution.
BESIDE = ("build", "dist", "doc", "docs", "node_modules", "test", "tests", *INSTALLED)
SCRIPTS = ("conftest.py", "noxfile.py", "setup.py")  #: modules next to the packages that only tools run
CODE = (".py", *EXTENSION_SUFFIXES)


def brought(distribution: metadata.Distribution) -> dict[str, Path]:
    """Return every file that can be imported from a distribution, and the data files in its packages.

    All files of a package count. In a folder without ``__init__.py`` only code counts. Hidden folders,
    virtual environments, caches and metadata never count, nor do tests, docs and builds next to the packages
    of an editable project.

    Args:
        distribution: an installed distribution. Only its metadata are read; nothing is imported.

    Returns:
        Paths by name. The name is the path below the folder from which the file is imported.
    """
    found: dict[str, Path] = {}
    for file in _recorded(distribution):
        path = Path(str(file.locate()))
        if path.is_file():
            found[file.as_posix()] = path
    for place in _modules(distribution):
        found.update(_named(place))
    for root in _roots(distribution):
        for path in sorted(root.iterdir()):
            if _may_be_imported(path):
                found.update(_named(path))
    return found


def of_package(root: Path, *, whole: bool = True) -> Iterator[Path]:
    """Yield the files of a package in order, without hidden files, virtual environments and Python caches.

    Args:
        root: the folder of the package.
        whole: whether all files count. Otherwise only code and the files of nested packages count.
    """
    try:
        inner = sorted(root.iterdir())
    except PermissionError:  # Python cannot import from this folder either
        return
    whole = whole or root / "__init__.py" in inner
    for path in inner:
        if path.name.startswith(".") or path.suffix == ".pyc":
            continue
        if path.is_dir():
            if (whole or path.name.isidentifier()) and not _is_aside(path):
                yield from of_package(path, whole=whole)
        elif path.is_file() and (whole or path.name.endswith(CODE)):
            yield path


def _named(place: Path) -> dict[str, Path]:
    """Return the files of a module or package, by their paths relative to the parent folder of ``place``."""
    files = of_package(place, whole=False) if place.is_dir() else [place] * place.is_file()
    return {path.relative_to(place.parent).as_posix(): path for path in files}


def _may_be_imported(path: Path) -> bool:
    """Return whether a path in the root of a project is a package or module of the project."""
    if path.is_dir():
        return path.name.isidentifier() and path.name not in BESIDE and not _is_aside(path)
    return (
        path.name.endswith(CODE) and path.name not in SCRIPTS and path.name.partition(".")[0].isidentifier()
    )


def _is_aside(path: Path) -> bool:
    """Return whether a folder is a cache, a virtual environment, or a link to one of its own parents."""
    if path.name == "__pycache__" or (path / "pyvenv.cfg").is_file():
        return True
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


# -- reading the metadata --------------------------------------------------------------------------


def _files(distribution: metadata.Distribution) -> list[metadata.PackagePath]:
    """Return the files in ``RECORD``. The list of sources in a checkout may be outdated and is ignored."""
    return list(distribution.files or ()) if distribution.read_text("RECORD") is not None else []


def _recorded(distribution: metadata.Distribution) -> Iterator[metadata.PackagePath]:
    """Yield the files listed in ``RECORD`` that Python can import from where they are.

    Metadata, commands, caches and ``.pth`` files are left out.
    """
    for file in _files(distribution):
        first = file.parts[0]
        if first in ("..", "/") or first.endswith((".dist-info", ".egg-info")) or "__pycache__" in file.parts:
            continue
        if not first.startswith("__editable__") and file.suffix not in (".pth", ".pyc"):
            yield file


def _modules(distribution: metadata.Distribution) -> Iterator[Path]:
    """Yield the path of each module and package that the metadata name."""
    for file in _files(distribution):
        if file.name.startswith("__editable__") and file.suffix == ".py":
            yield from _table(Path(str(file.locate())))
    if not _files(distribution):
        here = Path(str(distribution.locate_file("")))
        for name in (distribution.read_text("top_level.txt") or "").split():
            yield here / name if (here / name).is_dir() else here / f"{name}.py"


def _table(finder: Path) -> Iterator[Path]:
    """Yield the paths in the ``MAPPING`` of a setuptools finder. The file is parsed and not run."""
    if not finder.is_file():
        return
    for node in ast.parse(finder.read_bytes()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == "MAPPING" for each in targets):
            value = getattr(node, "value", None)
            for place in ast.literal_eval(value).values() if value is not None else ():
                yield Path(place) if Path(place).is_dir() else Path(f"{place}".removesuffix(".py") + ".py")


def _roots(distribution: metadata.Distribution) -> list[Path]:
    """Return the folders that this distribution alone adds to Python's path."""
    found: list[Path] = []
    for file in _files(distribution):
        path = Path(str(file.locate()))
        if file.suffix == ".pth" and path.is_file():
            lines = (
                line.strip()
                for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            )
            found += [path.parent / line for line in lines if line and not line.startswith(("import ", "#"))]
    here = Path(str(distribution.locate_file("")))
    if not _files(distribution) and here.name not in INSTALLED:
        found.append(here)  # a checkout that is itself on Python's path
    elif not found and not any(_modules(distribution)):
        found += _project(distribution)
    return [root for root in dict.fromkeys(found) if root.is_dir()]


def _project(distribution: metadata.Distribution) -> Iterator[Path]:
    """Yield the source folders of an editable project that has neither ``.pth`` files nor a finder."""
    try:
        said = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(said["url"]) if said.get("dir_info", {}).get("editable") else None
    except (ValueError, KeyError, AttributeError):
        return
    if url is not None and url.scheme == "file":
        root = Path(url2pathname(url.path))
        yield from (root / "src", root)

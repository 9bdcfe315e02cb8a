"""Identify the code that computes a cell: sneframe and the plugins that the configuration names.

Sneframe and each plugin are identified by a hash of their source. The hash covers the files that can change a
number. The hash of a plugin covers its whole distribution. The plugins of sneframe's own distribution are
hashed package by package, so a change in one does not touch the cells of the others. The hash of sneframe
itself leaves out the packages that only show numbers.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

from attrs import frozen

import sneframe
from sneframe.bench.brought import brought, of_package
from sneframe.config.schema import RunConfig
from sneframe.plugins import Installed, installed

CORE = "sneframe"
SHOWING = ("bench", "cli", "report", "testing")  #: packages of sneframe that cannot change a number
LIBRARIES = ("torch", "numpy", "scikit-learn", "scipy")  #: a comparison reports where their versions differ


@frozen
class Made:
    """One distribution whose code took part in computing a cell.

    Args:
        distribution: name of the distribution.
        version: version in its metadata.
        source: hash of its files, 16 hexadecimal digits.
    """

    distribution: str
    version: str
    source: str

    def __str__(self) -> str:
        return self.version if self.distribution == CORE else f"{self.distribution} {self.version}"


def sources(config: RunConfig) -> dict[str, Made]:
    """Return the distributions that compute a run, by name.

    The names are ``sneframe``, and ``plugin NAME`` for each plugin of the configuration.
    """
    root = Path(sneframe.__file__).parent
    found = {CORE: Made(CORE, sneframe.__version__, _hash(_core(root)))}
    known = installed()
    for name in sorted({choice.plugin for choice in config.choices} & known.keys()):
        found[f"plugin {name}"] = Made(known[name].distribution, known[name].version, _own(known[name]))
    return found


def changes(before: Mapping[str, Made], now: Mapping[str, Made]) -> list[str]:
    """Return what changed, such as ``plugin spectra 0.1 → 0.2`` or ``plugin spectra 0.1, its source``."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if old is None or new is None:
            found.append(f"{name} {'new' if old is None else 'gone'}")
        elif (old.distribution, old.version) == (new.distribution, new.version):
            found.append(f"{name} {new.version}, its source")
        elif old.distribution == new.distribution:
            found.append(f"{name} {old.version} → {new.version}")
        else:
            found.append(f"{name} {old.distribution} {old.version} → {new.distribution} {new.version}")
    return found


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that affect the last digits of numbers."""
    return {name: metadata.version(name) for name in LIBRARIES}


def _own(plugin: Installed) -> str:
    """Return the hash of a plugin's package or module, and of the other files of its distribution.

    Nothing is imported.
    """
    files = dict(_package(plugin.module.partition(":")[0]))
    distribution = plugin.entry_point.dist
    if plugin.distribution != CORE and distribution is not None:
        known = {path.resolve() for path in files.values()}
        more = {name: path for name, path in brought(distribution).items() if path.resolve() not in known}
        files = {**more, **files}
    return _hash(sorted(files.items())) if files else ""


def _package(module: str) -> Iterator[tuple[str, Path]]:
    """Yield the names and paths of the files of the package or single-file module around a module."""
    spec = util.find_spec(module.partition(".")[0])
    if spec is not None and spec.origin is None and "." in module:
        # The first name is a namespace package, which other distributions share.
        spec = util.find_spec(module)
    if spec is None:
        return
    if spec.submodule_search_locations:
        for root in map(Path, spec.submodule_search_locations):
            yield from ((path.relative_to(root.parent).as_posix(), path) for path in of_package(root))
    elif spec.origin is not None:
        yield Path(spec.origin).name, Path(spec.origin)


def _core(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names and paths of the files of sneframe that can change a number."""
    for path in of_package(root):
        inner = path.relative_to(root)
        if inner.parts[0] not in SHOWING:
            yield inner.as_posix(), path


def _hash(files: Iterable[tuple[str, Path]]) -> str:
    whole = hashlib.sha256()
    for name, path in files:
        stat = path.stat()
        whole.update(f"{name} {_content(path, stat.st_mtime_ns, stat.st_size)}\n".encode())
    return whole.hexdigest()[:16]


@lru_cache(maxsize=4096)
def _content(path: Path, changed: int, size: int) -> str:  # noqa: ARG001  # keys of the cache
    """Return the hash of a file. Comments, docstrings and layout of Python do not count."""
    data = path.read_bytes()
    if path.suffix == ".py":
        with suppress(SyntaxError, ValueError):  # a file that does not parse is hashed as it is
            data = ast.unparse(_bare(ast.parse(data))).encode()
    return hashlib.sha256(data).hexdigest()


def _bare(tree: ast.Module) -> ast.Module:
    """Return the syntax tree of a Python module without its docstrings."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree

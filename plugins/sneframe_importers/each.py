"""One file after the other: what can be read is found, what cannot is left out with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError, FileError, ZooError
from sneframe.files.readers import named
from sneframe.zoo.importer import Imported, Skipped

T = TypeVar("T")


def each_file(
    files: Sequence[T],
    name: Callable[[T], str],
    make: Callable[[T], Imported],
    progress: Callable[[int, int], None],
) -> Iterator[Imported | Skipped]:
    """Yield what each file holds.

    Args:
        files: in the order of the zoo.
        name: of one, as people call it.
        make: reads one; a :class:`~sneframe.errors.FileError` leaves it out.
        progress: called with (done, total).
    """
    for done, file in enumerate(files):
        progress(done, len(files))
        try:
            yield make(file)
        except (FileError, ArchitectureError) as error:
            yield Skipped(source=name(file), reason=_reason(str(error), name(file)))
    progress(len(files), len(files))


def _reason(said: str, name: str) -> str:
    """Return an error without the path before it, which stands in a column of its own."""
    before, found, rest = said.partition(f"{name}: ")
    return rest if found and ": " not in before else said


def one(
    source: str,
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    properties: Mapping[str, Any],
    *,
    group: Any = None,
    splits: Mapping[str, int] | None = None,
) -> Imported:
    """Return one network.

    Args:
        source: the file, which also is a property.
        architecture: its own.
        tensors: by name; those that the architecture has are its weights.
        properties: a value by name.
        group: its training run; by default it is alone.
        splits: its part by name of a split.
    """
    own = named(tensors, architecture)
    return Imported(
        source=source,
        architecture=architecture,
        weights={p.name: own[p.name][None] for p in architecture.parameters},
        properties={"source": [source], **{name: [value] for name, value in properties.items()}},
        groups=[source if group is None else group],
        splits={name: [part] for name, part in (splits or {}).items()},
    )


def folder(source: Path) -> Path:
    """Return a folder to import from.

    Raises:
        ZooError: it is none.
    """
    if not source.is_dir():
        raise ZooError(f"{source}: {'no folder' if source.exists() else 'there is no such folder'}")
    return source


def files_in(source: Path, pattern: str) -> list[str]:
    """Return the names of the files in a folder that fit a pattern, at any depth, in order.

    Raises:
        ZooError: there is none, or no folder.
    """
    found = sorted(
        path.relative_to(source).as_posix() for path in folder(source).rglob(pattern) if path.is_file()
    )
    if not found:
        raise ZooError(f"{source}: holds no file {pattern}")
    return found

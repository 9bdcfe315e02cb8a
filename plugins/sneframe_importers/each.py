"""Import files one by one. A file that cannot be read is skipped, and the reason is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.files.network_reader import named
from sneframe.zoo.importer import ImportContext, Imported, Skipped
from sneframe_importers.blocks import Opened, in_blocks, read_one

T = TypeVar("T")


def each_file(
    files: Sequence[T], name: Callable[[T], str], opened: Opened[T], reading: ImportContext
) -> Iterator[Imported | Skipped]:
    """For each file, yield its networks, or a :class:`Skipped` with the reason why it cannot be read.

    The order is that of the files, whichever engine reads them. All arguments must be picklable, so that
    workers of an engine can have them.

    Args:
        files: the files, in the order of the zoo.
        name: a function that returns the name of a file.
        opened: a function without arguments that returns a context manager, which gives the function that
            reads a file. If the function raises a :class:`~sneframe.errors.FileError` or an
            :class:`~sneframe.errors.ArchitectureError`, the file is skipped. Each worker opens it once, so
            what the function remembers serves many files.
        reading: where files are read, and a function that is called with (files done, all files).
    """
    if reading.engine.name == "serial":
        with opened() as read:
            for done, file in enumerate(files):
                reading.progress(done, len(files))
                yield read_one(file, name, read)
    else:
        yield from in_blocks(files, name, opened, reading)
    reading.progress(len(files), len(files))


def one(
    source: str,
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    properties: Mapping[str, Any],
    *,
    group: Any = None,
    splits: Mapping[str, int] | None = None,
) -> Imported:
    """Return one network as an :class:`~sneframe.zoo.importer.Imported`.

    Args:
        source: the file, which also becomes a property.
        architecture: the architecture of the network.
        tensors: tensors by name; those that the architecture does not name are left out.
        properties: the value of each property by name.
        group: the run group of the network; by default the network is a group of its own.
        splits: the part of the network in each split, by name of the split.
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
    """Check that a path is a folder, and return it.

    Raises:
        ZooError: the path is not a folder.
    """
    if not source.is_dir():
        raise ZooError(f"{source}: {'not a folder' if source.exists() else 'there is no such folder'}")
    return source


def files_in(source: Path, pattern: str) -> list[str]:
    """Return the relative paths of all files in a folder, at any depth, whose names match a pattern.

    The paths are in alphabetical order.

    Raises:
        ZooError: there is no such folder, or no file in it matches.
    """
    names = sorted(
        path.relative_to(source).as_posix() for path in folder(source).rglob(pattern) if path.is_file()
    )
    if not names:
        raise ZooError(f"{source}: the folder has no file that matches {pattern}")
    return names

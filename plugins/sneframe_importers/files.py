"""Import a folder of state dicts, whose architectures may differ.

A table may give the properties of the networks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen

from sneframe.config.schema import option
from sneframe.errors import ZooError
from sneframe.files import SUFFIXES, inside, is_sharded
from sneframe.files.module_factory import Factory
from sneframe.files.readers import Reader
from sneframe.zoo.importer import Imported, Skipped, ZooImporter
from sneframe_importers.each import each_file, folder, one
from sneframe_importers.table import TableEntry, read_table


@frozen(kw_only=True)
class Files:
    """Options of ``zoo import files``."""

    properties: Path | None = option(
        None,
        "a CSV, TSV or JSON lines table with a column `file` (paths relative to SRC), optional columns "
        "`group` and `split`, and a column for each property",
    )
    module: str | None = option(
        None,
        "package.module:function that returns the `nn.Module` of a network; the symmetry of the network is "
        "derived from this module and verified",
    )
    key: str | None = option(
        None, "which state dict to read from a checkpoint that holds several, such as `model` or `nets.actor`"
    )
    activation: str | None = option(
        None,
        "without a module: activation after every layer but the last; if it is not given, neurons are "
        "permuted but never scaled",
    )
    flatten: Literal["unknown", "channels_first"] = option(
        "unknown",
        "without a module: order in which a linear layer reads the maps of a convolution; channels_first is "
        "torch's order",
    )
    trust_names: bool = option(
        False,
        "without a module: treat layers as a chain wherever their sizes fit, in the order of their names",
    )


def read(config: Files, source: Path, progress: Callable[[int, int], None]) -> Iterator[Imported | Skipped]:
    """Yield the networks of a folder, one at a time, and a :class:`Skipped` for each file left out.

    The networks come in the order of the table. Without a table, they are ordered by file name.

    Raises:
        ZooError: there is no such folder, the folder has no checkpoint, or the table cannot be read.
    """
    unread: list[Skipped] = []
    names = _names(folder(source), unread)
    yield from unread
    if not names and config.properties is None:
        raise ZooError(f"{source}: the folder has no file that ends in {', '.join(SUFFIXES)}")
    entries = [TableEntry(line=0, file=name, group=None, split=None, properties={}) for name in names]
    if config.properties is not None:
        entries = read_table(config.properties)
    reader = Reader(
        module=None if config.module is None else Factory(config.module),
        key=config.key,
        activation=config.activation,
        flatten=config.flatten,
        trust_names=config.trust_names,
    )

    def make(entry: TableEntry) -> Imported:
        tensors = reader.weights(inside(source, entry.file))
        architecture = reader.describe(tensors, entry.properties)
        splits = {} if entry.split is None else {"table": entry.split}
        return one(entry.file, architecture, tensors, entry.properties, group=entry.group, splits=splits)

    yield from each_file(entries, lambda entry: entry.file, make, progress)
    if config.properties is not None:
        listed = {entry.file for entry in entries}
        for name in names:
            if name not in listed:
                yield Skipped(source=name, reason=f"not listed in {config.properties.name}")


IMPORTER = ZooImporter(
    name="importers/files",
    config=Files,
    read=read,
    help="A folder of state dicts (.safetensors, .pt, .pth) or of Stable-Baselines3 .zip files.",
)


def _names(source: Path, unread: list[Skipped]) -> list[str]:
    """Return the paths of the state dicts in a folder, at any depth, in alphabetical order.

    Args:
        source: the folder. The paths are relative to this folder.
        unread: a list. Each subfolder that cannot be read is added to this list, with the reason.
    """

    def note(error: OSError) -> None:
        name = Path(error.filename or source).relative_to(source).as_posix()
        unread.append(Skipped(source=name, reason=error.strerror or str(error)))

    paths = [
        Path(parent, name)
        for parent, _, names in os.walk(source, onerror=note)
        for name in names
        if name.lower().endswith(SUFFIXES) and not is_sharded(Path(parent, name))
    ]
    return sorted(path.relative_to(source).as_posix() for path in paths)

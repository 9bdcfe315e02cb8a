"""Any folder of checkpoints: state dicts of any number of architectures, their properties in a table beside them."""

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
from sneframe_importers.table import Entry, read_table


@frozen(kw_only=True)
class Files:
    """What there is to say of a folder of checkpoints."""

    properties: Path | None = option(
        None,
        "a table, CSV or JSON lines: `file`, relative to SRC, perhaps `group` and `split`, and properties",
    )
    module: str | None = option(
        None, "package.module:function, which makes a network's module of its properties: its exact symmetry"
    )
    key: str | None = option(
        None, "of checkpoints that hold several state dicts, which; `model`, `nets.actor`"
    )
    activation: str | None = option(
        None,
        "of every layer but the last, where there is no module; without it neurons are permuted, never scaled",
    )
    flatten: Literal["unknown", "channels_first"] = option(
        "unknown",
        "where there is no module, in which order a linear layer reads a convolution: channels_first is torch's",
    )
    trust_names: bool = option(
        False, "where there is no module, to take layers for a chain wherever their sizes fit"
    )


def read(config: Files, source: Path, progress: Callable[[int, int], None]) -> Iterator[Imported | Skipped]:
    """Yield the networks of a folder, one at a time, in the order of the table, or of their names."""
    unread: list[Skipped] = []
    names = _names(folder(source), unread)
    yield from unread
    if not names and config.properties is None:
        raise ZooError(f"{source}: holds no file that ends in {', '.join(SUFFIXES)}")
    entries = [Entry(line=0, file=name, group=None, split=None, properties={}) for name in names]
    if config.properties is not None:
        entries = read_table(config.properties)
    reader = Reader(
        module=None if config.module is None else Factory(config.module),
        key=config.key,
        activation=config.activation,
        flatten=config.flatten,
        trust_names=config.trust_names,
    )

    def make(entry: Entry) -> Imported:
        tensors = reader.weights(inside(source, entry.file))
        architecture = reader.describe(tensors, entry.properties)
        splits = {} if entry.split is None else {"table": entry.split}
        return one(entry.file, architecture, tensors, entry.properties, group=entry.group, splits=splits)

    yield from each_file(entries, lambda entry: entry.file, make, progress)
    if config.properties is not None:
        listed = {entry.file for entry in entries}
        for name in names:
            if name not in listed:
                yield Skipped(source=name, reason=f"not in {config.properties.name}")


IMPORTER = ZooImporter(
    name="importers/files",
    config=Files,
    read=read,
    help="A folder of .safetensors, .pt and .pth state dicts, or of Stable-Baselines3 .zip files.",
)


def _names(source: Path, unread: list[Skipped]) -> list[str]:
    """Return the networks' files in a folder, at any depth, in an order of their own; folders that it cannot look into."""

    def note(error: OSError) -> None:
        place = Path(error.filename or source).relative_to(source).as_posix()
        unread.append(Skipped(source=place, reason=error.strerror or str(error)))

    found = [
        Path(place, name)
        for place, _, names in os.walk(source, onerror=note)
        for name in names
        if name.lower().endswith(SUFFIXES) and not is_sharded(Path(place, name))
    ]
    return sorted(path.relative_to(source).as_posix() for path in found)

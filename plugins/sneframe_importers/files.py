"""Import a folder of state dicts, whose architectures may differ.

Tables, checkpoints, files beside the networks and their names may give the properties of the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from sneframe import plugins
from sneframe.config.schema import option
from sneframe.errors import ZooError
from sneframe.files import inside
from sneframe.files.module_factory import Factory
from sneframe.files.network_reader import NetworkReader
from sneframe.files.recognise import Listed, networks_in
from sneframe.zoo.importer import Imported, Skipped, ZooImporter
from sneframe_importers.each import each_file, folder, one
from sneframe_importers.properties_from import as_sources, find_properties
from sneframe_importers.table import TableEntry


@frozen(kw_only=True)
class Files:
    """Options of ``zoo import files``."""

    properties_from: tuple[Any, ...] = option(  # strings, and the paths of tables
        (),
        "a source of properties; later sources win. A CSV, TSV or JSON lines table with a column `file` "
        "(paths relative to SRC), optional columns `group` and `split`, and a column for each property; or "
        "`checkpoint`, the values beside the weights; or a .json or .yaml file beside each network, such as "
        "`config.json`, or `*.json` for a file with the name of the network; or `name:REGEX`, the named "
        "groups of a regular expression that is searched in the path",
        converter=as_sources,
        repeated=True,
    )
    group_from: str | None = option(
        None,
        "run group of a network: `folder`, `name:REGEX` with `(?P<group>…)`, or the name of a property; "
        "default: the column `group` of a table, or else each network is a group of its own",
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
    readers = plugins.readers()
    found = list(networks_in(folder(source), readers))
    names = [each.name for each in found if isinstance(each, Listed)]
    found_properties = find_properties(config.properties_from, config.group_from, source, names)
    if not names and not found_properties.tables:
        raise ZooError(f"{source}: no file reader recognises a file in this folder")
    for each in found:
        if not isinstance(each, Listed) and each.reason:
            yield Skipped(source=each.name, reason=each.reason)
    entries = found_properties.entries
    reader = NetworkReader(
        module=None if config.module is None else Factory(config.module),
        key=config.key,
        activation=config.activation,
        flatten=config.flatten,
        trust_names=config.trust_names,
        readers=readers,
    )

    def make(entry: TableEntry) -> Imported:
        network = reader.read(inside(source, entry.file))
        tensors = network.tensors
        properties = found_properties.of(entry.file, network)
        group = found_properties.group(entry, properties)
        architecture = reader.describe(tensors, properties, content=network.content)
        splits = {} if entry.split is None else {"table": entry.split}
        stored = found_properties.stored(properties)
        return one(entry.file, architecture, tensors, stored, group=group, splits=splits)

    yield from each_file(entries, lambda entry: entry.file, make, progress)
    found_properties.check_group({name for each in found_properties.sources for name in each.names})
    if tables := found_properties.tables:
        listed = {entry.file for entry in entries}
        for name in names:
            if name not in listed:
                reason = f"not listed in {' or '.join(table.name for table in tables)}"
                yield Skipped(source=name, reason=reason)


IMPORTER = ZooImporter(
    name="importers/files",
    config=Files,
    read=read,
    help="A folder of state dicts (.safetensors, .pt, .pth) or of Stable-Baselines3 .zip files.",
)

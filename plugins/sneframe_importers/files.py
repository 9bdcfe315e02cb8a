"""Import a folder of state dicts, whose architectures may differ.

The properties of the networks come from tables, checkpoints, files beside the networks, or file names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, final

from attrs import evolve, frozen

from sneframe import plugins
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.errors import ConfigError, ZooError
from sneframe.files import inside
from sneframe.files.module_factory import Factory, as_words
from sneframe.files.names import Renaming
from sneframe.files.network_reader import NetworkReader
from sneframe.files.reader import FileReader
from sneframe.files.safe_path import plain_spelling
from sneframe.files.search import NetworkPath, PassedOver, networks_in
from sneframe.zoo.importer import Ignored, Imported, Skipped, ZooImporter
from sneframe_importers.each import each_file, folder, one
from sneframe_importers.properties_from import Properties, as_sources, find_properties
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
    module: tuple[str, ...] = option(
        (),
        "package.module:function, timm:NAME, torchvision:NAME or transformers, which returns the `nn.Module` "
        "of a network; the symmetry of the network is derived from this module and verified; with PATTERN= "
        "before it, only for the files whose paths in SRC match",
        converter=as_words,
        repeated=True,
    )
    key: str | None = option(
        None, "which state dict to read from a checkpoint that holds several, such as `model` or `nets.actor`"
    )
    activation: str | None = option(
        None,
        "without a module: activation after every layer but the last, such as relu or sine:30 for sin(30 z); "
        "if it is not given, neurons are permuted but never scaled, and probes cannot evaluate the network",
    )
    flatten: Literal["unknown", "channels_first"] = option(
        "unknown",
        "without a module: order in which a linear layer reads the maps of a convolution; channels_first is "
        "torch's order",
    )
    strip_prefix: str = option("", "prefix to remove from the names of the tensors, such as `backbone.`")
    rename: tuple[str, ...] = option(
        (),
        "`s/PATTERN/REPLACEMENT/`, a regular expression that changes the names of the tensors; repeatable",
        converter=as_tuple,
        repeated=True,
    )
    dtype: Literal["float16", "bfloat16", "float32", "float64"] | None = option(
        None, "type in which the weights are stored; none: the widest type among networks of an architecture"
    )
    reader: str | None = option(
        None, "the file reader for all files; none: each file is recognised (`sneframe readers` lists them)"
    )
    trust_names: bool = option(
        False,
        "without a module: treat layers as a chain wherever their sizes fit, in the order of their names",
    )


def read(
    config: Files, source: Path, progress: Callable[[int, int], None]
) -> Iterator[Imported | Skipped | Ignored]:
    """Yield the networks of a folder, one at a time, and a :class:`Skipped` for each file left out.

    The networks come in the order of the table. Without a table, they are ordered by file name.

    Raises:
        ZooError: there is no such folder, no file reader recognises a file in the folder, or a table cannot
            be read.
    """
    readers = plugins.readers(config.reader)
    found = list(networks_in(folder(source), readers))
    names = [each.name for each in found if isinstance(each, NetworkPath)]
    found_properties = find_properties(config.properties_from, config.group_from, source, names)
    if not names and not found_properties.tables:
        why = (each for each in found if isinstance(each, PassedOver) and each.reason)
        reason = next((f"; {each.name}: {each.reason}" for each in why), "")
        raise ZooError(f"{source}: no file reader recognises a file in this folder{reason}")
    for each in found:
        if isinstance(each, PassedOver) and each.reason:
            yield Skipped(source=each.name, reason=each.reason)
        elif isinstance(each, PassedOver) and not each.is_part:
            yield Ignored(source=each.name)
    entries = found_properties.entries
    files = _Files(config, source, readers, found_properties)
    files.warn_unused_patterns([source / entry.file for entry in entries])
    yield from each_file(entries, lambda entry: entry.file, files.imported, progress)
    files.warn_unused_options()
    if tables := found_properties.tables:
        listed = {plain_spelling(entry.file) for entry in entries}
        for name in names:
            if plain_spelling(name) not in listed:
                reason = f"not listed in {' or '.join(table.name for table in tables)}"
                yield Skipped(source=name, reason=reason)


@final
class _Files:
    """Reads the networks in files, and remembers which options had an effect.

    Args:
        config: the options of the import.
        source: the folder.
        readers: the file readers.
        found: the properties of the networks.
    """

    def __init__(self, config: Files, source: Path, readers: Sequence[FileReader], found: Properties) -> None:
        self._config, self._source, self._found = config, source, found
        self._reader = NetworkReader(
            module=Factory(config.module, source) if config.module else None,
            key=config.key,
            activation=config.activation,
            flatten=config.flatten,
            trust_names=config.trust_names,
            renaming=Renaming.parse(config.strip_prefix, config.rename),
            dtype=config.dtype,
            readers=readers,
        )
        self._renamed = False
        self._networks = 0
        self._without_group: list[str] = []

    def imported(self, entry: TableEntry) -> Imported:
        """Return the network in the file of an entry, with its architecture, properties and run group.

        Raises:
            FileError, ArchitectureError: the network cannot be read or described.
            ConfigError: the module factory fails.
        """
        path = inside(self._source, entry.file, folders=True)
        network = self._reader.read(path)
        properties = self._found.of(entry.file, network)
        group = self._found.group(entry, properties)
        if group is None and network.content is not None:
            group = network.content.group
        try:
            architecture = self._reader.describe(
                network.tensors, properties, content=network.content, path=path
            )
        except ConfigError as error:
            raise ConfigError(f"{entry.file}: {error}") from error
        splits = {} if entry.split is None else {"table": entry.split}
        stored = self._found.stored(properties)
        made = one(entry.file, architecture, network.tensors, stored, group=group, splits=splits)
        notes = network.notes
        graph = network.content is not None and network.content.module is not None
        module = self._reader.module
        if module is not None and not graph and not module.serves(path):
            notes = (*notes, "described without code, because no --module matches its path")
        self._networks += 1
        self._renamed = self._renamed or network.renamed
        if group is None:
            self._without_group.append(entry.file)
        return evolve(made, reader=network.reader, notes=notes)

    def warn_unused_patterns(self, paths: Sequence[Path]) -> None:
        """Warn about each pattern of ``--module`` that selects none of the paths."""
        if self._reader.module is not None:
            for pattern in self._reader.module.unused(paths):
                warnings.warn(f"--module {pattern}=…: no file has a path like this pattern", stacklevel=3)

    def warn_unused_options(self) -> None:
        """Warn about options that had no effect on the networks that were read.

        Raises:
            ZooError: ``--group-from`` names a property that no network has.
        """
        config, found = self._config, self._found
        if (config.strip_prefix or config.rename) and not self._renamed:
            warnings.warn("--strip-prefix and --rename changed the name of no tensor", stacklevel=3)
        found.check_group({name for each in found.sources for name in each.names})
        if found.group_from is not None:
            found.group_from.check_values(self._without_group, self._networks)


IMPORTER = ZooImporter(
    name="importers/files",
    config=Files,
    read=read,
    help="A folder of networks in any format that a file reader recognises (`sneframe readers`).",
)

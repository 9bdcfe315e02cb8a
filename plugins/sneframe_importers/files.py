"""Import a folder of state dicts, whose architectures may differ.

The properties of the networks come from tables, checkpoints, files beside the networks, or file names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, final

from attrs import asdict, evolve, frozen

from sneframe import plugins
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.errors import ConfigError, ZooError
from sneframe.files import inside
from sneframe.files.module_factory import Factory, as_words
from sneframe.files.names import Renaming
from sneframe.files.network_reader import NetworkReader
from sneframe.files.safe_path import plain_spelling
from sneframe.files.search import NetworkPath, PassedOver, networks_in
from sneframe.zoo.importer import Ignored, ImportContext, Imported, Skipped, ZooImporter
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
        "`checkpoint`, the values beside the weights; or `card`, the model card README.md beside each "
        "network; or a .json or .yaml file beside each network, such as `config.json`, or `*.json` for a "
        "file with the name of the network; or `name:REGEX`, the named groups of a regular expression that "
        "is searched in the path",
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


def read(config: Files, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped | Ignored]:
    """Yield the networks of a folder, one at a time, and a :class:`Skipped` for each file left out.

    The networks come in the order of the table. Without a table, they are ordered by file name.

    Raises:
        ZooError: there is no such folder, no file reader recognises a file in the folder, or a table cannot
            be read.
    """
    found = list(networks_in(folder(source), plugins.readers(config.reader)))
    names = [each.name for each in found if isinstance(each, NetworkPath)]
    properties = find_properties(config.properties_from, config.group_from, source, names)
    if not names and not properties.tables:
        why = (each for each in found if isinstance(each, PassedOver) and each.reason)
        reason = next((f"; {each.name}: {each.reason}" for each in why), "")
        raise ZooError(f"{source}: no file reader recognises a file in this folder{reason}")
    for each in found:
        if isinstance(each, PassedOver) and each.reason:
            yield Skipped(source=each.name, reason=each.reason)
        elif isinstance(each, PassedOver) and not each.is_part:
            yield Ignored(source=each.name)
    entries = properties.entries
    _warn_unused_patterns(config, source, [source / entry.file for entry in entries])
    opened = partial(_opened, config, source, evolve(properties, entries=()))
    effects = _Effects()
    for item in each_file(entries, attrgetter("file"), opened, reading):
        if isinstance(item, FileImported):
            effects.add(item)
        yield item
    effects.warn_unused(config, properties)
    if tables := properties.tables:
        listed = {plain_spelling(entry.file) for entry in entries}
        for name in names:
            if plain_spelling(name) not in listed:
                reason = f"not listed in {' or '.join(table.name for table in tables)}"
                yield Skipped(source=name, reason=reason)


@frozen(kw_only=True, eq=False)
class FileImported(Imported):
    """A network, and which options of the import had an effect on it.

    Args:
        renamed: whether an option has changed the name of a tensor.
        grouped: whether an option, a table or the file gives the run group.
        names: the names of the properties that were found, with or without a value.
    """

    renamed: bool
    grouped: bool
    names: tuple[str, ...]


@contextmanager
def _opened(
    config: Files, source: Path, properties: Properties
) -> Iterator[Callable[[TableEntry], FileImported]]:
    """Give the function that reads the network in the file of an entry."""
    reader = NetworkReader(
        module=_factory(config, source),
        key=config.key,
        activation=config.activation,
        flatten=config.flatten,
        trust_names=config.trust_names,
        renaming=Renaming.parse(config.strip_prefix, config.rename),
        dtype=config.dtype,
        readers=plugins.readers(config.reader),
    )
    yield partial(_imported, source=source, reader=reader, found=properties)


def _factory(config: Files, source: Path) -> Factory | None:
    return Factory(config.module, source) if config.module else None


def _imported(entry: TableEntry, *, source: Path, reader: NetworkReader, found: Properties) -> FileImported:
    """Return the network in the file of an entry, with its architecture, properties and run group.

    Raises:
        FileError, ArchitectureError: the network cannot be read or described.
        ConfigError: the module factory fails.
    """
    path = inside(source, entry.file, folders=True)
    network = reader.read(path)
    properties = found.of(entry.file, network)
    group = found.group(entry, properties)
    if group is None and network.content is not None:
        group = network.content.group
    try:
        architecture = reader.describe(network.tensors, properties, content=network.content, path=path)
    except ConfigError as error:
        raise ConfigError(f"{entry.file}: {error}") from error
    splits = {} if entry.split is None else {"table": entry.split}
    stored = found.stored(properties)
    made = one(entry.file, architecture, network.tensors, stored, group=group, splits=splits)
    notes = network.notes
    graph = network.content is not None and network.content.module is not None
    if reader.module is not None and not graph and not reader.module.serves(path):
        notes = (*notes, "described without code, because no --module matches its path")
    return FileImported(
        **asdict(evolve(made, reader=network.reader, notes=notes), recurse=False),
        renamed=network.renamed,
        grouped=group is not None,
        names=tuple(properties),
    )


def _warn_unused_patterns(config: Files, source: Path, paths: Sequence[Path]) -> None:
    """Warn about each pattern of ``--module`` that selects none of the paths.

    Raises:
        ConfigError: a module factory cannot be imported.
    """
    factory = _factory(config, source)
    for pattern in factory.unused(paths) if factory is not None else ():
        warnings.warn(f"--module {pattern}=…: no file has a path like this pattern", stacklevel=3)


@final
class _Effects:
    """Remembers which options had an effect on the networks that were read."""

    def __init__(self) -> None:
        self._networks = 0
        self._renamed = False
        self._names: set[str] = set()
        self._without_group: list[str] = []

    def add(self, item: FileImported) -> None:
        """Take note of one network."""
        self._networks += 1
        self._renamed = self._renamed or item.renamed
        self._names.update(item.names)
        if not item.grouped:
            self._without_group.append(item.source)

    def warn_unused(self, config: Files, properties: Properties) -> None:
        """Warn about options that had no effect on the networks.

        Raises:
            ZooError: ``--group-from`` names a property that no network has.
        """
        if (config.strip_prefix or config.rename) and not self._renamed:
            warnings.warn("--strip-prefix and --rename changed the name of no tensor", stacklevel=3)
        properties.check_group(self._names.union(*(source.names for source in properties.sources)))
        if properties.group_from is not None:
            properties.group_from.check_values(self._without_group, self._networks)


IMPORTER = ZooImporter(
    name="importers/files",
    config=Files,
    read=read,
    engines=True,
    help="A folder of networks in any format that a file reader recognises (`sneframe readers`).",
)

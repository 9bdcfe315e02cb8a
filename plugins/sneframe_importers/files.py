"""Import a folder of state dicts, whose architectures may differ.

A table may give the properties of the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from attrs import evolve, frozen

from sneframe import plugins
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.errors import ZooError
from sneframe.files import inside
from sneframe.files.module_factory import Factory, as_words
from sneframe.files.names import Renaming
from sneframe.files.network_reader import NetworkReader
from sneframe.files.recognise import NetworkPath, networks_in
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
    module: tuple[str, ...] = option(
        (),
        "package.module:function, timm:NAME, torchvision:NAME or transformers, which returns the `nn.Module` "
        "of a network; the symmetry of the network is derived from this module and verified; with PATTERN= "
        "before it, only for the files whose paths in SRC match",
        converter=as_words,
        repeat=True,
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
    strip_prefix: str = option("", "prefix to remove from the names of the tensors, such as `backbone.`")
    rename: tuple[str, ...] = option(
        (),
        "`s/PATTERN/REPLACEMENT/`, a regular expression that changes the names of the tensors; repeatable",
        converter=as_tuple,
        repeat=True,
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


def read(config: Files, source: Path, progress: Callable[[int, int], None]) -> Iterator[Imported | Skipped]:
    """Yield the networks of a folder, one at a time, and a :class:`Skipped` for each file left out.

    The networks come in the order of the table. Without a table, they are ordered by file name.

    Raises:
        ZooError: there is no such folder, the folder has no checkpoint, or the table cannot be read.
    """
    readers = plugins.readers(config.reader)
    found = list(networks_in(folder(source), readers))
    names = [each.name for each in found if isinstance(each, NetworkPath)]
    if not names and config.properties is None:
        raise ZooError(f"{source}: no file reader recognises a file in this folder")
    for each in found:
        if not isinstance(each, NetworkPath) and each.reason:
            yield Skipped(source=each.name, reason=each.reason)
    entries = [TableEntry(line=0, file=name, group=None, split=None, properties={}) for name in names]
    if config.properties is not None:
        entries = read_table(config.properties)
    reader = NetworkReader(
        module=Factory(config.module, source) if config.module else None,
        key=config.key,
        activation=config.activation,
        flatten=config.flatten,
        trust_names=config.trust_names,
        renaming=Renaming.parse(config.strip_prefix, config.rename),
        dtype=config.dtype,
        readers=readers,
    )

    def make(entry: TableEntry) -> Imported:
        path = inside(source, entry.file)
        network = reader.read(path)
        tensors = network.tensors
        architecture = reader.describe(tensors, entry.properties, content=network.content, path=path)
        splits = {} if entry.split is None else {"table": entry.split}
        made = one(entry.file, architecture, tensors, entry.properties, group=entry.group, splits=splits)
        notes = network.all_notes
        if reader.module is not None and not reader.module.serves(path):
            notes = (*notes, "described without code, because no --module matches its path")
        return evolve(made, reader=network.reader, notes=notes)

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
    help="A folder of networks in any format that a file reader recognises (`sneframe readers`).",
)

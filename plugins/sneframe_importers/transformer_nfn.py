"""Import the Small Transformer Zoo (Tran et al., Transformer-NFN).

The zoo consists of checkpoints ``{run}_{epoch}_{accuracy}.pt`` and a CSV file with the metadata of each
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen
from torch import Tensor

from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import StoredTensor, read_all, read_stubbed
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe_importers.archive import open_entries
from sneframe_importers.each import each_file, one
from sneframe_importers.table import read_rows

FILE, EPOCH = "ckpt_file", "ckpt_epoch"


@frozen(kw_only=True)
class TransformerNFN:
    """Options of ``zoo import transformer-nfn``."""

    metadata: Path = option(
        help="the CSV file of metadata, with a row for each checkpoint: ckpt_file, ckpt_epoch, accuracies"
    )
    epochs: tuple[int, ...] = option(
        (), "epochs of the checkpoints to import, such as 75, the published epoch; default: all"
    )


def read(config: TransformerNFN, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the checkpoints that the metadata list, from a folder or from the published zip archive.

    Raises:
        ZooError: the archive or the metadata cannot be read, or the metadata list no checkpoint of the
            requested epochs.
    """
    rows = [values for _, values in read_rows(config.metadata)]
    if FILE not in rows[0]:
        raise ZooError(f"{config.metadata}: not the metadata of the zoo: there is no column {FILE!r}")
    if config.epochs:
        rows = [row for row in rows if row.get(EPOCH) in config.epochs]
        if not rows:
            raise ZooError(
                f"{config.metadata}: there is no checkpoint of epoch {', '.join(map(str, config.epochs))}"
            )
    yield from each_file(rows, _name, partial(_opened, source), reading)


@contextmanager
def _opened(source: Path) -> Iterator[Callable[[Mapping[str, Any]], Imported]]:
    """Give the function that reads the checkpoint in a row of the metadata.

    Raises:
        ZooError: the archive cannot be read.
    """
    reader = NetworkReader()
    with open_entries(source) as entries:
        paths = {PurePosixPath(name).name: name for name in entries.names()}

        def make(row: Mapping[str, Any]) -> Imported:
            name = _name(row)
            if name not in paths:
                raise FileError("the folder or archive has no file of this name")
            content = read_stubbed(entries.open(paths[name]), Path(name))
            tensors = _tensors(content)
            properties = {
                key: value
                for key, value in row.items()
                if key not in (FILE, "") and isinstance(value, bool | int | float | str)
            }
            return one(name, reader.describe(tensors), tensors, properties, group=name.partition("_")[0])

        yield make


def _name(row: Mapping[str, Any]) -> str:
    """Return the name of the checkpoint in a row of the metadata, without its folder."""
    return PurePosixPath(str(row[FILE])).name


IMPORTER = ZooImporter(
    name="importers/transformer-nfn",
    config=TransformerNFN,
    read=read,
    engines=True,
    help="The Small Transformer Zoo of Transformer-NFN: a zip archive or a folder, and its metadata.",
)


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the floating-point tensors of a state dict, or of the state dict in a checkpoint.

    Raises:
        FileError: there is no state dict.
    """
    candidates = [content, *(content.values() if isinstance(content, Mapping) else ())]
    for each in candidates:
        if isinstance(each, Mapping) and any(isinstance(value, StoredTensor) for value in each.values()):
            return read_all(each)
    raise FileError("the file holds no state dict")

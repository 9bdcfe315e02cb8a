"""The Small Transformer Zoo (Tran et al., Transformer-NFN): ``{run}_{epoch}_{accuracy}.pt``, and a CSV file of metrics."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen

from sneframe.config import option
from sneframe.errors import FileError, ZooError
from sneframe.files import StoredTensor, read_stubbed
from sneframe.zoo.importer import Found, Skipped, ZooImporter
from sneframe_importers.archive import members
from sneframe_importers.each import Described, each_file, one
from sneframe_importers.table import typed

FILE, EPOCH = "ckpt_file", "ckpt_epoch"


@frozen(kw_only=True)
class TransformerNFN:
    """What to know of it."""

    metadata: Path = option(help="the CSV file of its metadata: ckpt_file, ckpt_epoch, accuracies")
    epochs: tuple[int, ...] = option(
        (), "of the checkpoints to import, such as 75, which is published; by default all"
    )


def read(
    config: TransformerNFN, source: Path, progress: Callable[[int, int], None]
) -> Iterator[Found | Skipped]:
    """Yield the checkpoints that the metadata list, from a folder or the zip archive as it is published."""
    rows = _rows(config.metadata)
    if config.epochs:
        rows = [row for row in rows if row.get(EPOCH) in config.epochs]
        if not rows:
            raise ZooError(f"{config.metadata}: no checkpoint of epoch {', '.join(map(str, config.epochs))}")
    described = Described()
    with members(source) as files:
        places = {PurePosixPath(name).name: name for name in files.names()}

        def make(row: Mapping[str, Any]) -> Found:
            name = PurePosixPath(str(row[FILE])).name
            if name not in places:
                raise FileError("not there")
            content = read_stubbed(files.open(places[name]), Path(name))
            tensors = _tensors(content)
            properties = {
                key: value
                for key, value in row.items()
                if key != FILE and isinstance(value, bool | int | float | str)
            }
            return one(name, described.of(tensors), tensors, properties, group=name.partition("_")[0])

        yield from each_file(rows, lambda row: PurePosixPath(str(row[FILE])).name, make, progress)


IMPORTER = ZooImporter(
    name="importers/transformer-nfn",
    config=TransformerNFN,
    read=read,
    help="The Small Transformer Zoo of Transformer-NFN: a zip archive or folder of checkpoints, and its metadata.",
)


def _tensors(content: Any) -> dict[str, Any]:
    """Return the floating-point tensors of a state dict, or of the one that a checkpoint holds."""
    candidates = [content, *(content.values() if isinstance(content, Mapping) else ())]
    for each in candidates:
        if isinstance(each, Mapping) and any(isinstance(value, StoredTensor) for value in each.values()):
            read = {
                str(name): value.read() for name, value in each.items() if isinstance(value, StoredTensor)
            }
            return {name: value for name, value in read.items() if value.is_floating_point()}
    raise FileError("holds no state dict")


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        table = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
        head, lines = table[0], [row for row in table[1:] if row]
        columns = {
            name: typed(values) for name, values in zip(head, zip(*lines, strict=True), strict=True) if name
        }
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, IndexError, csv.Error) as error:
        raise ZooError(f"{path}: no table of metadata") from error
    if FILE not in columns:
        raise ZooError(f"{path}: no metadata of the zoo, there is no column {FILE!r}")
    return [{name: values[number] for name, values in columns.items()} for number in range(len(lines))]

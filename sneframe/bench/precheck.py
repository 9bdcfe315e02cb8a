"""Check, before the first cell is run, for errors that would end every cell of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from sneframe.bench.cell import Cell
from sneframe.config.schema import ZooConfig
from sneframe.errors import ConfigError, ZooError
from sneframe.zoo import open_zoo

DERIVED = "architecture"  #: the value of ``zoo.balance`` that is not a column of the zoo


def check(rows: Sequence[tuple[Cell, ...] | str]) -> None:
    """Check that the zoos have the columns that the configurations of all rows name. Read no weights.

    Args:
        rows: for each row and column its cells, or the reason why there are no cells.

    Raises:
        ConfigError: no row has a configuration.
        ZooError: a zoo lacks a column, or ``zoo.where`` selects no network.
    """
    reasons = [row for row in rows if isinstance(row, str)]
    if len(reasons) == len(rows):
        raise ConfigError(reasons[0])
    seen: set[tuple[str, ZooConfig]] = set()
    for row in rows:
        if isinstance(row, str):
            continue
        cell = row[0]  # the seeds of a row read the same columns
        config = evolve(cell.config.zoo, path=None)
        # A target needs only the main property.
        tested = ZooConfig(property=config.property)
        for place, asked in ((cell.zoo, config), *((target.zoo, tested) for target in cell.targets)):
            if (place.digest, asked) not in seen:
                seen.add((place.digest, asked))
                _check_zoo(place.path, asked)


def _check_zoo(path: Path, config: ZooConfig) -> None:
    opened = open_zoo(path, unhealthy=True)
    for name in (config.property, *config.also, *config.show, config.balance):
        if name not in (None, DERIVED):
            opened.typed_column(name)
    if config.where is not None and not len(opened.where(config.where)):
        raise ZooError(f"{path}: none of the {len(opened)} networks matches zoo.where = {config.where!r}")

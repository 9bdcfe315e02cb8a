"""How well a run did on its test networks: its ``metrics.json`` in, for each property one error out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from sneframe.errors import RunError
from sneframe.run_folder.record import Record, parse_record, read_text, scores

CATEGORY = "category"
NAMES = {"rmse": "RMSE", "accuracy": "accuracy"}


@frozen(kw_only=True)
class Tested:
    """The error of a run on its test networks, of one property.

    Args:
        metric: ``rmse``, the root of the mean squared error in the unit of the property; of a category ``accuracy``, the
            share of networks that were told right.
        value: of it.
        networks: how many test networks there are.
        simple: the value of what says the same of every network: the mean of the training networks, or their most frequent
            category; None where the run kept none.
    """

    metric: str
    value: float
    networks: int
    simple: float | None

    @property
    def line(self) -> str:
        """In words: ``RMSE 0.41 on 500 test networks (2.9 where the mean is predicted)``."""
        said = f"{NAMES[self.metric]} {self.value:.3g} on {self.networks} test networks"
        what = "frequencies are" if self.metric == "accuracy" else "mean is"
        return said if self.simple is None else f"{said} ({self.simple:.3g} where the {what} predicted)"


def read_tested(path: Path) -> dict[str, Tested]:
    """Read the test error of each property from ``metrics.json``; of a property without test networks there is none.

    Raises:
        RunError: the file is damaged.
    """
    root = parse_record(path, read_text(path))
    told = {root.string("property"): root, **root.record("also").each(Record.record)}
    return {name: found for name, record in told.items() if (found := _tested(record)) is not None}


def _tested(record: Record) -> Tested | None:
    if record.data.get("test") is None:
        return None
    metric = "accuracy" if record.string("task") == CATEGORY else "rmse"
    value = _value(record.record("test"), metric)
    baseline = record.data.get("baseline")
    simple = None if baseline is None else _value(record.record("baseline").record("test"), metric)
    networks = record.record("test").count("n")
    if value is None or not networks:
        return None
    return Tested(metric=metric, value=value, networks=networks, simple=simple)


def _value(record: Record, metric: str) -> float | None:
    found = scores(record)
    return found.accuracy if metric == "accuracy" else math.sqrt(found.mse)


def read_ranges(path: Path) -> Mapping[str, tuple[float, float]]:
    """Read the ranges of weights of ``training.json``; none where the run kept none.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return {}
    found = parse_record(path, read_text(path)).record("magnitudes")
    pairs = {
        kind: (pair.number("least"), pair.number("most")) for kind, pair in found.each(Record.record).items()
    }
    for kind, (low, high) in pairs.items():
        if low > high:
            raise RunError(f"{path}: damaged: magnitudes.{kind} goes from {low} to {high}")
    return pairs

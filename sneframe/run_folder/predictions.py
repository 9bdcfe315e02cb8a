"""Write and read ``predictions.csv``: the true and predicted values of the validation and test networks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe import atomic
from sneframe.run_folder.json_files import fault, read_text
from sneframe.run_folder.measured import Metrics

COLUMNS = ["id", "split", "architecture", "source", "group"]
VALUES = ["true", "predicted"]
CATEGORY = "category"  #: the task whose values are labels, not numbers


@frozen(kw_only=True, eq=False)
class Predictions:
    """The predictions for the test networks.

    Args:
        ids: ``(n,)`` int64, distinct.
        architecture: ``(n,)`` str, the id of the architecture of each network.
        source: ``(n,)`` str, the name of each network; see :attr:`sneframe.zoo.Zoo.sources`.
        group: ``(n,)`` str, the run group of each network.
        true: ``(n,)`` true values: float64, or labels for a category.
        predicted: ``(n,)`` predicted values: float64, or labels for a category.
        probability: ``(n,)`` float64, the predicted probability of the true class. None if the property is a
            number.
    """

    ids: np.ndarray
    architecture: np.ndarray
    source: np.ndarray
    group: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray | None = None


def header_of(kinds: Mapping[str, str]) -> list[str]:
    """Return the names of the columns of ``predictions.csv``.

    Args:
        kinds: the kind of task of each property, by property name. The main property comes first. The names
            of the columns of any other property end in the name of that property. A category has a third
            column, the probability of the true class.
    """
    columns = list(COLUMNS)
    for number, (name, kind) in enumerate(kinds.items()):
        columns += [f"{what} {name}" if number else what for what in _values_of(kind)]
    return columns


def write_predictions(path: Path, kinds: Mapping[str, str], rows: Iterable[Iterable[Any]]) -> None:
    """Write ``predictions.csv``: the columns of :func:`header_of`, and a row for each network.

    Raises:
        MachineError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header_of(kinds))
    writer.writerows((repr(each) if isinstance(each, float) else each for each in row) for row in rows)
    # A name may contain a lone surrogate, which UTF-8 cannot encode.
    atomic.write_bytes(path, text.getvalue().encode(errors="replace"))


def read_predictions(path: Path, metrics: Metrics) -> tuple[Predictions, ...]:
    """Read the predictions for the test networks. Return one item for each property of ``metrics``.

    Raises:
        RunError: the file is missing or malformed, or the number of test networks differs from ``metrics``.
    """
    kinds = {name: each.task for name, each in metrics.by_property.items()}
    columns, expected = header_of(kinds), metrics.test.n
    named, values = [], []
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if (header := next(rows, [])) != columns:
            fault(path, f"the columns must be {', '.join(columns)}, but got {', '.join(header) or 'none'}")
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"must have {len(columns)} values, but got {len(row)}")
            number, split, *names = row[: len(COLUMNS)]
            if split not in ("val", "test"):
                raise ValueError(f"split must be val or test, but got {split!r}")
            read = _read_values(row[len(COLUMNS) :], kinds.values())
            if split == "test":
                named.append((np.int64(number), *names))
                values.append(read)
    except (csv.Error, ValueError, OverflowError) as error:
        fault(path, f"line {rows.line_num}: {error}", error)
    if len(named) != expected:
        fault(path, f"the file has {len(named)} test networks, but metrics.json counts {expected}")
    ids, architectures, sources, groups = zip(*named, strict=True) if named else ((),) * 4
    if len(set(ids)) != len(ids):
        fault(path, "a test network has more than one row")
    found = []
    for index, kind in enumerate(kinds.values()):
        dtype: Any = object if kind == CATEGORY else np.float64
        true, predicted, *more = zip(*(row[index] for row in values), strict=True)
        found.append(
            Predictions(
                ids=np.array(ids, np.int64),
                architecture=np.array(architectures, dtype=str),
                source=np.array(sources, dtype=str),
                group=np.array(groups, dtype=str),
                true=np.array(true, dtype),
                predicted=np.array(predicted, dtype),
                probability=np.array(more[0], np.float64) if more else None,
            )
        )
    return tuple(found)


def _values_of(kind: str) -> list[str]:
    return [*VALUES, "probability"] if kind == CATEGORY else VALUES


def _read_values(texts: list[str], kinds: Iterable[str]) -> list[list[float | str]]:
    """Convert the texts of one row to values, and return a list of values for each property."""
    rest = iter(texts)
    return [
        [_value(next(rest), kind if what in VALUES else "") for what in _values_of(kind)] for kind in kinds
    ]


def _value(text: str, kind: str) -> float | str:
    if kind == CATEGORY:
        return text
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a value must be finite, but got {value}")
    return value

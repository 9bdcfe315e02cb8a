"""``predictions.csv``: true and predicted values, one row for each validation and test network."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe import atomic
from sneframe.run_folder.json_files import fault, read_text
from sneframe.run_folder.measured import Metrics

COLUMNS = ["id", "split", "architecture", "true", "predicted"]
CATEGORY = "category"  #: the task whose values are labels, not numbers


@frozen(kw_only=True, eq=False)
class Predictions:
    """The predictions for the test networks.

    Args:
        ids: ``(n,)`` int64, distinct.
        architecture: ``(n,)`` str, their architectures' ids.
        true: ``(n,)`` float64, or labels.
        predicted: ``(n,)``, the same.
    """

    ids: np.ndarray
    architecture: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


def header_of(also: Iterable[str]) -> list[str]:
    """Return the names of the columns; each further property adds two."""
    return [*COLUMNS, *(f"{what} {name}" for name in also for what in ("true", "predicted"))]


def write_predictions(path: Path, also: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows of id, split, architecture, and a true and a predicted value for each property.

    Raises:
        MachineError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header_of(also))
    writer.writerows((repr(each) if isinstance(each, float) else each for each in row) for row in rows)
    atomic.write_text(path, text.getvalue())


def read_predictions(path: Path, metrics: Metrics) -> tuple[Predictions, ...]:
    """Return the predictions for the test networks, for each property of the metrics.

    Raises:
        RunError: the file is missing or malformed, or is not about as many networks as the metrics.
    """
    tasks = [each.task for each in metrics.by_property.values()]
    columns, expected = header_of(metrics.also), metrics.test.n
    ids, architectures, values = [], [], []
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if (header := next(rows, [])) != columns:
            fault(path, f"the columns must be {', '.join(columns)}, got {', '.join(header) or 'none'}")
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"must have {len(columns)} values, got {len(row)}")
            number, split, architecture, *pairs = row
            if split not in ("val", "test"):
                raise ValueError(f"split must be val or test, got {split!r}")
            read = [_value(text, tasks[index // 2]) for index, text in enumerate(pairs)]
            if split == "test":
                ids.append(np.int64(number))
                architectures.append(architecture)
                values.append(read)
    except (csv.Error, ValueError, OverflowError) as error:
        fault(path, f"line {rows.line_num}: {error}", error)
    if len(ids) != expected:
        fault(path, f"{len(ids)} test networks, metrics.json counts {expected}")
    if len(set(ids)) != len(ids):
        fault(path, "a test network stands in it twice")
    found = []
    for index, task in enumerate(tasks):
        kind: Any = object if task == CATEGORY else np.float64
        true, predicted = (np.array([row[2 * index + side] for row in values], kind) for side in (0, 1))
        found.append(
            Predictions(
                ids=np.array(ids, np.int64),
                architecture=np.array(architectures, dtype=str),
                true=true,
                predicted=predicted,
            )
        )
    return tuple(found)


def _value(text: str, task: str) -> float | str:
    if task == CATEGORY:
        return text
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a value must be finite, got {value}")
    return value

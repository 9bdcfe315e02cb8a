"""``shown.json``: columns that only colour the maps of the report; the model does not learn from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.run_folder.json_files import fault, read_json

MISSING = "missing"  #: label of a network without a value


@frozen(kw_only=True)
class Shown:
    """The content of the file.

    Args:
        ids: ids of the test networks.
        columns: values of each column by its name, in the order of the ids; None is a missing value.
    """

    ids: tuple[int, ...]
    columns: Mapping[str, tuple[Any, ...]]


def read_shown(path: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns by name: numbers as float64 with NaN for missing values, others as labels.

    The result is empty if there is no such file.

    Args:
        path: path of the file.
        ids: ids of the test networks, in the order of predictions.csv.

    Raises:
        RunError: the file is malformed, or has other networks.
    """
    if not path.exists():
        return {}
    found = read_json(path, Shown)
    if found.ids != tuple(ids.tolist()):
        fault(path, "ids: must be the test networks of predictions.csv, in the same order")
    return {
        name: _values(path, f"columns.{name}", column, len(ids)) for name, column in found.columns.items()
    }


def _values(path: Path, key: str, column: tuple[Any, ...], n: int) -> np.ndarray:
    if len(column) != n:
        fault(path, f"{key}: must be a list of {n} values, got {len(column)}")
    there = [value for value in column if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return np.array([np.nan if value is None else value for value in column], np.float64)
    if not all(isinstance(value, str | bool) for value in there):
        fault(path, f"{key}: must hold numbers or labels")
    return np.array([MISSING if value is None else str(value) for value in column], object)

"""Read ``shown.json``, whose columns colour the maps of the report. The model does not learn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.run_folder.json_files import fault, read_json

MISSING = "missing"  #: label of a network without a value


@frozen(kw_only=True)
class Shown:
    """The content of ``shown.json``.

    Args:
        ids: ids of the test networks.
        columns: values of each column, by column name, in the order of ``ids``. None is a missing value.
    """

    ids: tuple[int, ...]
    columns: Mapping[str, tuple[Any, ...]]


def read_shown(path: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of ``shown.json``, by column name.

    A column of numbers is a float64 array with NaN for missing values. Any other column is an array of
    labels. The result is empty if there is no such file.

    Args:
        path: path of the file.
        ids: ids of the test networks, in the order of predictions.csv.

    Raises:
        RunError: the file is malformed, or the ids in the file differ from ``ids``.
    """
    if not path.exists():
        return {}
    found = read_json(path, Shown)
    if found.ids != tuple(ids.tolist()):
        fault(path, "ids: must be the test networks of predictions.csv, in the same order")
    return {
        name: typed_values(path, f"columns.{name}", column, len(ids))
        for name, column in found.columns.items()
    }


def typed_values(path: Path, key: str, column: Sequence[Any], n: int) -> np.ndarray:
    """Return a column from a file as numbers, with NaN for missing values, or as labels.

    Args:
        path: path of the file.
        key: name of the column in the file, for errors.
        column: the values; None is a missing value.
        n: number of values that there must be.

    Raises:
        RunError: the column has another length, or holds something else than numbers or labels.
    """
    if len(column) != n:
        fault(path, f"{key}: must be a list of {n} values, but got {len(column)}")
    there = [value for value in column if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return np.array([np.nan if value is None else value for value in column], np.float64)
    if not all(isinstance(value, str | bool) for value in there):
        fault(path, f"{key}: must hold only numbers or only labels")
    return np.array([MISSING if value is None else str(value) for value in column], object)

"""``shown.json`` of a run folder: columns of which nothing is learnt, for the maps to be coloured by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.run_folder.json_files import fault, read_json

MISSING = "missing"  #: the label of a network without one


@frozen(kw_only=True)
class Shown:
    """The columns.

    Args:
        ids: of the test networks.
        columns: of each column the values of these networks, None where missing.
    """

    ids: tuple[int, ...]
    columns: Mapping[str, tuple[Any, ...]]


def read_shown(path: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return by name the values of the test networks of these ids: float64 with NaN where missing, or labels.

    Raises:
        RunError: the file is malformed, or not about these networks. No file is no columns.
    """
    if not path.exists():
        return {}
    found = read_json(path, Shown)
    if found.ids != tuple(ids.tolist()):
        fault(path, "ids: must be those of the test networks of predictions.csv, in their order")
    return {
        name: _values(path, f"columns.{name}", column, len(ids)) for name, column in found.columns.items()
    }


def _values(path: Path, place: str, column: tuple[Any, ...], n: int) -> np.ndarray:
    if len(column) != n:
        fault(path, f"{place}: must be a list of {n} values, got {len(column)}")
    there = [value for value in column if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return np.array([np.nan if value is None else value for value in column], np.float64)
    if not all(isinstance(value, str | bool) for value in there):
        fault(path, f"{place}: must hold numbers or labels")
    return np.array([MISSING if value is None else str(value) for value in column], object)

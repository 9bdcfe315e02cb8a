"""``shown.json`` of a run folder: columns of which nothing is learnt, for the maps to be coloured by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sneframe.run_folder.record import Record, fault, parse_record, read_text

MISSING = "missing"  #: the label of a network without one


def read_shown(path: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return by name the values of the test networks of these ids: float64 with NaN where missing, or labels.

    Raises:
        RunError: the file is malformed, or not about these networks. No file is no columns.
    """
    if not path.exists():
        return {}
    root = parse_record(path, read_text(path))
    if root.data.get("ids") != ids.tolist():
        fault(path, "ids must be those of the test networks of predictions.csv, in their order")
    columns = root.record("columns")
    return {name: _values(columns, name, len(ids)) for name in columns.data}


def _values(columns: Record, name: str, n: int) -> np.ndarray:
    values: Any = columns.data[name]
    if not isinstance(values, list) or len(values) != n:
        fault(columns.path, f"{columns.where}{name} must be a list of {n} values")
    there = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    if not all(isinstance(value, str | bool) for value in there):
        fault(columns.path, f"{columns.where}{name} must hold numbers or labels")
    return np.array([MISSING if value is None else str(value) for value in values], object)

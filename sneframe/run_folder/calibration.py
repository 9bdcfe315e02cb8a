"""``calibration.json`` records errors on validation networks. ``predict`` computes intervals from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from attrs import field, frozen

from sneframe.run_folder.json_files import fault, read_json


@frozen(kw_only=True)
class Calibration:
    """The errors of a run on the validation networks that calibrate its intervals.

    Args:
        scaled: whether the scores of numbers were divided by the spread of the network's distance; see
            :func:`~sneframe.predict.conformal.spread`. If not, there were no distances to training networks.
        left_out: number of validation networks that do not calibrate, because they are doubtful.
        group: ``(n,)`` the number of the run group of each network that calibrates.
        scores: ``(n,)`` scores of these networks by property, in the order of ``group``. None is a score that
            is larger than every number: the network has a class that no training network has.
    """

    scaled: bool
    left_out: int
    group: tuple[int, ...]
    scores: Mapping[str, tuple[float | None, ...]] = field()

    @scores.validator
    def _one_for_each_network(self, _: object, scores: Mapping[str, tuple[float | None, ...]]) -> None:
        for name, values in scores.items():
            if len(values) != len(self.group):
                raise ValueError(
                    f"'scores.{name}' must have {len(self.group)} values, one for each item of 'group', "
                    f"but got {len(values)}"
                )
            if any(value is not None and value < 0 for value in values):
                raise ValueError(f"'scores.{name}' must not have negative values")

    @property
    def groups(self) -> int:
        """The number of run groups that calibrate."""
        return len(set(self.group))

    def scores_of(self, name: str) -> np.ndarray:
        """Return the scores ``(n,)`` of a property as float64. A score of None is infinite."""
        values = [np.inf if value is None else value for value in self.scores[name]]
        return np.array(values, np.float64)


def finite(scores: np.ndarray) -> tuple[float | None, ...]:
    """Return scores ``(n,)`` for JSON. A score that is not finite becomes None."""
    return tuple(float(score) if np.isfinite(score) else None for score in scores)


def read_calibration(path: Path, properties: Iterable[str]) -> Calibration | None:
    """Return the calibration of a run, or None if there is no such file, as in runs of older versions.

    Args:
        path: path of the file.
        properties: names of the properties that the run predicts.

    Raises:
        RunError: the file is malformed, or a property has no scores.
    """
    if not path.is_file():
        return None
    found = read_json(path, Calibration)
    missing: Sequence[str] = [name for name in properties if name not in found.scores]
    if missing:
        fault(path, f"scores.{missing[0]} is missing")
    return found

"""``training.json`` records facts about the training networks. Predictions compare new networks with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from sneframe.run_folder.json_files import read_json


@frozen(kw_only=True)
class Range:
    """The range of the root mean square of the weights in one type of parameter.

    Args:
        least: the smallest value among the training networks.
        most: the largest value; not less than ``least``.
    """

    least: float
    most: float = field()

    @most.validator
    def _not_less(self, _: object, most: float) -> None:
        if most < self.least:
            raise ValueError(f"'most' ({most}) must not be less than 'least' ({self.least})")


@frozen(kw_only=True)
class TrainingNetworks:
    """Facts about the training networks.

    Args:
        networks: number of training networks.
        magnitudes: the range of each type of parameter, by type, such as ``linear.weight``.
    """

    networks: int
    magnitudes: Mapping[str, Range]


def read_magnitudes(path: Path) -> Mapping[str, tuple[float, float]]:
    """Return the least and the largest magnitude of each type of parameter, or nothing without the file.

    Raises:
        RunError: the file is malformed.
    """
    if not path.is_file():
        return {}
    found = read_json(path, TrainingNetworks).magnitudes
    return {kind: (each.least, each.most) for kind, each in found.items()}

"""How well a run did on its test networks: its ``metrics.json`` in, for each property one error out."""

from __future__ import annotations

import math
from pathlib import Path

from attrs import frozen

from sneframe.metrics import Scores
from sneframe.run_folder.json_files import read_json
from sneframe.run_folder.measured import Metrics, PropertyScores

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
    """Read the test error of each property from ``metrics.json``; a property without test networks has none.

    Raises:
        RunError: the file is damaged.
    """
    found = {name: _tested(scores) for name, scores in read_json(path, Metrics).by_property.items()}
    return {name: tested for name, tested in found.items() if tested is not None}


def _tested(found: PropertyScores) -> Tested | None:
    metric = "accuracy" if found.task == CATEGORY else "rmse"
    value, simple = (_value(scores, metric) for scores in (found.test, found.baseline.test))
    if value is None or not found.test.n:
        return None
    return Tested(metric=metric, value=value, networks=found.test.n, simple=simple)


def _value(scores: Scores, metric: str) -> float | None:
    return scores.accuracy if metric == "accuracy" else math.sqrt(scores.mse)

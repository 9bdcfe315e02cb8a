"""Read the test error of a run, for each of its properties, from ``metrics.json``."""

from __future__ import annotations

import math
from pathlib import Path

from attrs import frozen

from sneframe.metrics import Scores
from sneframe.predict.conformal import percent
from sneframe.run_folder.json_files import read_json
from sneframe.run_folder.measured import Coverage, Metrics, PropertyScores

CATEGORY = "category"
NAMES = {"rmse": "RMSE", "accuracy": "accuracy"}


@frozen(kw_only=True)
class Tested:
    """The error of a run on its test networks, for one property.

    Args:
        metric: ``rmse`` or, for a category, ``accuracy``. The first is the root mean squared error in the
            property's unit, and the second the fraction of networks whose category was predicted.
        value: the value of the metric.
        networks: the number of test networks.
        simple: the value of the metric for a baseline that predicts the training mean, or the training
            frequencies of the categories. It is None if the run recorded no baseline.
        intervals: how often intervals contained the true values of test networks; None if the run did not
            measure it.
    """

    metric: str
    value: float
    networks: int
    simple: float | None
    intervals: Coverage | None = None

    @property
    def line(self) -> str:
        """The error in words: ``RMSE 0.41 on 500 test networks (2.9 when predicting the mean)``."""
        text = f"{NAMES[self.metric]} {self.value:.3g} on {self.networks} test networks"
        what = "frequencies" if self.metric == "accuracy" else "mean"
        return text if self.simple is None else f"{text} ({self.simple:.3g} when predicting the {what})"

    @property
    def coverage(self) -> str | None:
        """The coverage in words: ``90 % intervals contain the true value for 91.2 % of 441 test networks``.

        None if it was not measured.
        """
        found = self.intervals
        if found is None or found.coverage is None:
            return None
        what = (
            "sets contain the true label" if self.metric == "accuracy" else "intervals contain the true value"
        )
        tested = f"{percent(round(found.coverage, 3))} of {found.networks} test networks"
        weighted = ", each run group counted once" if found.groups < found.networks else ""
        return f"{percent(found.level)} {what} for {tested}{weighted}"


def read_tested(path: Path) -> dict[str, Tested]:
    """Read the test errors from ``metrics.json``. A property without test networks is left out.

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
    return Tested(metric=metric, value=value, networks=found.test.n, simple=simple, intervals=found.intervals)


def _value(scores: Scores, metric: str) -> float | None:
    return scores.accuracy if metric == "accuracy" else math.sqrt(scores.mse)

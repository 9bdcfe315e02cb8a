"""Define the interval of one prediction, and make it from the calibration of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from torch import Tensor

from sneframe.errors import counted
from sneframe.predict.conformal import bound, fewest, label_sets, limits, percent, spread
from sneframe.predict.doubt import Doubt, doubtful, in_words
from sneframe.run_folder.calibration import Calibration
from sneframe.tasks import Category, Task


@frozen(kw_only=True)
class PredictionInterval:
    """The values of a property between which the true value lies with the probability ``level``.

    The probability holds for networks like the validation networks, each property by itself. If there is no
    interval, ``reason`` says why, and the other fields are None.

    Args:
        level: the probability, such as 0.9.
        low: the lower limit, in the property's unit; None for a category.
        high: the upper limit; None for a category.
        labels: for a category, the prediction set: labels of which one is the true one with the probability
            ``level``. None for a number.
        reason: why there is no interval, or None.
    """

    level: float
    low: float | None = None
    high: float | None = None
    labels: tuple[str, ...] | None = None
    reason: str | None = None


def interval_of(
    task: Task,
    value: Tensor,
    calibration: Calibration | None,
    *,
    level: float,
    distance: float | None,
    doubts: Sequence[Doubt],
) -> PredictionInterval:
    """Return the interval of one property of one network, or the reason why there is none.

    A doubtful network has no interval, because it is unlike the networks that calibrate.

    Args:
        task: the task of the property.
        value: raw outputs ``(1, T)`` of the task.
        calibration: the calibration of the run, or None if the run has none.
        level: the probability that the interval contains the true value.
        distance: the distance of the network from the training networks, if it could be measured.
        doubts: the doubts about the network.
    """
    if calibration is None:
        reason = "the run has no calibration.json, as adapted runs and runs of older versions of sneframe"
        return PredictionInterval(level=level, reason=reason)
    if (no_bound := missing(calibration, task.name, level)) is not None:
        return PredictionInterval(level=level, reason=no_bound)
    if calibration.scaled and distance is None:
        reason = (
            "its distance from the training networks is not known, because the run has no embeddings of them"
        )
        return PredictionInterval(level=level, reason=reason)
    if doubtful(doubts):
        return PredictionInterval(level=level, reason=in_words(doubts))
    most = bound(calibration.scores_of(task.name), np.array(calibration.group), level)
    if isinstance(task, Category):
        inside = label_sets(task, value, most)[0].tolist()
        labels = tuple(label for label, is_in in zip(task.classes, inside, strict=True) if is_in)
        return PredictionInterval(level=level, labels=labels)
    half = most * spread(np.array([distance or 0.0])) if calibration.scaled else np.array([most])
    low, high = limits(task, value, half)
    return PredictionInterval(level=level, low=float(low[0]), high=float(high[0]))


def missing(calibration: Calibration, name: str, level: float) -> str | None:
    """Return why the property ``name`` has no intervals of this level, or None if it has."""
    if calibration.groups < (needed := fewest(level)):
        left_out = f" ({calibration.left_out} networks are doubtful)" if calibration.left_out else ""
        return (
            f"a {percent(level)} interval needs {counted(needed, 'run group')} of validation networks, "
            f"but got {calibration.groups}{left_out}"
        )
    if bound(calibration.scores_of(name), np.array(calibration.group), level) == np.inf:
        return (
            f"a {percent(level)} interval cannot be computed, because too many validation networks have a "
            f"value of {name!r} that no training network has"
        )
    return None

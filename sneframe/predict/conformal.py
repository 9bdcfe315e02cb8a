"""Compute prediction intervals by split conformal prediction.

The error of each validation network is divided by a *spread*, which grows with the distance of the network
from the training networks. The result is its *score*. The bound is the smallest score that is at least as
large as the scores of a given fraction of the validation networks; :func:`bound` says how they are counted.
The interval of a new network is its prediction ± bound × spread. For a category, the score is 1 − the
probability of the true class, and the prediction set of a network has all classes whose scores would not
exceed the bound.

If validation networks and the new network are exchangeable, the interval of the new network contains the
true value with at least the probability ``level``, whatever the model is (Papadopoulos et al. 2002; Lei et
al. 2018). Networks of one run group resemble each other, so only run groups are exchangeable. Therefore each
run group has the same weight, which its networks share, and the probability is that for a network of a new
run group (Lee, Barber and Willett 2023, theorem 1).

Scores divided by a function of the distance are due to Papadopoulos, Vovk and Gammerman (2011), and sets of
classes above a threshold to Sadinle, Lei and Wasserman (2019).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction as Ratio

import numpy as np
from scipy.stats import betabinom
from torch import Tensor

from sneframe.errors import ConfigError
from sneframe.tasks import Category, Task

LEVEL = 0.9  #: the level of intervals by default, and of those whose coverage a run measures
ROUNDING = 4  #: intervals are wider by this many of the smallest steps of a float64
CHANCE = 0.95  #: the coverage of this fraction of runs lies within the limits of :func:`chance`


def check_level(level: float) -> None:
    """Check that a level is a number between 0 and 1.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ConfigError(f"level must be a number between 0 and 1, such as {LEVEL}, but got {level!r}")


def percent(level: float) -> str:
    """Format a level: ``90 %``, ``97.5 %``."""
    return f"{100 * level:.10g} %"


def spread(distances: np.ndarray) -> np.ndarray:
    """Return 1 + distance, by which the errors ``(n,)`` of numbers are divided.

    A distance of 1 is the largest that is not far. So intervals at the edge of the training networks are up
    to twice as wide as in their midst. This function is the same for all runs. If it were fitted to the
    scores, they would no longer be exchangeable with the score of a new network.
    """
    return np.asarray(1 + distances)


def errors(task: Task, truth: np.ndarray, value: Tensor) -> np.ndarray:
    """Return the error ``(n,)`` of each network.

    The error of a number is |true − predicted|, and that of a category is 1 − the probability of the true
    class. A class that no training network has gives an infinite error, because no prediction set has it.

    Args:
        task: the task of the property.
        truth: true values ``(n,)``, as :meth:`~sneframe.tasks.Task.truth` returns them.
        value: raw outputs ``(n, T)`` of the task.
    """
    if isinstance(task, Category):
        missed = 1 - task.probability_of(truth, value)
        return np.where([label in task.classes for label in truth], missed, np.inf)
    return np.abs(truth - task.predict(value))


def bound(scores: np.ndarray, group: np.ndarray, level: float) -> float:
    """Return the smallest score that scores of total weight ``level`` do not exceed.

    Of G run groups, each has the weight 1 / (G + 1), and its networks share it equally. One more score, which
    is infinite, has the same weight, so that all weights add up to 1. If each network is a run group of its
    own, the bound is the ⌈level · (G + 1)⌉-th smallest score.

    Args:
        scores: scores ``(n,)`` of the networks that calibrate, which may be infinite.
        group: run group ``(n,)`` of each network.
        level: a number between 0 and 1.

    Returns:
        Infinity if there are fewer run groups than :func:`fewest`, or if too many scores are infinite.
    """
    _, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    # Whole numbers, because a sum of rounded weights can miss a level that it should reach exactly.
    whole = math.lcm(*sizes.tolist())
    needed = _exact(level) * (len(sizes) + 1) * whole
    order = np.argsort(scores, kind="stable")
    reached = itertools.accumulate(whole // size for size in sizes[number[order]].tolist())
    return next(
        (float(scores[at]) for at, sum_ in zip(order, reached, strict=True) if sum_ >= needed), math.inf
    )


def fewest(level: float) -> int:
    """Return the smallest number K of run groups that can calibrate: K ≥ level · (K + 1)."""
    return math.ceil(_exact(level) / (1 - _exact(level)))


def limits(task: Task, value: Tensor, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper limits, each ``(n,)``, of the intervals of a number.

    They are clipped if the values of the task are bounded.

    Args:
        task: the task of the property, which is not a category.
        value: raw outputs ``(n, T)`` of the task.
        half: half of the width ``(n,)`` of each interval, before it is clipped.
    """
    predicted = task.predict(value)
    least, most = task.within or (-np.inf, np.inf)
    # Otherwise rounding could exclude a value whose score is exactly the bound. Such values are frequent if a
    # property has few different values.
    half = half + ROUNDING * np.spacing(np.abs(predicted) + half)
    return np.maximum(predicted - half, least), np.minimum(predicted + half, most)


def label_sets(task: Category, value: Tensor, most: float) -> np.ndarray:
    """Return which classes are in each prediction set, as a mask ``(n, K)``.

    A set has each class whose score would be at most ``most``, and always the predicted class. So no set is
    empty, and sets can contain the true class more often than the level says.
    """
    probabilities = task.probabilities(value)
    inside = 1 - probabilities <= most
    inside[np.arange(len(inside)), value.detach().cpu().argmax(1).numpy()] = True
    return np.asarray(inside)


def covered(
    task: Task, truth: np.ndarray, value: Tensor, most: float, spreads: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which intervals contain the true value, and how wide each is.

    Args:
        task: the task of the property.
        truth: true values ``(n,)``.
        value: raw outputs ``(n, T)`` of the task.
        most: the :func:`bound` of the scores.
        spreads: the spread ``(n,)`` of each network.

    Returns:
        A mask ``(n,)``, and widths ``(n,)`` in the unit of the property. The width of a prediction set is its
        number of classes.
    """
    if isinstance(task, Category):
        inside = label_sets(task, value, most)
        hits = inside & (truth[:, None] == np.array(task.classes, dtype=object))
        return hits.any(1), inside.sum(1)
    low, high = limits(task, value, most * spreads)
    return (low <= truth) & (truth <= high), high - low


def chance(calibrated: int, tested: int, level: float) -> tuple[float, float]:
    """Return limits between which the coverage of 95 % of runs lies, if all networks are exchangeable.

    The coverage varies with the networks that calibrate and with those that are tested. It has a
    beta-binomial distribution (Angelopoulos and Bates 2023, section 3.2).

    Args:
        calibrated: number of run groups that calibrate, at least :func:`fewest`.
        tested: number of run groups that are tested.
        level: a number between 0 and 1.
    """
    rank = math.ceil(_exact(level) * (calibrated + 1))
    low, high = betabinom.interval(CHANCE, tested, rank, calibrated + 1 - rank)
    return float(low / tested), float(high / tested)


def group_weights(group: np.ndarray) -> np.ndarray:
    """Return weights ``(n,)`` that add up to 1. Each run group has the same, which its networks share."""
    _, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(sizes) * sizes[number]))


def _exact(level: float) -> Ratio:
    """Return the level as it is written: 0.9 is 9/10. As a binary number it is a little more."""
    return Ratio(repr(float(level)))

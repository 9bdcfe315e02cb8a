"""Choose an adjustment by cross-validation over the labelled networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from sneframe.adaptation.adjustments import Adjustment, Encoded
from sneframe.errors import PartError
from sneframe.parts.head import Head
from sneframe.run_folder.adapted import Tried
from sneframe.tasks import Tasks

FOLDS = 10  #: the largest number of folds; with at most as many run groups, each fold is one of them


@frozen(kw_only=True, eq=False)
class Validated:
    """The outcome of a cross-validation.

    Args:
        tried: the error of each adjustment, in the order in which they were given.
        chosen: the chosen adjustment.
        folds: the number of folds.
        predicted: the values ``(n,)`` that the chosen adjustment predicts for each labelled network after a
            fit to the other folds, by the name of the property.
    """

    tried: tuple[Tried, ...]
    chosen: Adjustment
    folds: int
    predicted: dict[str, np.ndarray]


def choose(adjustments: Sequence[Adjustment], head: Head, tasks: Tasks, networks: Encoded) -> Validated:
    """Choose an adjustment by the error of the main property, in favour of the simpler one.

    Each network is predicted by a fit to the networks of the other folds. The chosen adjustment is the first
    one whose error exceeds the smallest error by at most one standard error of the smallest error (Hastie,
    Tibshirani, Friedman, The Elements of Statistical Learning, 7.10). An adjustment that predicts values that
    are not finite is left out.

    Args:
        adjustments: the adjustments, the simplest first.
        head: the head of the run.
        tasks: the tasks of the run.
        networks: the labelled networks, of at least three run groups.

    Raises:
        PartError: no adjustment predicts finite values, not even ``nothing``.
    """
    fold = folds(networks.group)
    main = tasks.main.name
    tried, kept = [], []
    for adjustment in adjustments:
        predicted = _out_of_fold(adjustment, head, tasks, networks, fold)
        if all(np.isfinite(values).all() for values in predicted.values()):
            errors = (predicted[main] - networks.truth[main]) ** 2
            mse, standard_error = _mean_and_standard_error(errors, networks.group)
            tried.append(Tried(name=adjustment.name, mse=mse, standard_error=standard_error))
            kept.append((adjustment, predicted))
    if not tried:
        raise PartError(f"head {head.name!r} predicts values that are not finite")
    best = min(tried, key=lambda each: each.mse)
    place = next(place for place, each in enumerate(tried) if each.mse <= best.mse + best.standard_error)
    chosen, predicted = kept[place]
    return Validated(tried=tuple(tried), chosen=chosen, folds=int(fold.max()) + 1, predicted=predicted)


def folds(group: np.ndarray) -> np.ndarray:
    """Return the fold of each network, ``(n,)`` ints from 0. The networks of a run group are in one fold.

    Up to ten run groups are a fold each, so that one is left out at a time. More are divided into ten folds.
    """
    from sklearn.model_selection import GroupKFold

    found = np.empty(len(group), np.int64)
    count = min(FOLDS, len(np.unique(group)))
    for number, (_, rows) in enumerate(GroupKFold(count).split(group, groups=group)):
        found[rows] = number
    return found


def _out_of_fold(
    adjustment: Adjustment, head: Head, tasks: Tasks, networks: Encoded, fold: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the values ``(n,)`` of each property, where a network is predicted by a fit to other folds."""
    found = {task.name: np.empty(len(networks)) for task in tasks.each}
    for number in range(fold.max() + 1):
        rows = np.flatnonzero(fold == number)
        fitted = adjustment.fit(head, tasks, networks.take(np.flatnonzero(fold != number)))
        for name, values in fitted.predict(networks.take(rows)).items():
            found[name][rows] = values
    return found


def _mean_and_standard_error(values: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Return the mean of values ``(n,)``, and its standard error if only run groups are independent.

    The error is that of a mean of clusters: the root of G / (G − 1) · Σ_g (Σ_{i in g} (v_i − mean))² / n²,
    with G groups. With one network in each group this is the usual standard deviation / √n.
    """
    mean = values.mean()
    _, index = np.unique(group, return_inverse=True)
    sums = np.bincount(index, weights=values - mean)
    error = np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(values)
    return float(mean), float(error)

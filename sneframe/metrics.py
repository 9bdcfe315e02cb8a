"""Score predicted numbers (squared error, R², rank correlations) and classes (Brier score, accuracy)."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from scipy.stats import kendalltau, spearmanr

#: A true value is at the floor if it exceeds the smallest one by at most this fraction of the range.
FLOOR = 0.02


@frozen(kw_only=True)
class Scores:
    """How well values were predicted. A metric that is undefined or does not apply is None, never 0 or NaN.

    Args:
        n: number of networks.
        mse: mean squared error, in squared units of the property. For a category it is the Brier score
            Σ_k (p_k − y_k)², where p are the predicted probabilities of the classes (Brier 1950).
        r2: 1 − mse / variance; None for fewer than two networks, or for equal true values.
        tau: Kendall's tau-b, which corrects for ties; None if all true or all predicted values are equal.
        spearman: Spearman's rank correlation; None if all true or all predicted values are equal.
        ties: fraction of all pairs of networks whose true values are equal. Such a pair has no order to
            predict.
        floor: fraction of the networks whose true value is in the lowest 2 % of the range, such as accuracies
            at chance level.
        accuracy: for a category, the fraction of the networks whose most probable class is the true one.
        balanced_accuracy: for a category, the mean of the accuracies of the true classes.
    """

    n: int
    mse: float
    r2: float | None = None
    tau: float | None = None
    spearman: float | None = None
    ties: float | None = None
    floor: float | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None


def score(true: np.ndarray, predicted: np.ndarray) -> Scores:
    """Score ``(n,)`` predictions against ``(n,)`` true values."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    mse = float(np.mean((true - predicted) ** 2))
    # The variance of equal values is not always 0: rounding gives 2e-34 for [0.1, 0.1, 0.1].
    variance = float(np.var(true)) if np.ptp(true) > 0 else 0.0
    varied = len(true) > 1 and np.ptp(true) > 0 and np.ptp(predicted) > 0
    return Scores(
        n=len(true),
        mse=mse,
        r2=1 - mse / variance if variance > 0 else None,
        tau=_defined(kendalltau(true, predicted).statistic) if varied else None,
        spearman=_defined(spearmanr(true, predicted).statistic) if varied else None,
        ties=_ties(true),
        floor=float(np.mean(true <= true.min() + FLOOR * np.ptp(true))),
    )


def score_classes(true: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Score predicted probabilities of classes.

    Args:
        true: ``(n,)`` indices of the true classes; −1 means a class without a probability, which is always
            missed.
        probabilities: ``(n, K)``; each row sums to 1.
    """
    truth = np.where(true[:, None] == np.arange(probabilities.shape[1]), 1.0, 0.0)
    # A true class without a probability adds 1, as a true class of probability 0 does.
    square = ((probabilities - truth) ** 2).sum(1) + (true < 0)
    right = probabilities.argmax(1) == true
    return Scores(
        n=len(true),
        mse=float(square.mean()),
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean([right[true == each].mean() for each in np.unique(true)])),
    )


def _ties(true: np.ndarray) -> float | None:
    """Return the fraction of all pairs of values that are equal; None for fewer than two values."""
    if len(true) < 2:
        return None
    _, counts = np.unique(true, return_counts=True)
    return float((counts * (counts - 1)).sum() / (len(true) * (len(true) - 1)))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

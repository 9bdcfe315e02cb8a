"""Metrics of predicted against true values: squared error, R², Kendall's τ-b, Spearman's ρ; accuracy of categories."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from scipy.stats import kendalltau, spearmanr

FLOOR = 0.02  #: of the range of the truth: what lies no higher above its smallest value lies at the floor


@frozen(kw_only=True)
class Scores:
    """How well values were predicted; None where a metric is undefined or does not apply, never 0 or NaN.

    Args:
        n: how many networks.
        mse: mean squared error, in squared units of the property; of a category the Brier score Σ_k (p_k − y_k)², p the
            predicted probabilities of its classes (Brier 1950).
        r2: 1 − mse / variance; None for fewer than two networks or a constant truth.
        tau: Kendall's tau-b, which discounts ties; None where either side is constant.
        spearman: Spearman's rank correlation; None where either side is constant.
        ties: the share of the pairs of networks that have the same true value, which no order can be told of.
        floor: the share of networks whose true value lies in the lowest 2 % of its range, such as those at chance level.
        accuracy: of a category, the share of networks whose most probable class is the true one.
        balanced_accuracy: the mean over true classes of the share that is told.
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
    """Score ``(n,)`` predictions against ``(n,)`` truths."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    mse = float(np.mean((true - predicted) ** 2))
    # The variance of equal values is rounding, not always 0: [0.1, 0.1, 0.1] has 2e-34.
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
    """Score the probabilities of classes.

    Args:
        true: ``(n,)`` indices of classes; −1 is a class that has no probability, and is never told.
        probabilities: ``(n, K)``, each row sums to 1.
    """
    truth = np.where(true[:, None] == np.arange(probabilities.shape[1]), 1.0, 0.0)
    # A class without a probability of its own is missed by 1, as any class of probability 0 is.
    square = ((probabilities - truth) ** 2).sum(1) + (true < 0)
    told = probabilities.argmax(1) == true
    return Scores(
        n=len(true),
        mse=float(square.mean()),
        accuracy=float(told.mean()),
        balanced_accuracy=float(np.mean([told[true == each].mean() for each in np.unique(true)])),
    )


def _ties(true: np.ndarray) -> float | None:
    """Return the share of pairs that are equal."""
    if len(true) < 2:
        return None
    _, counts = np.unique(true, return_counts=True)
    return float((counts * (counts - 1)).sum() / (len(true) * (len(true) - 1)))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

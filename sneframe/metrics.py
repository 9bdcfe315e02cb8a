"""Metrics of predicted against true values: mean squared error, R², Kendall's tau-b."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from scipy.stats import kendalltau


@frozen(kw_only=True)
class Scores:
    """How well values were predicted; None where a metric is undefined, never 0 or NaN.

    Args:
        n: how many networks.
        mse: mean squared error, in squared units of the property.
        r2: 1 − mse / variance; None for fewer than two networks or a constant truth.
        tau: Kendall's tau-b, which discounts ties; None where either side is constant.
    """

    n: int
    mse: float
    r2: float | None
    tau: float | None


def score(true: np.ndarray, predicted: np.ndarray) -> Scores:
    """Score ``(n,)`` predictions against ``(n,)`` truths."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    mse = float(np.mean((true - predicted) ** 2))
    # The variance of equal values is rounding, not always 0: [0.1, 0.1, 0.1] has 2e-34.
    variance = float(np.var(true)) if np.ptp(true) > 0 else 0.0
    tau = float(kendalltau(true, predicted).statistic) if len(true) > 1 else math.nan
    return Scores(
        n=len(true),
        mse=mse,
        r2=1 - mse / variance if variance > 0 else None,
        tau=None if math.isnan(tau) else tau,
    )

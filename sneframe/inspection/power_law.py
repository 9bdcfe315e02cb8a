"""Fit a power law to the spectrum of a weight matrix, with the conventions of WeightWatcher.

Martin & Mahoney (2021, arXiv 1810.01075): the eigenvalues λ = σ² of WᵀW of a well trained layer have a heavy
tail p(λ) ∝ λ^(−α), with α between about 2 and 6. The smallest eigenvalue of the tail is the one for which the
distance of Kolmogorov and Smirnov between tail and fit is smallest (Clauset et al. 2009).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

#: With fewer singular values, a fit says nothing.
FEWEST = 10
TINY = 1e-12  #: eigenvalues below this fraction of the largest are rounding


@frozen(kw_only=True)
class PowerLaw:
    """A fitted tail.

    Args:
        alpha: the exponent α.
        distance: largest difference between the distribution of the tail and the fit.
        start: the smallest eigenvalue λ of the tail.
        tail: number of eigenvalues in the tail.
    """

    alpha: float
    distance: float
    start: float
    tail: int


def fit_power_law(values: np.ndarray) -> PowerLaw | None:
    """Return the power law of the tail of λ = σ², or None if there are too few values.

    Args:
        values: ``(k,)`` singular values σ. Zeros do not count.

    For each candidate, α = 1 + n / Σ log(λ / λ_min) is the maximum likelihood estimate of its n eigenvalues.
    """
    found = np.sort(np.asarray(values, np.float64)) ** 2
    found = found[found > TINY * found.max(initial=0.0)]
    count = len(found)
    if count < FEWEST:
        return None
    logs = np.log(found)
    numbers = np.arange(count, 1, -1)  # eigenvalues from the i-th on; the last one alone has no spread
    sums = np.cumsum(logs[::-1])[::-1][:-1] - numbers * logs[:-1]
    best: PowerLaw | None = None
    for start, (number, total) in enumerate(zip(numbers.tolist(), sums.tolist(), strict=True)):
        if total <= 0:  # all eigenvalues of this tail are equal
            continue
        alpha = 1 + number / total
        fitted = 1 - np.exp((1 - alpha) * (logs[start:] - logs[start]))
        distance = float(np.abs(fitted - np.arange(number) / number).max())
        if best is None or distance < best.distance:
            best = PowerLaw(alpha=alpha, distance=distance, start=float(found[start]), tail=number)
    return best

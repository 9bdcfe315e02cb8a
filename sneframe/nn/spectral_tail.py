"""Fit power laws to the tails of many spectra at once, with the conventions of WeightWatcher.

Martin & Mahoney (2021, arXiv 1810.01075): the eigenvalues λ = σ² of WᵀW of a well trained layer have a heavy
tail p(λ) ∝ λ^(−α), with α between about 2 and 6. The smallest eigenvalue of the tail is the one for which the
distance of Kolmogorov and Smirnov between tail and fit is smallest (Clauset et al. 2009).
"""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor

#: With fewer singular values, a fit says nothing.
FEWEST = 10
TINY = 1e-12  #: eigenvalues below this fraction of the largest are rounding


@frozen(kw_only=True, eq=False)
class Tails:
    """The fitted tails of B spectra. A spectrum without a fit has ``found`` False, and 0 elsewhere.

    Args:
        found: ``(B,)`` whether there are enough eigenvalues, and not all of them equal.
        alpha: ``(B,)`` exponent α.
        distance: ``(B,)`` largest difference between the distribution of the tail and the fit.
        start: ``(B,)`` the smallest eigenvalue λ of the tail.
        tail: ``(B,)`` int64 number of eigenvalues in the tail.
    """

    found: Tensor
    alpha: Tensor
    distance: Tensor
    start: Tensor
    tail: Tensor


def fit_tails(values: Tensor) -> Tails:
    """Return the power law of the tail of λ = σ² for singular values ``(B, k)``, in any order.

    Eigenvalues that are 0, or rounding beside the largest, do not count. For each candidate,
    α = 1 + n / Σ log(λ / λ_min) is the maximum likelihood estimate of its n eigenvalues.
    """
    ordered = values.double().sort(dim=1).values ** 2
    networks, count = ordered.shape
    none = torch.zeros(networks, dtype=torch.float64, device=values.device)
    best = torch.full_like(none, torch.inf)
    alpha, start = none.clone(), none.clone()
    tail = torch.zeros(networks, dtype=torch.int64, device=values.device)
    real = ordered > TINY * ordered[:, -1:] if count else torch.zeros_like(ordered, dtype=torch.bool)
    enough = real.sum(1) >= FEWEST
    logs = torch.where(real, ordered, 1.0).log()
    for first in range(count - 1 if bool(enough.any()) else 0):
        own, number = logs[:, first:] - logs[:, first : first + 1], count - first
        total = own.sum(1)
        fits = enough & real[:, first] & (total > 0)
        exponent = 1 + number / torch.where(fits, total, 1.0)
        empirical = torch.arange(number, dtype=torch.float64, device=values.device) / number
        fitted = 1 - torch.exp((1 - exponent)[:, None] * own)
        distance = (fitted - empirical).abs().amax(1)
        better = fits & (distance < best)
        best = torch.where(better, distance, best)
        alpha = torch.where(better, exponent, alpha)
        start = torch.where(better, ordered[:, first], start)
        tail = torch.where(better, number, tail)
    found = best.isfinite()
    return Tails(found=found, alpha=alpha, distance=torch.where(found, best, 0.0), start=start, tail=tail)

"""The power law of the spectrum of one matrix."""

from __future__ import annotations

import numpy as np
import torch
from attrs import frozen

from sneframe.nn.spectral_tail import fit_tails


@frozen(kw_only=True)
class PowerLaw:
    """A fitted tail.

    Args:
        alpha: the exponent α.
        distance: largest difference between the distribution of the tail and the fit.
        start: the smallest eigenvalue λ = σ² of the tail.
        tail: number of eigenvalues in the tail.
    """

    alpha: float
    distance: float
    start: float
    tail: int


def fit_power_law(values: np.ndarray) -> PowerLaw | None:
    """Return the power law of the tail of singular values ``(k,)``, or None if there are too few.

    :func:`~sneframe.nn.spectral_tail.fit_tails` has the conventions.
    """
    fitted = fit_tails(torch.from_numpy(np.asarray(values, np.float64))[None])
    if not bool(fitted.found):
        return None
    return PowerLaw(
        alpha=float(fitted.alpha),
        distance=float(fitted.distance),
        start=float(fitted.start),
        tail=int(fitted.tail),
    )

"""Compute numbers that describe the spectrum of a parameter, for many networks at once.

They do not change if neurons are permuted, or if the signs of neurons are flipped.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sneframe.nn.spectral_tail import FEWEST, fit_tails

SHARES: Final = (0.25, 0.5, 0.75)  #: ranks, as fractions of the number of singular values
NEAR_ZERO: Final = 0.01  #: a weight is near zero below this fraction of the root mean square
#: Of more singular values, α is fitted to every n-th, because the fit takes time with their square.
MOST: Final = 256
LARGEST_ALPHA: Final = 20.0  #: larger exponents mean that there is no tail
FLOOR: Final = 1e-12  #: below this norm, logarithms are those of this number
COUNT: Final = 8 + len(SHARES) + 3  #: number of statistics


def spectral_statistics(values: Tensor) -> Tensor:
    """Return statistics ``(B, 14)`` of one parameter ``(B, out, …)`` of B networks.

    The statistics are: the decimal logarithms of the Frobenius and of the spectral norm; the stable and the
    effective rank, as fractions of the number k of singular values; the exponent α of the power law, at most
    20, and its distance (both 0 below ten singular values); the fraction of weights near zero; the logarithm
    of the fourth moment over the squared second; the singular values of the ranks k/4, k/2 and 3k/4 over the
    largest; the logarithms of the smallest, the median and the largest norm of a row over their root mean
    square. A vector is a matrix of one row per entry.

    Args:
        values: the weights, with the axis of networks first.
    """
    matrices = values.reshape(len(values), values.shape[1] if values.ndim > 1 else 1, -1).double()
    singular = torch.linalg.svdvals(matrices) if min(matrices.shape[1:]) > 1 else _norm(matrices)
    count = singular.shape[1]
    squares = matrices.square()
    mean_square = squares.mean((1, 2))
    frobenius = squares.sum((1, 2)).sqrt()
    largest = singular[:, 0]
    safe = largest.clamp_min(FLOOR)
    fractions = singular / singular.sum(1, keepdim=True).clamp_min(FLOOR)
    entropy = -torch.special.xlogy(fractions, fractions).sum(1)
    step = max(1, -(-count // MOST))
    tails = fit_tails(singular[:, ::step]) if count >= FEWEST else None
    none = torch.zeros_like(largest)
    near = (squares < (NEAR_ZERO**2) * mean_square[:, None, None]).double().mean((1, 2))
    fourth = squares.square().mean((1, 2)) / mean_square.square().clamp_min(FLOOR**2)
    rows = squares.sum(2).sqrt()
    scale = rows.square().mean(1).sqrt().clamp_min(FLOOR)
    norms = torch.quantile(rows, torch.tensor([0.0, 0.5, 1.0], dtype=rows.dtype, device=rows.device), dim=1)
    found = [
        frobenius.clamp_min(FLOOR).log10(),
        safe.log10(),
        (frobenius / safe).square() / count,
        entropy.exp() / count,
        none if tails is None else tails.alpha.clamp_max(LARGEST_ALPHA),
        none if tails is None else tails.distance,
        near,
        fourth.clamp_min(1.0).log10(),
        *(singular[:, min(int(share * count), count - 1)] / safe for share in SHARES),
        *((each / scale).clamp_min(FLOOR).log10() for each in norms),
    ]
    return torch.stack(found, dim=1).to(values.dtype)


def _norm(matrices: Tensor) -> Tensor:
    """Return the only singular value ``(B, 1)`` of matrices with a side of 1."""
    return matrices.square().sum((1, 2)).sqrt()[:, None]

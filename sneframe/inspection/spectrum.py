"""Compute the singular values of a weight matrix: all of them, or the largest of a very large matrix."""

from __future__ import annotations

import math

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

#: Matrices whose smaller side is at most this long are decomposed completely.
EXACT = 2048
#: Up to this side, double precision takes hardly longer than single precision.
DOUBLE = 512
RANK = 64  #: number of singular values of a larger matrix
MORE = 16  #: more directions than values make the randomised values accurate
POWERS = 12  #: number of power iterations
SEED = 0


@frozen(kw_only=True, eq=False)
class Spectrum:
    """Singular values of a matrix.

    Args:
        values: ``(k,)`` float64 singular values, the largest first.
        of: number of singular values of the matrix, the length of its smaller side.
        frobenius: the Frobenius norm, from all weights.
        error: bound on the absolute error of the largest value.
    """

    values: np.ndarray
    of: int
    frobenius: float
    error: float

    @property
    def complete(self) -> bool:
        """Whether all singular values are known, and not only the largest."""
        return len(self.values) == self.of

    @property
    def norm(self) -> float:
        """The spectral norm: the largest singular value."""
        return float(self.values[0])

    @property
    def stable_rank(self) -> float | None:
        """The squared Frobenius norm divided by the squared spectral norm. None for a matrix of zeros."""
        return (self.frobenius / self.norm) ** 2 if self.norm else None

    @property
    def effective_rank(self) -> float | None:
        """exp(H) with the entropy H of the singular values, as fractions of their sum (Roy & Vetterli 2007).

        None for a matrix of zeros, and if not all values are known.
        """
        if not self.complete or not self.norm:
            return None
        fractions = self.values[self.values > 0] / self.values.sum()
        return math.exp(float(-(fractions * np.log(fractions)).sum()))

    @property
    def rank(self) -> int | None:
        """Number of singular values above the error, as in numpy. None if not all values are known."""
        return int((self.values > self.error).sum()) if self.complete else None


def as_matrix(values: Tensor) -> Tensor:
    """Return a parameter as a matrix: its first axis against all others, ``(out, in · kernel)``."""
    return values.reshape(values.shape[0], -1)


def spectrum_of(matrix: Tensor, *, exact: int = EXACT) -> Spectrum:
    """Return the singular values of a matrix ``(m, n)`` of finite values.

    A matrix whose smaller side is longer than ``exact`` is decomposed by randomised subspace iteration (Halko
    et al. 2011). Then only the largest 64 values are returned, and the error is that of the largest: the norm
    of A v − σ u for its two singular vectors.

    Args:
        matrix: the matrix, of any floating-point type.
        exact: length of the smaller side up to which all values are computed.
    """
    side = min(matrix.shape)
    frobenius = math.sqrt(sum(float(rows.double().square().sum()) for rows in matrix.split(256)))
    if side <= exact:
        kind = torch.float64 if side <= DOUBLE else torch.float32
        values = torch.linalg.svdvals(matrix.to(kind)).double().numpy()
        error = float(values[0]) * torch.finfo(kind).eps * max(matrix.shape)
        return Spectrum(values=values, of=side, frobenius=frobenius, error=error)
    values, error = _largest(matrix.float())
    return Spectrum(values=values, of=side, frobenius=frobenius, error=error)


def _largest(matrix: Tensor) -> tuple[np.ndarray, float]:
    """Return the largest singular values, and the residual of the largest."""
    generator = torch.Generator().manual_seed(SEED)
    start = torch.randn(matrix.shape[1], RANK + MORE, generator=generator)
    basis = torch.linalg.qr(matrix @ start).Q
    for _ in range(POWERS):
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
    small = basis.T @ matrix
    left, values, right = torch.linalg.svd(small, full_matrices=False)
    residual = matrix @ right[0] - values[0] * (basis @ left[:, 0])
    return values[:RANK].double().numpy(), float(residual.norm())

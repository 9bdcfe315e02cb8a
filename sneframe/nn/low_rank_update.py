"""Decompose low-rank updates B A by their singular values, without computing the products.

An update of rank r costs two QR decompositions and one singular value decomposition of a matrix r × r.
Nothing is larger than A and B.
"""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor

CLOSE = 1e-6  #: singular values whose relative distance is smaller count as equal


@frozen(kw_only=True, eq=False)
class LowRankUpdate:
    """N updates U diag(values) Vᵀ. The values descend, and there are k = min(r, m, n) of them.

    Args:
        left: U ``(N, m, k)`` with orthonormal columns.
        values: the singular values ``(N, k)``.
        right: V ``(N, n, k)`` with orthonormal columns.
    """

    left: Tensor
    values: Tensor
    right: Tensor


def decomposed(a: Tensor, b: Tensor) -> LowRankUpdate:
    """Return the singular value decomposition of B A in a form that does not depend on A and B otherwise.

    Two choices are left by a singular value decomposition, and are made in this way:

    - The sign of a pair of singular vectors u, v: the sum of u³ and v³ over all entries is positive.
    - The directions within a space of equal singular values: they diagonalise Uᵀ D U, where D has the numbers
      from 0 to 1 on its diagonal, in equal steps.

    Near a tie, that is if this sum is nearly 0 or two values are nearly equal, a small change of the update
    can change the choice, so the form is not continuous there.

    Args:
        a: A ``(N, r, n)``, finite.
        b: B ``(N, m, r)``, finite.

    Returns:
        The decomposition in float64.
    """
    q_a, r_a = torch.linalg.qr(a.double().mT)
    q_b, r_b = torch.linalg.qr(b.double())
    small = torch.linalg.svd(r_b @ r_a.mT, full_matrices=False)
    left, values, right = q_b @ small.U, small.S, q_a @ small.Vh.mT
    for row in _with_equal_values(values):
        for start, stop in _equal(values[row]):
            turn = _directions(left[row, :, start:stop])
            left[row, :, start:stop] = left[row, :, start:stop] @ turn
            right[row, :, start:stop] = right[row, :, start:stop] @ turn
    skew = left.pow(3).sum(1, keepdim=True) + right.pow(3).sum(1, keepdim=True)
    sign = torch.where(skew < 0, -1.0, 1.0)
    return LowRankUpdate(left=left * sign, values=values, right=right * sign)


def canonical(a: Tensor, b: Tensor, *, zero: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return A' ``(N, r, n)`` and B' ``(N, m, r)`` with B' A' = B A, which depend on the product alone.

    Both hold the singular vectors in descending order of the values, times the square root of the value.
    Beyond the rank of the product, they are 0.

    Args:
        a: A, as for :func:`decomposed`.
        b: B, as for :func:`decomposed`.
        zero: rounding error of a number in the type in which A and B were stored. Smaller singular values
            than this times the largest value and the longest side are rounding errors, and count as 0. Their
            roots would not be small.
    """
    found = decomposed(a, b)
    least = zero * max(*a.shape[1:], *b.shape[1:]) * found.values[:, :1]
    values = torch.where(found.values > least, found.values, 0.0)
    roots = values.sqrt().unsqueeze(1)
    lacking = a.shape[1] - found.values.shape[1]
    rows, columns = (found.right * roots).mT, found.left * roots
    if lacking:
        rows = torch.nn.functional.pad(rows, (0, 0, 0, lacking))
        columns = torch.nn.functional.pad(columns, (0, lacking))
    return rows, columns


def _with_equal_values(values: Tensor) -> list[int]:
    """Return the rows of singular values ``(N, k)`` in which some are equal and not 0."""
    close = _close(values[:, :-1], values[:, 1:], values[:, :1])
    return close.any(1).nonzero().flatten().tolist()


def _close(larger: Tensor, smaller: Tensor, largest: Tensor) -> Tensor:
    """Return where two neighbouring singular values are equal. Values of 0 need no directions."""
    return (larger - smaller <= CLOSE * larger) & (smaller > torch.finfo(larger.dtype).eps * largest)


def _equal(values: Tensor) -> list[tuple[int, int]]:
    """Return the ranges of equal singular values ``(k,)`` that have at least two of them."""
    close = _close(values[:-1], values[1:], values[:1]).tolist()
    ranges, start = [], 0
    for number, same in enumerate([*close, False]):
        if not same:
            if number > start:
                ranges.append((start, number + 1))
            start = number + 1
    return ranges


def _directions(vectors: Tensor) -> Tensor:
    """Return the rotation ``(k, k)`` that gives k orthonormal vectors ``(m, k)`` their directions."""
    diagonal = torch.linspace(0, 1, len(vectors), dtype=vectors.dtype, device=vectors.device)
    return torch.linalg.eigh(vectors.mT @ (diagonal[:, None] * vectors)).eigenvectors

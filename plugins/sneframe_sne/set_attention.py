"""Compute set attention (Lee et al. 2019, Set Transformer) exactly, at a low cost.

MAB(X, Y) = LN(H + ReLU(H W_o)) with H = LN(X W_q + concat_h softmax(Q_h K_hᵀ / √d_h) V_h). There is no output
projection. A mask ``(…, C)`` is true for elements of the set and false for padding. Padding gets no
attention. In shapes, S is the number of sets, C the number of elements and D the width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sneframe.config.validators import check_heads


class MAB(nn.Module):
    """Multi-head attention block MAB(X, Y): the elements of X attend to the elements of Y.

    Args:
        width: D.
        heads: H, a divisor of D.

    Raises:
        PartError: the number of heads does not divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(type(self).__name__, width, heads)
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return MAB(x, y) ``(S, C, D)``.

        Args:
            x: ``(S, C, D)``, or ``(1, C, D)`` if all sets have the same queries.
            y: ``(S, C', D)``.
            mask: ``(S, C')``, true for elements of y.
        """
        query = self.query(x)
        key, value = F.linear(
            y,
            torch.cat([self.key.weight, self.value.weight]),
            torch.cat([self.key.bias, self.value.bias]),
        ).chunk(2, dim=-1)
        if y.shape[1] == 1 and mask is None:  # the only element of a set gets all attention
            return self.finish(query + value)
        q, k, v = (rearrange(t, "s c (h d) -> s h c d", h=self.heads) for t in (query, key, value))
        bias = None if mask is None else _bias(mask, q.dtype)[:, None, None, :]
        attended = F.scaled_dot_product_attention(q.expand(len(y), -1, -1, -1), k, v, attn_mask=bias)
        return self.finish(query + rearrange(attended, "s h c d -> s c (h d)"))

    def finish(self, residual: Tensor) -> Tensor:
        """Return LN(H + ReLU(H W_o)) with H = LN(residual)."""
        hidden = self.norm1(residual)
        return self.norm2(hidden + F.relu(self.output(hidden)))


class SAB(nn.Module):
    """Self-attention block MAB(X, X). The cost is quadratic in the size of the set."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.mab = MAB(width, heads)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``(S, C, D)`` for ``x (S, C, D)`` and ``mask (S, C)``."""
        return self.mab(x, x, mask)


class ISAB(nn.Module):
    """Induced self-attention block MAB(X, MAB(I, X)) with m learned points I.

    The cost is linear in the size of the set.
    """

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.points = nn.Parameter(nn.init.xavier_uniform_(torch.empty(points, width)))
        self.gather = MAB(width, heads)
        self.scatter = MAB(width, heads)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``(S, C, D)`` for ``x (S, C, D)`` and ``mask (S, C)``."""
        points = self.gather(self.points[None], x, mask)
        return self.scatter(x, points)


class PMA(nn.Module):
    """Pools a set (C × D) to D values by multi-head attention with one learned seed: MAB(seed, X).

    The scores are X (W_kᵀ q), a C × H matrix. Keys have no bias, because it would cancel in the softmax. The
    attention weights of a head sum to one, so the values can be projected after pooling.

    Args:
        width: D.
        heads: H, a divisor of D.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(type(self).__name__, width, heads)
        self.heads = heads
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, width)))
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``(S, D)`` for ``x (S, C, D)`` and ``mask (S, C)``."""
        scores = x @ self.probe().T
        if mask is not None:
            scores = scores + rearrange(_bias(mask, scores.dtype), "s c -> s c 1")
        return self.finish(rearrange(scores.softmax(1), "s c h -> s h c") @ x)

    def probe(self) -> Tensor:
        """Return ``(H, D)``, a vector for each head. The product of an element and this vector is a score."""
        q = rearrange(self.query(self.seed), "1 (h d) -> h 1 d", h=self.heads)
        key = rearrange(self.key.weight, "(h d) e -> h d e", h=self.heads)
        return (q @ key).squeeze(1) * q.shape[-1] ** -0.5

    def finish(self, pooled: Tensor) -> Tensor:
        """Return ``(S, D)`` for ``pooled (S, H, D)``, the weighted mean of the elements for each head."""
        value = rearrange(self.value.weight, "(h d) e -> h e d", h=self.heads)
        heads = rearrange(torch.bmm(rearrange(pooled, "s h e -> h s e"), value), "h s d -> s (h d)")
        hidden = self.norm1(self.query(self.seed) + heads + self.value.bias)
        return self.norm2(hidden + F.relu(self.output(hidden)))


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to attention scores: 0 where the mask is true, and −∞ elsewhere.

    Every set has an element, so no row is −∞ everywhere.
    """
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, float("-inf"))

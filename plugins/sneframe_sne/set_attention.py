"""Compute set attention (Lee et al. 2019, Set Transformer) exactly, at a low cost.

MAB(X, Y) = LN(H + ReLU(H W_o)) with H = LN(X W_q + concat_h softmax(Q_h K_hᵀ / √d_h) V_h). There is no output
projection. A mask ``(…, C)`` is true for elements of the set and false for padding. Padding gets no
attention. In shapes, S is the number of sets, C the number of elements and D the width.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
        """Return MAB(x, y) ``(S, C, D)`` for ``x (S, C, D)``, ``y (S, C', D)`` and ``mask (S, C')`` of y."""
        query = self.query(x)
        q, k, v = (
            rearrange(t, "s c (h d) -> s h c d", h=self.heads) for t in (query, self.key(y), self.value(y))
        )
        bias = None if mask is None else _bias(mask, q.dtype)[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
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
        points = self.gather(self.points.expand(x.shape[0], -1, -1), x, mask)
        return self.scatter(x, points)


class ScalarSAB(nn.Module):
    """SAB on a set of C scalars x_i, computed without the C × D arrays of queries, keys and values.

    Queries, keys and values are q_i = a x_i + a0, k_j = b x_j + b0 and v_j = g x_j + g0. So head h needs only
    p_ij = softmax_j(x_j (A_h x_i + C_h)) with A_h = a_h·b_h / √d_h and C_h = a0_h·b_h / √d_h. Terms that do
    not depend on j cancel in the softmax, and so does b0. The output of head h is g_h m_ih + g0_h with m_ih =
    Σ_j p_ij x_j, so the block is one matrix on the H + 1 features (x_i, m_i1, …, m_iH). Up to rounding, the
    result equals that of SAB on a C × 1 input.

    Args:
        width: D.
        heads: H, a divisor of D.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(type(self).__name__, width, heads)
        self.heads = heads
        self.query = nn.Linear(1, width)
        # There is no bias for the key: it would shift all scores of a query equally, which softmax ignores.
        self.key = nn.Linear(1, width, bias=False)
        self.value = nn.Linear(1, width)
        self.output = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``(S, C, D)`` for scalars ``x (S, C)`` and ``mask (S, C)``."""
        means = self.means(x, mask)
        features = torch.cat([rearrange(x, "s c -> s c 1"), means], dim=-1)
        residual = F.linear(features, self._matrix(), self.query.bias + self.value.bias)
        hidden = self.norm1(residual)
        return self.norm2(hidden + F.relu(self.output(hidden)))

    def means(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return m ``(S, C, H)``, the mean of the set weighted by the attention of each element and head."""
        a, a0, b = (
            rearrange(t, "(h d) -> h d", h=self.heads)
            for t in (self._flat(self.query), self.query.bias, self._flat(self.key))
        )
        scale = a.shape[1] ** -0.5
        slope, offset = (a * b).sum(-1) * scale, (a0 * b).sum(-1) * scale
        tilt = torch.addcmul(
            rearrange(offset, "h -> h 1"), rearrange(slope, "h -> h 1"), rearrange(x, "s c -> s 1 c")
        )
        if x.requires_grad:
            return rearrange(_attend(tilt, x, mask)[0], "s h c -> s c h")
        means = TiltedMean.apply(tilt, x, mask)  # type: ignore[no-untyped-call]  # torch has no annotation
        return rearrange(means, "s h c -> s c h")

    def _matrix(self) -> Tensor:
        """Return the matrix ``(D, H + 1)`` that maps the features: columns for x_i and for each m_ih."""
        value = rearrange(self._flat(self.value), "(h d) -> h d", h=self.heads)
        return torch.cat(
            [self.query.weight, torch.block_diag(*(rearrange(v, "d -> d 1") for v in value))], dim=1
        )

    @staticmethod
    def _flat(linear: nn.Linear) -> Tensor:
        return linear.weight.squeeze(1)


class TiltedMean(torch.autograd.Function):
    """Computes m = Σ_j p_j x_j with p = softmax_j(t x_j). Only the tilt t gets a gradient.

    dm/dt is the variance of x under p, so the backward pass needs no C × C matrix. Autograd through the
    softmax would store that matrix and read it twice more.
    """

    @staticmethod
    def forward(ctx: Any, tilt: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return m ``(S, H, C)`` for ``tilt (S, H, C)``, ``x (S, C)`` and ``mask (S, C)``."""
        mean, variance = _attend(tilt, x, mask)
        ctx.save_for_backward(variance)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the tilt. x and the mask get no gradient."""
        (variance,) = ctx.saved_tensors
        return grad * variance, None, None


def _attend(tilt: Tensor, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of x under softmax_j(t x_j), each of shape ``(S, H, C)``.

    The variance is computed as a difference of squares. The difference would lose all digits in bfloat16, and
    in any precision if the values lie far from zero. So the results have at least single precision, autocast
    is turned off, and the mean of the set is subtracted from x. Softmax ignores this shift.
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    with _exact(x.device):
        tilt, x = tilt.to(kind), x.to(kind)
        if mask is None:
            centre = x.mean(-1, keepdim=True)
        else:
            centre = x.masked_fill(~mask, 0).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
        x = x - centre
        scores = rearrange(tilt, "s h c -> s h c 1") * rearrange(x, "s c -> s 1 1 c")
        if mask is not None:
            scores = scores + rearrange(_bias(mask, kind), "s c -> s 1 1 c")
        moments = scores.softmax(-1).flatten(1, 2) @ torch.stack([x, x * x], dim=-1)
        mean, square = moments.unflatten(1, tilt.shape[1:]).unbind(-1)
        return mean + rearrange(centre, "s 1 -> s 1 1"), square - mean * mean


def _exact(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that turns autocast off. It has no effect on devices without autocast."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


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

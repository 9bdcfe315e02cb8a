"""Compute set attention on sets of scalars exactly, at a fraction of the cost of its equations.

Φ1 and Ψ2 of SNE read each chunk as a set of C scalars x_i. Queries, keys and values of a scalar are linear in
it: q_i = a x_i + a0, k_j = b x_j + b0, v_j = g x_j + g0. This makes three things cheap.

*Attention.* Head h needs only p_ij = softmax_j(t_ih x_j) with the tilt t_ih = A_h x_i + C_h, where A_h =
a_h·b_h / √d_h and C_h = a0_h·b_h / √d_h. Terms that do not depend on j cancel in the softmax, and so does b0.
The output of the head is g_h m_ih + g0_h with m_ih = Σ_j p_ij x_j.

*The block.* What enters its first LayerNorm is then linear in the H + 2 features (x_i, m_i1, …, m_iH, 1). A
LayerNorm divides by one number r_i for each element, so also its output, and the D × D projection of that,
are linear in the features divided by r_i and in 1. No element is multiplied by a D × D matrix.

*Pooling.* A vector that is added to all elements of a set adds the same number to all scores of a pooling, so
it cancels in the softmax, and can be added to the pooled vector instead. The scores and the pooled mean then
need the output of the second LayerNorm only block by block.

The blocks are so small that they stay in the cache of a core, and the backward pass computes them again
instead of storing them. In shapes, S is the number of sets, C the number of elements, D the width, and H the
number of heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sneframe.config.validators import check_heads
from sneframe_sne.set_attention import PMA

#: Numbers in the largest array of one block. A megabyte fits into the cache of a core; an accelerator is
#: busy only with large arrays.
IN_CACHE, ON_ACCELERATOR = 1 << 18, 1 << 26


class ScalarSAB(nn.Module):
    """SAB on sets of C scalars. Up to rounding, the result equals that of SAB on a C × 1 input.

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
        with exact(x.device):  # as autocast computes a LayerNorm
            features, (centred, maps) = self._features(x, mask), self._maps()
            hidden = rearrange(features, "f s c -> s c f") @ centred.mT
            scale = (hidden.square().mean(-1) + self.norm1.eps).rsqrt()
            scaled = torch.cat([features * scale, torch.ones_like(features[:1])])
            hidden, projected = (rearrange(scaled, "f s c -> s c f") @ each.mT for each in maps)
            return self.norm2(hidden + F.relu(projected))

    def pooled(self, x: Tensor, mask: Tensor | None, pool: PMA, added: Tensor) -> Tensor:
        """Return ``pool(self(x, mask) + added, mask)`` ``(S, D)`` without the C × D arrays.

        Args:
            x: scalars ``(S, C)``.
            mask: ``(S, C)``, true for elements of the set.
            pool: the pooling.
            added: a vector for each set, ``(S, D)``.
        """
        norm = self.norm2
        with exact(x.device):
            probe = pool.probe() * norm.weight
            # The elements have mean zero over D, so the mean of the probe adds nothing to a score.
            probe = probe - probe.mean(1, keepdim=True)
            centred, maps = self._maps()
            means = PooledElements.apply(  # type: ignore[no-untyped-call]  # torch has no annotation
                self._features(x, mask), mask, centred, maps, probe, (self.norm1.eps, norm.eps)
            )
        return pool.finish(means * norm.weight + norm.bias + rearrange(added, "s d -> s 1 d"))

    def means(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return m ``(H, S, C)``, the mean of the set weighted by the attention of each head and element."""
        a, a0, b = (
            rearrange(t, "(h d) -> h d", h=self.heads)
            for t in (_flat(self.query), self.query.bias, _flat(self.key))
        )
        scale = a.shape[1] ** -0.5
        slope, offset = (rearrange((t * b).sum(-1) * scale, "h -> h 1 1") for t in (a, a0))
        tilt = torch.addcmul(offset, slope, x)
        if x.requires_grad:
            return _mean(tilt, x, mask)
        found: Tensor = TiltedMean.apply(tilt, x, mask)  # type: ignore[no-untyped-call]  # as above
        return found

    def _features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the features (x, m_1, …, m_H, 1) as ``(H + 2, S, C)``."""
        return torch.cat([x[None], self.means(x, mask), torch.ones_like(x)[None]])

    def _maps(self) -> tuple[Tensor, Tensor]:
        """Return the matrices that are applied to the features, and to the scaled features and 1.

        Returns:
            ``(D, H + 2)``, which maps the features to what the first LayerNorm divides by its scale, and
            ``(2, D, H + 3)``, which maps the scaled features to the output of that LayerNorm, and to its
            projection.
        """
        value = rearrange(_flat(self.value), "(h d) -> h d", h=self.heads)
        heads = torch.block_diag(*(rearrange(v, "d -> d 1") for v in value))
        bias = rearrange(self.query.bias + self.value.bias, "d -> d 1")
        joined = torch.cat([self.query.weight, heads, bias], dim=1)
        centred = joined - joined.mean(0, keepdim=True)
        norm, output = self.norm1, self.output
        normed = torch.cat([centred * norm.weight[:, None], norm.bias[:, None]], dim=1)
        shift = F.pad(output.bias[:, None], (normed.shape[1] - 1, 0))
        return centred, torch.stack([normed, output.weight @ normed + shift])


def _flat(linear: nn.Linear) -> Tensor:
    return linear.weight.squeeze(1)


class TiltedMean(torch.autograd.Function):
    """Computes m_i = Σ_j p_ij x_j with p_ij = softmax_j(t_i x_j). Only the tilt t gets a gradient.

    dm/dt is the variance of x under p, so the backward pass needs no C × C matrix. Autograd through the
    softmax would store that matrix and read it twice more.
    """

    @staticmethod
    def forward(ctx: Any, tilt: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return m ``(H, S, C)`` for ``tilt (H, S, C)``, ``x (S, C)`` and ``mask (S, C)``."""
        kind = torch.promote_types(x.dtype, torch.float32)
        with exact(x.device):
            mean, variance = _moments(tilt.to(kind), x.to(kind), mask)
        ctx.save_for_backward(variance)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the tilt. x and the mask get no gradient."""
        (variance,) = ctx.saved_tensors
        return grad * variance, None, None


def _moments(tilt: Tensor, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of x under softmax_j(t x_j), each of shape ``(H, S, C)``.

    The variance is a difference of squares, which would lose all digits where the values lie far from zero.
    So the mean of the set is subtracted from x first; softmax ignores this shift. The largest score of an
    element is its tilt times the largest or the smallest x, so no maximum over C × C scores is taken.
    """
    heads, sets, count = tilt.shape
    valid = torch.ones_like(x) if mask is None else mask.to(x.dtype)
    centre = (x * valid).sum(-1, keepdim=True) / valid.sum(-1, keepdim=True)
    x = (x - centre) * valid  # padding is at the mean, so it is neither the largest nor the smallest
    tilts = rearrange(tilt, "h s i -> s 1 (h i)")
    high, low = (rearrange(each, "s -> s 1 1") for each in (x.amax(-1), x.amin(-1)))
    largest = torch.maximum(tilts * high, tilts * low)
    column, powers = rearrange(x, "s j -> s j 1"), torch.stack([valid, x, x * x], dim=1)
    sums = x.new_empty(sets, 3, heads * count)
    for some, _ in _blocks(sets, count, heads * count, x.device):
        scores = torch.addcmul(-largest[some], column[some], tilts[some])
        torch.bmm(powers[some], scores.exp_(), out=sums[some])
    total, first, second = rearrange(sums, "s k (h i) -> k h s i", h=heads)
    mean = first / total
    return mean + centre, second / total - mean * mean


def _mean(tilt: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of x under softmax_j(t x_j) ``(H, S, C)``, by operations that autograd follows."""
    with exact(x.device):
        scores = rearrange(tilt, "h s i -> h s i 1") * rearrange(x, "s j -> s 1 j")
        if mask is not None:
            scores = scores.masked_fill(~rearrange(mask, "s j -> s 1 j"), float("-inf"))
            x = x.masked_fill(~mask, 0)
        return (scores.softmax(-1) @ rearrange(x, "s j -> s j 1")).squeeze(-1)


class PooledElements(torch.autograd.Function):
    """Computes the attention block of scalars from their features, and its mean under a pooling's attention.

    An element is e = (y − mean(y)) / σ(y), the normalised y = h + ReLU(z), where h and z are linear in the
    scaled features. The result for each head of the pooling is Σ_c softmax_c(probe·e_c) e_c.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        mask: Tensor | None,
        centred: Tensor,
        maps: Tensor,
        probe: Tensor,
        eps: tuple[float, float],
    ) -> Tensor:
        """Return the means ``(S, H, D)``.

        Args:
            ctx: keeps what the backward pass needs: some numbers for each element, but not D.
            features: ``(F, S, C)``.
            mask: ``(S, C)``, true for elements of the set.
            centred: ``(D, F)``: maps the features of an element to the centred input of the first LayerNorm.
            maps: ``(2, D, F + 1)``: maps the scaled features and 1 to h and z.
            probe: ``(H, D)``: maps an element to its scores. Its mean over D is zero.
            eps: what each LayerNorm adds to a variance.
        """
        _, sets, count = features.shape
        width, heads = len(centred), len(probe)
        flat = features.flatten(1)
        found = features.new_empty(sets, heads, width)
        first, second = features.new_empty(2, sets * count)
        attention = features.new_empty(heads, sets, count)
        for some, elements in _blocks(sets, count, width, features.device):
            variance = _mean_square(flat[:, elements].mT @ centred.mT)
            torch.rsqrt(variance.add_(eps[0]), out=first[elements])
            y, _ = _elements(_scaled(flat[:, elements], first[elements]), maps)
            torch.rsqrt(_mean_square(y).add_(eps[1]), out=second[elements])
            scores = (probe @ y.mT).mul_(second[elements]).unflatten(1, (-1, count))
            if mask is not None:
                scores.masked_fill_(~mask[some], float("-inf"))
            attention[:, some] = p = scores.softmax(-1)
            weights = p * second[elements].view(-1, count)
            torch.bmm(weights.transpose(0, 1), y.view(-1, count, width), out=found[some])
        ctx.save_for_backward(features, centred, maps, probe, first, second, attention)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the features, of both matrices and of the probe."""
        features, centred, maps, probe, first, second, attention = ctx.saved_tensors
        _, sets, count = features.shape
        width, heads = len(centred), len(probe)
        flat, of_features = features.flatten(1), torch.empty_like(features)
        # An element has mean zero over D, so the mean of its gradient has no effect.
        grad = grad - grad.mean(-1, keepdim=True)
        vectors = torch.cat([grad, probe.expand(sets, -1, -1)], dim=1)
        of_maps, of_probe = torch.zeros_like(maps), torch.zeros_like(probe)
        of_variances = features.new_empty(sets * count)
        for some, elements in _blocks(sets, count, width, features.device):
            own, scale = flat[:, elements], second[elements].view(-1, count, 1)
            scaled = _scaled(own, first[elements])
            flat_y, z = _elements(scaled, maps)
            y = flat_y.view(-1, count, width)
            # Each element is y times its scale. With its gradient come those of the attention, by a softmax.
            both = (y @ vectors[some].mT).mul_(scale)
            of_p, scores = both.split(heads, dim=-1)
            p = attention[:, some].permute(1, 2, 0)
            weighted = p * of_p
            of_scores = weighted - p * weighted.sum(1, keepdim=True)
            along = (weighted + of_scores * scores).sum(-1, keepdim=True).mul_(scale * scale / -width)
            factors = torch.cat([p, of_scores], dim=-1).mul_(scale)
            of_probe += factors[..., heads:].flatten(0, 1).mT @ flat_y
            of_h = torch.bmm(factors, vectors[some]).addcmul_(y, along).flatten(0, 1)
            of_z = torch.ops.aten.threshold_backward(of_h, z, 0)
            for number, of_output in enumerate((of_h, of_z)):
                of_maps[number] += (scaled @ of_output).mT
            of_scaled = torch.addmm(maps[0, :, :-1].mT @ of_h.mT, maps[1, :, :-1].mT, of_z.mT)
            # ``first`` is (variance + ε)^(−1/2), and the variance is the mean square of centred @ features.
            of_first = (of_scaled * own).sum(0)
            of_variance = of_first.mul_(first[elements].pow(3)).mul_(-1 / width)
            of_features.flatten(1)[:, elements] = of_scaled.mul_(first[elements])
            of_variances[elements] = of_variance
        weighted = flat * of_variances
        of_features.flatten(1).addmm_(centred.mT @ centred, weighted)
        return of_features, None, centred @ (weighted @ flat.mT), of_maps, of_probe, None


def _mean_square(x: Tensor) -> Tensor:
    """Return the mean square ``(n,)`` of each row of ``x (n, D)``."""
    return torch.linalg.vector_norm(x, dim=1).square_().div_(x.shape[1])


def _scaled(features: Tensor, scale: Tensor) -> Tensor:
    """Return the scaled features and 1, ``(F + 1, n)``, for ``features (F, n)`` and ``scale (n,)``."""
    count, size = features.shape
    found = features.new_empty(count + 1, size)
    torch.mul(features, scale, out=found[:count])
    found[count] = 1
    return found


def _elements(scaled: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return y − mean(y) ``(n, D)`` and ReLU(z) ``(n, D)`` for scaled features and 1, ``(F + 1, n)``."""
    h, z = scaled.mT @ maps[0].mT, (scaled.mT @ maps[1].mT).relu_()
    y = h.add_(z)
    return y.sub_(y.mean(1, keepdim=True)), z


def _blocks(sets: int, count: int, numbers: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yield slices of sets, and of their elements. The arrays of a slice fit into the cache.

    Args:
        sets: number of sets.
        count: number of elements of a set.
        numbers: numbers in the largest array for each element.
        device: where the arrays are.
    """
    most = IN_CACHE if device.type == "cpu" else ON_ACCELERATOR
    size = max(1, most // (count * numbers))
    for start in range(0, sets, size):
        stop = min(start + size, sets)
        yield slice(start, stop), slice(start * count, stop * count)


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that turns autocast off. It has no effect on devices without autocast."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

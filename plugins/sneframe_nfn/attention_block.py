"""A weight-space attention block: features on every weight and bias → features on every weight and bias.

Zhou et al. 2023, arXiv 2305.13546, equations 4 to 6. Attention is along axes of neurons, all of which are exchangeable:

- for axis l, the tokens are the columns of weight l − 1, bias l − 1 and the rows of weight l, each as long as the axis;
  dot products sum over the axis, so they do not see its order;
- the means of all weights and biases attend to each other, and are broadcast.

A weight's channels are those of all its positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sneframe.nn.chain_tensors import Member


class ChannelMap(nn.Module):
    """An affine map of the channels of every member, its positions included.

    Args:
        members: of the chain.
        inputs: channels it is given.
        outputs: channels it gives.
    """

    def __init__(self, members: Sequence[Member], inputs: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(m.folded * inputs, m.folded * outputs) for m in members)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(B, *axes, folded · outputs)`` for each ``(B, *axes, folded · inputs)``."""
        return [affine(x) for affine, x in zip(self.maps, tensors, strict=True)]


class WeightAttention(nn.Module):
    """Attention along every axis and among means.

    Args:
        members: weight and bias of every layer in turn, all axes exchangeable.
        width: channels.
        heads: a divisor of ``width``.
        shared: one query, key and value map for all members, and none back; else one for each member.
        dropout: of attention.
    """

    def __init__(
        self, members: Sequence[Member], width: int, *, heads: int, shared: bool, dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.depth = len(members) // 2
        count = 1 if shared else len(members)
        self.project = nn.ModuleList(
            nn.Linear(member.folded * width, 3 * width) for member in members[:count]
        )
        self.unproject = nn.ModuleList(
            nn.Linear(width, member.folded * width) for member in ([] if shared else members[::2])
        )

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return weights ``(B, out, in, folded · width)`` and biases ``(B, out, width)`` in turn, as given."""
        maps = [*self.project] * (len(tensors) // len(self.project))
        projected = [affine(x) for affine, x in zip(maps, tensors, strict=True)]
        totals = self._among_means(projected)
        for axis in range(self.depth + 1):
            for number, made in self._along(axis, projected).items():
                totals[number] = totals[number] + made
        if self.unproject:
            totals[::2] = [affine(x) for affine, x in zip(self.unproject, totals[::2], strict=True)]
        return totals

    def _among_means(self, projected: Sequence[Tensor]) -> list[Tensor]:
        """Return what every member gets in all its places: ``(B, 1, 1, width)``, ``(B, 1, width)`` for a bias."""
        means = torch.stack([x.mean(tuple(range(1, x.ndim - 1))) for x in projected], dim=1)
        qkv = rearrange(means, "b t (h qkv c) -> qkv b h t c", h=self.heads, qkv=3)
        made = rearrange(self._attend(qkv), "b h t c -> t b (h c)")
        return [piece[:, *[None] * (x.ndim - 2)] for piece, x in zip(made, projected, strict=True)]

    def _along(self, axis: int, projected: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return by member what attention along an axis gives: ``(B, out, in, width)`` or ``(B, out, width)``."""
        patterns = {}
        if axis > 0:  # written by layer axis − 1
            patterns[2 * axis - 2] = "b n t", "t"
            patterns[2 * axis - 1] = "b n", "1"
        if axis < self.depth:  # read by layer axis
            patterns[2 * axis] = "b t n", "t"
        tokens = [
            rearrange(
                projected[number],
                f"{places} (h qkv c) -> qkv b h {token} (n c)",
                h=self.heads,
                qkv=3,
            )
            for number, (places, token) in patterns.items()
        ]
        made = self._attend(torch.cat(tokens, dim=3)).split([each.shape[3] for each in tokens], dim=2)
        size = projected[2 * axis - 1].shape[1] if axis else projected[0].shape[2]
        return {
            number: rearrange(piece, f"b h {token} (n c) -> {places} (h c)", n=size)
            for (number, (places, token)), piece in zip(patterns.items(), made, strict=True)
        }

    def _attend(self, qkv: Tensor) -> Tensor:
        query, key, value = qkv
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)


class AttentionBlock(nn.Module):
    """x + A(LN x), then x + F(LN x): A weight-space attention, F an affine map of channels, GELU, and another.

    Args:
        members: weight and bias of every layer in turn, all axes exchangeable.
        width: channels.
        heads: a divisor of ``width``.
        factor: hidden channels of F, over ``width``.
        shared: see :class:`WeightAttention`.
        dropout: of attention, and behind GELU.
    """

    def __init__(
        self,
        members: Sequence[Member],
        width: int,
        *,
        heads: int,
        factor: int,
        shared: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention_norms = nn.ModuleList(nn.LayerNorm(member.folded * width) for member in members)
        self.attention = WeightAttention(members, width, heads=heads, shared=shared, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(member.folded * width) for member in members)
        self.expand = ChannelMap(members, width, factor * width)
        self.contract = ChannelMap(members, factor * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(B, *axes, folded · width)`` for each tensor of that shape."""
        normed = [norm(x) for norm, x in zip(self.attention_norms, tensors, strict=True)]
        tensors = [x + y for x, y in zip(tensors, self.attention(normed), strict=True)]
        normed = [norm(x) for norm, x in zip(self.norms, tensors, strict=True)]
        hidden = [self.dropout(F.gelu(x)) for x in self.expand(normed)]
        return [x + y for x, y in zip(tensors, self.contract(hidden), strict=True)]

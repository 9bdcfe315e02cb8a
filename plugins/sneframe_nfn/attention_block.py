"""Define a weight-space attention block (Zhou et al. 2023, arXiv 2305.13546, equations 4 to 6).

The block maps features on every weight and bias of a chain to features on every weight and bias. Axis l is
the row of neurons after l layers. All axes are exchangeable. There are two kinds of attention:

- Along axis l, the tokens are the columns of weight l − 1, bias l − 1 and the rows of weight l. Each token is
  as long as the axis. Dot products sum over the axis, so they do not depend on the order of its neurons.
- The means of all weights and biases attend to each other, and the results are broadcast to all neurons.

If a weight has several positions, like a convolution kernel, the channels of all positions are concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sneframe.nn.chain_tensors import Member


class ChannelMap(nn.Module):
    """Applies a separate affine map to the channels of each weight and each bias.

    The map of a weight acts on the channels of all its positions together.

    Args:
        members: the weights and biases of the chain.
        inputs: number of channels of the input.
        outputs: number of channels of the output.
    """

    def __init__(self, members: Sequence[Member], inputs: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(m.folded * inputs, m.folded * outputs) for m in members)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a tensor ``(B, *axes, folded · outputs)`` for each tensor ``(B, *axes, folded · inputs)``.

        ``folded`` is the number of positions of the weight, or 1 for a bias.
        """
        return [affine(x) for affine, x in zip(self.maps, tensors, strict=True)]


class WeightAttention(nn.Module):
    """Computes attention along every axis and attention among means, and returns the sum of the results.

    A weight has three results: one for each of its two axes, and one from the means. The original maps each
    of the three back to the positions of the weight. Here one map is applied to the sum of the three, which
    is equivalent up to the bias.

    Args:
        members: the weight and the bias of every layer in turn, with all axes exchangeable.
        width: number of channels.
        heads: number of attention heads, a divisor of ``width``.
        shared: whether all weights and biases share one map to queries, keys and values. If not, each weight
            and each bias has a map of its own, and each weight also has an affine map from the summed results
            back to the channels of its positions.
        dropout: dropout rate of the attention weights.
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
        """Return the summed results for the weight and the bias of each layer in turn.

        The shapes are ``(B, out, in, folded · width)`` for weights and ``(B, out, width)`` for biases, where
        ``folded`` is the number of positions of the weight. The input has the same shapes.
        """
        maps = [*self.project] * (len(tensors) // len(self.project))
        projected = [affine(x) for affine, x in zip(maps, tensors, strict=True)]
        totals = self._among_means(projected)
        for axis in range(self.depth + 1):
            for number, result in self._along(axis, projected).items():
                totals[number] = totals[number] + result
        if self.unproject:
            totals[::2] = [affine(x) for affine, x in zip(self.unproject, totals[::2], strict=True)]
        return totals

    def _among_means(self, projected: Sequence[Tensor]) -> list[Tensor]:
        """Return the result of attention among means for each weight and bias.

        A result is the same for all neurons. So its shape is ``(B, 1, 1, width)`` for a weight, and ``(B, 1,
        width)`` for a bias.
        """
        means = torch.stack([x.mean(tuple(range(1, x.ndim - 1))) for x in projected], dim=1)
        qkv = rearrange(means, "b t (h qkv c) -> qkv b h t c", h=self.heads, qkv=3)
        results = rearrange(self._attend(qkv), "b h t c -> t b (h c)")
        return [piece[:, *[None] * (x.ndim - 2)] for piece, x in zip(results, projected, strict=True)]

    def _along(self, axis: int, projected: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the result of attention along one axis, for each weight or bias that has the axis.

        The keys of the dict are indices of members. A result has the shape ``(B, out, in, width)`` for a
        weight, and ``(B, out, width)`` for a bias.
        """
        patterns = {}
        if axis > 0:  # the axis is the outputs of layer ``axis − 1``
            patterns[2 * axis - 2] = "b n t", "t"
            patterns[2 * axis - 1] = "b n", "1"
        if axis < self.depth:  # the axis is the inputs of layer ``axis``
            patterns[2 * axis] = "b t n", "t"
        tokens = [
            rearrange(
                projected[number],
                f"{axes} (h qkv c) -> qkv b h {token} (n c)",
                h=self.heads,
                qkv=3,
            )
            for number, (axes, token) in patterns.items()
        ]
        counts = [own.shape[3] for own in tokens]
        results = self._attend(torch.cat(tokens, dim=3)).split(counts, dim=2)
        size = projected[2 * axis - 1].shape[1] if axis else projected[0].shape[2]
        return {
            number: rearrange(piece, f"b h {token} (n c) -> {axes} (h c)", n=size)
            for (number, (axes, token)), piece in zip(patterns.items(), results, strict=True)
        }

    def _attend(self, qkv: Tensor) -> Tensor:
        query, key, value = qkv
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)


class AttentionBlock(nn.Module):
    """Computes y = x + A(LN x), and returns y + F(LN y).

    A is weight-space attention. F applies an affine map of channels, GELU, and another affine map. LN is the
    layer norm of torch. LN normalises a weight over the channels of all its positions together, and a bias
    over its channels. The original divides by the unbiased standard deviation, and adds ε to the standard
    deviation instead of to the variance.

    Args:
        members: the weight and the bias of every layer in turn, with all axes exchangeable.
        width: number of channels.
        heads: number of attention heads, a divisor of ``width``.
        factor: number of hidden channels of F divided by ``width``.
        shared: see :class:`WeightAttention`.
        dropout: dropout rate of the attention weights, and after GELU.
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
        """Return ``(B, *axes, folded · width)`` for each weight and bias. The input has the same shapes."""
        normed = [norm(x) for norm, x in zip(self.attention_norms, tensors, strict=True)]
        tensors = [x + y for x, y in zip(tensors, self.attention(normed), strict=True)]
        normed = [norm(x) for norm, x in zip(self.norms, tensors, strict=True)]
        hidden = [self.dropout(F.gelu(x)) for x in self.expand(normed)]
        return [x + y for x, y in zip(tensors, self.contract(hidden), strict=True)]

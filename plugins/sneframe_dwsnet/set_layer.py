"""Set layers map ``(B, n, in)`` to ``(B, n, out)``. They commute with permutations of the n neurons."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sneframe.config.validators import check_heads
from sneframe.nn.perceptron import perceptron
from sneframe_dwsnet.pooling import Reduction, pool


class DeepSets(nn.Module):
    """Computes Γ(x) − Λ(pool x) (Zaheer et al. 2017).

    Γ is an affine map, and Λ is a linear map without a bias. With ``depth`` above 1, Γ and Λ are perceptrons
    with ``depth`` linear layers each.

    Args:
        inputs: width of the elements of the input.
        outputs: width of the elements of the output.
        reduction: the pooling over the set.
        depth: number of linear layers of Γ, and of Λ.
    """

    def __init__(self, inputs: int, outputs: int, *, reduction: Reduction, depth: int) -> None:
        super().__init__()
        self.reduction = reduction
        widths = (inputs, *[outputs] * depth)
        self.gamma = perceptron(widths)
        self.lambda_ = perceptron(widths, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, n, out)`` for ``x (B, n, in)``."""
        pooled: Tensor = self.lambda_(pool(x, 1, self.reduction))
        elements: Tensor = self.gamma(x)
        return elements - rearrange(pooled, "b d -> b 1 d")


class SetAttention(nn.Module):
    """Set attention without normalisation.

    It computes O + ReLU(W_o O) with O = Q + concat_h softmax(Q_h K_hᵀ / √out) V_h, where *out* is the output
    width.

    This is the SAB of Lee et al. (2019) as in the code of DWSNet. Scores are divided by the square root of
    the output width, rather than of the width of a head.

    Args:
        inputs: width of the elements of the input.
        outputs: width of the elements of the output.
        heads: number of attention heads, a divisor of ``outputs``.

    Raises:
        PartError: the number of heads does not divide the width.
    """

    def __init__(self, inputs: int, outputs: int, *, heads: int) -> None:
        super().__init__()
        check_heads(type(self).__name__, outputs, heads)
        self.heads = heads
        self.query = nn.Linear(inputs, outputs)
        self.key = nn.Linear(inputs, outputs)
        self.value = nn.Linear(inputs, outputs)
        self.output = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, n, out)`` for ``x (B, n, in)``."""
        query = self.query(x)
        # Elements are columns here. For heads that are a few values wide, this takes two thirds of the time
        # of the fused kernel on a CPU.
        q, k, v = (
            rearrange(t, "b n (h d) -> (b h) d n", h=self.heads) for t in (query, self.key(x), self.value(x))
        )
        scores = torch.bmm(k.mT, q * query.shape[-1] ** -0.5)
        attended = torch.bmm(v, scores.softmax(1))
        hidden: Tensor = query + rearrange(attended, "(b h) d n -> b n (h d)", h=self.heads)
        return hidden + F.relu(self.output(hidden))

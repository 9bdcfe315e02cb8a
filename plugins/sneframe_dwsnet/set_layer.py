"""Set layers: (B, n, in) → (B, n, out), equivariant to permutations of the n neurons of a hidden axis."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from sneframe.config.validators import check_heads
from sneframe.nn.perceptron import perceptron
from sneframe_dwsnet.pooling import Reduction, pool


class DeepSets(nn.Module):
    """Γ(x) − Λ(pool x), Γ and Λ affine, Λ without bias (Zaheer et al. 2017).

    Args:
        inputs: width of an element.
        outputs: width of an element of the result.
        reduction: the pooling over the set.
        depth: linear layers of Γ and of Λ.
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
        each: Tensor = self.gamma(x)
        return each - rearrange(pooled, "b d -> b 1 d")


class SetAttention(nn.Module):
    """SAB without normalisation: O + ReLU(W_o O), O = Q + concat_h softmax(Q_h K_hᵀ / √out) V_h.

    Lee et al. (2019), as DWSNet has it: the scale is that of the whole width, not of a head.

    Args:
        inputs: width of an element.
        outputs: width of an element of the result.
        heads: a divisor of ``outputs``.

    Raises:
        PartError: the heads do not divide the width.
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
        # Elements as columns: with heads a few values wide, two thirds of the fused kernel's time on a CPU.
        q, k, v = (
            rearrange(t, "b n (h d) -> (b h) d n", h=self.heads) for t in (query, self.key(x), self.value(x))
        )
        scores = torch.bmm(k.mT, q * query.shape[-1] ** -0.5)
        attended = torch.bmm(v, scores.softmax(1))
        hidden: Tensor = query + rearrange(attended, "(b h) d n -> b n (h d)", h=self.heads)
        return hidden + F.relu(self.output(hidden))

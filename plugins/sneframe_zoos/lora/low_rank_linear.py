"""A linear layer with N low-rank adapters, which many adapters of one network share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """Computes ``x Wᵀ + b + s (x Aᵀ) Bᵀ``, where W and b are shared, and A, B and s are those of N adapters.

    The rows of x belong to the adapters in turn: with N adapters, the first of N equal parts of the batch
    belongs to the first adapter.

    Args:
        linear: the shared layer, which is not trained.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.a = torch.zeros(1, 1, linear.in_features)
        self.b = torch.zeros(1, linear.out_features, 1)
        self.scaling = torch.zeros(1)

    def adapt(self, a: Tensor, b: Tensor, scaling: Tensor) -> None:
        """Set the factors A ``(N, r, in)`` and B ``(N, out, r)``, and s ``(N,)``, of N adapters."""
        self.a, self.b, self.scaling = a, b, scaling

    def forward(self, given: Tensor) -> Tensor:
        """Return the outputs ``(N B, …, out)`` of inputs ``(N B, …, in)``."""
        rows = given.reshape(len(self.a), -1, given.shape[-1])
        update = (rows @ self.a.mT) @ (self.scaling[:, None, None] * self.b).mT
        shared: Tensor = self.linear(given)
        return shared + update.reshape(shared.shape)

"""Replacements for set functions, for ablations: an MLP over a chunk, and the mean over anything larger.

A chunk always has C weights, so an MLP can read them in order. The number of chunks of a parameter and the
number of parameters of a network vary, so there only a pooling is possible.
"""

from __future__ import annotations

from torch import Tensor, nn


class ChunkMLP(nn.Module):
    """An MLP from the C weights of a chunk, in order, to D values; the encoding is added to the hidden layer.

    Args:
        chunk_size: C.
        width: D.
    """

    def __init__(self, chunk_size: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(chunk_size, width), nn.ReLU(), nn.Linear(width, width))
        self.second = nn.Sequential(nn.ReLU(), nn.Linear(width, width))

    def forward(self, chunks: Tensor, mask: Tensor, encoding: Tensor) -> Tensor:
        """Return ``(S, D)`` for ``chunks (S, C)``, ``mask (S, C)`` and ``encoding (S, D)``."""
        return self.second(self.first(chunks.masked_fill(~mask, 0)) + encoding)


class MeanMLP(nn.Module):
    """The mean of a set, followed by an MLP with one hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(S, D)`` for ``x (S, C, D)``."""
        return self.mlp(x.mean(1))

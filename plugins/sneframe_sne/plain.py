"""Define what replaces set functions in ablations: an MLP on a chunk, and a mean over a larger set.

A chunk always has C weights, so an MLP can read them in order. The number of chunks of a parameter and the
number of parameters of a network vary, so chunks and parameters can only be pooled.
"""

from __future__ import annotations

from torch import Tensor, nn


class ChunkMLP(nn.Module):
    """Maps the C weights of a chunk to D values by an MLP. The encoding is added to the second hidden layer.

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
    """Computes the mean of a set, and applies an MLP with one hidden layer to the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(S, D)`` for ``x (S, C, D)``."""
        return self.mlp(x.mean(1))

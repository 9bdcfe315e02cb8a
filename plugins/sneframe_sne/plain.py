"""What stands where set functions are left out: an MLP over a chunk, and the mean over anything larger.

For ablations: how many chunks a parameter has, and how many parameters a network, differs, so nothing but a pooling fits
there; a chunk has C weights, so an MLP can read them in order.
"""

from __future__ import annotations

from torch import Tensor, nn


class ChunkMLP(nn.Module):
    """C weights in order, with zeros where padded → D; the encoding is added to the hidden layer.

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
    """The mean of a set, then an MLP of one hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(S, D)`` for ``x (S, C, D)``."""
        return self.mlp(x.mean(1))

"""Exact set functions over sets that come in blocks, by an online softmax (arXiv 1805.02867).

The online softmax is due to Milakov and Gimelshein. A set ``X (Q, D)`` is given as a function that yields its
blocks ``(q, D)`` in order; each call starts from the first block. An induced attention block (ISAB) passes
over the set twice: once to compute its points, and once when its result is read. A pooling passes over the
set once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from sneframe_sne.plain import MeanMLP
from sneframe_sne.set_attention import ISAB, MAB, PMA

Blocks = Callable[[], Iterator[Tensor]]


class Softmax:
    """The mean of values weighted by a softmax of scores, for blocks that come one after the other.

    For each row of scores it keeps the largest score so far, and the sum of exponentials and the weighted sum
    of values, both divided by the exponential of the largest score.
    """

    def __init__(self) -> None:
        self._largest: Tensor | None = None
        self._total = self._weighted = torch.zeros(())

    def add(self, scores: Tensor, values: Tensor) -> None:
        """Add a block: scores ``(…, m, q)``, values ``(…, q, d)``."""
        largest = scores.amax(-1, keepdim=True)
        if self._largest is not None:
            largest = torch.maximum(largest, self._largest)
            shrunk = (self._largest - largest).exp()
            self._total, self._weighted = self._total * shrunk, self._weighted * shrunk
        weights = (scores - largest).exp()
        self._largest = largest
        self._total = self._total + weights.sum(-1, keepdim=True)
        self._weighted = self._weighted + weights @ values

    def mean(self) -> Tensor:
        """Return the mean ``(…, m, d)`` over the blocks so far."""
        return self._weighted / self._total


def gather(mab: MAB, points: Tensor, blocks: Blocks) -> Tensor:
    """Return MAB(I, X) ``(m, D)`` for ``points (m, D)``."""
    query = mab.query(points)
    q = rearrange(query, "m (h d) -> h m d", h=mab.heads)
    softmax = Softmax()
    for block in blocks():
        k, v = (rearrange(each(block), "q (h d) -> h q d", h=mab.heads) for each in (mab.key, mab.value))
        softmax.add(q @ k.mT * q.shape[-1] ** -0.5, v)
    return mab.finish(query + rearrange(softmax.mean(), "h m d -> m (h d)"))


def induced(isab: ISAB, blocks: Blocks) -> Blocks:
    """Return ISAB(X) in blocks. The induced points are computed now, and each block when it is read."""
    points = gather(isab.gather, isab.points, blocks)[None]

    def scattered() -> Iterator[Tensor]:
        for block in blocks():
            yield isab.scatter(block[None], points)[0]

    return scattered


def whole(function: nn.Module, blocks: Blocks, size: int) -> Blocks:
    """Apply a function to all elements at once, and return the result in blocks of ``size`` elements."""
    elements = function(torch.cat(list(blocks()))[None])[0]
    return lambda: iter(elements.split(size))


def kept(blocks: Blocks) -> Blocks:
    """Compute all blocks once, and return a function that yields the stored blocks."""
    elements = list(blocks())
    return lambda: iter(elements)


def pooled(pool: PMA | MeanMLP, blocks: Blocks) -> Tensor:
    """Return the pooled set ``(1, D)``."""
    if isinstance(pool, MeanMLP):
        total, count = torch.zeros(()), 0
        for block in blocks():
            total, count = total + block.sum(0, keepdim=True), count + len(block)
        return pool.mlp(total / count)
    probe = pool.probe()
    softmax = Softmax()
    for block in blocks():
        softmax.add(probe @ block.T, block)
    return pool.finish(softmax.mean()[None])

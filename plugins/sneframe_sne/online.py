"""Compute set functions exactly on sets that arrive in blocks, by an online softmax (arXiv 1805.02867).

The online softmax is due to Milakov and Gimelshein. A set ``X (Q, D)`` is given as a function that yields the
blocks ``(q, D)`` of the set in order. Each call starts from the first block. An induced attention block
(ISAB) passes over the set twice: once to compute the induced points, and once when the result is read. A
pooling passes over the set once.
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
    """Computes the mean of values weighted by a softmax of scores, from blocks that are added one by one.

    For each row of scores it stores the largest score so far, the sum of exponentials, and the weighted sum
    of values. Both sums are divided by the exponential of the largest score.
    """

    def __init__(self) -> None:
        self._largest: Tensor | None = None
        self._total = self._weighted = torch.zeros(())

    def add(self, scores: Tensor, values: Tensor) -> None:
        """Add a block with scores ``(…, m, q)`` and values ``(…, q, d)``."""
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
        """Return the mean ``(…, m, d)`` over all blocks that were added."""
        return self._weighted / self._total


def gather(mab: MAB, points: Tensor, blocks: Blocks) -> Tensor:
    """Return MAB(I, X) ``(m, D)``, where I is ``points (m, D)`` and X is the set in ``blocks``."""
    query = mab.query(points)
    q = rearrange(query, "m (h d) -> h m d", h=mab.heads)
    softmax = Softmax()
    for block in blocks():
        k, v = (rearrange(each(block), "q (h d) -> h q d", h=mab.heads) for each in (mab.key, mab.value))
        softmax.add(q @ k.mT * q.shape[-1] ** -0.5, v)
    return mab.finish(query + rearrange(softmax.mean(), "h m d -> m (h d)"))


def induced(isab: ISAB, blocks: Blocks) -> Blocks:
    """Return ISAB(X) in blocks. MAB(I, X) is computed now, and each block when it is read."""
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
    """Pool the set in ``blocks`` to one vector, and return it as ``(1, D)``."""
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

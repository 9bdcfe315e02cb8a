"""Compute the contrastive loss NT-Xent of pairs of vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent summed over n pairs of vectors (Chen et al. 2020, SimCLR, eq 1).

    The loss of one of the 2n vectors is −log of a softmax over the cosine similarities between this vector
    and all others, evaluated at the vector's partner. The loss of a pair is half the sum of the losses of its
    two vectors.

    Args:
        first: ``(n, D)``, one vector of each pair.
        second: ``(n, D)``, the other vector.
        temperature: the number by which the similarities are divided.
    """
    both = F.normalize(torch.cat([first, second]).float(), dim=1)
    similarity = both @ both.T / temperature
    own = torch.eye(len(both), dtype=torch.bool, device=both.device)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return F.cross_entropy(similarity.masked_fill(own, float("-inf")), partner, reduction="sum") / 2

"""Recognise networks whose training diverged. Their weights may be finite, but as large as 1e21."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from sneframe.batch import Batch

LARGEST: Final = torch.finfo(torch.float32).max ** 0.5  #: squares of larger weights overflow in float32
USUAL: Final = 100.0  #: an unusual network has weights larger than this times the upper quartile of all
LARGE: Final = 1e3  #: an unusual network also has weights larger than this


def usual(sizes: np.ndarray) -> np.ndarray:
    """Return which networks are like the others of their zoo, as a mask ``(n,)``.

    Both limits must be exceeded: strong weight decay can bring most networks of a zoo close to 0, and the
    others are as they should be.

    Args:
        sizes: ``(n,)``, the root mean square of some weights of each network.
    """
    finite = np.isfinite(sizes)
    if not finite.any():
        return finite
    quartile = np.quantile(sizes[finite], 0.75, method="lower")
    return np.asarray(sizes <= max(LARGE, USUAL * quartile))


def unusable(weights: Tensor) -> Tensor:
    """Return which networks have a weight that is not finite or larger than :data:`LARGEST`, ``(B,)``.

    A part may cut such weights, or what the network computes with them, to finite values. The embedding would
    then be finite, but meaningless.

    Args:
        weights: ``(B, P)``, as the networks store them.
    """
    return ~(torch.linalg.vector_norm(weights, ord=float("inf"), dim=1) <= LARGEST)


def without_unusable(embedding: Tensor, batch: Batch) -> Tensor:
    """Return embeddings ``(B, E)`` of a batch, with NaN in the rows of :func:`unusable` networks."""
    lacking = batch.restore([unusable(networks.stored)[:, None] for networks in batch.networks])
    return embedding.masked_fill(lacking, torch.nan)

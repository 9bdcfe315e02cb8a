"""Change the weights of each network of a batch at random, as a function of seed, step and network id."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sneframe.batch import Batch, Networks
from sneframe.rng import Draw, counted, normal, streams, uniform


def each_network(batch: Batch, draw: Draw, change: Callable[[Networks, Tensor], Tensor]) -> Batch:
    """Return the batch with each architecture's weights replaced by ``change(networks, streams (B, 1))``.

    Each network has its own stream, from which ``change`` draws random numbers. The random numbers depend
    only on the seed, the step and the network id.
    """
    pairs = zip(batch.networks, streams_of(batch, draw), strict=True)
    return batch.replace(change(networks, stream) for networks, stream in pairs)


def streams_of(batch: Batch, draw: Draw) -> list[Tensor]:
    """Return the streams ``(B, 1)`` of the networks of each architecture, from which numbers are drawn."""
    ids = batch.rows(torch.from_numpy(batch.ids).to(batch.device, non_blocking=True))
    return [streams(each, seed=draw.seed, step=draw.step) for each in ids]


def erased(weights: Tensor, stream: Tensor, *, probability: float, shortest: float, longest: float) -> Tensor:
    """Return weights with one contiguous range set to 0 in some networks (Random Erasing, Zhong et al. 2020).

    Args:
        weights: ``(B, P)``.
        stream: the streams ``(B, 1)`` of the networks.
        probability: the probability that a network is erased in part.
        shortest: smallest fraction of the weights that is erased. The fraction is drawn uniformly, and so is
            the start of the range among all positions where the range fits.
        longest: largest fraction of the weights that is erased.
    """
    count = weights.shape[1]
    chance, fraction, start = uniform(counted(stream, 3)).unbind(1)
    length = (shortest + fraction * (longest - shortest)) * count
    length = torch.where(chance < probability, length.round(), torch.zeros_like(length))
    first = (start * (count - length + 1)).floor()
    index = torch.arange(count, device=weights.device) - first.unsqueeze(1)
    return weights * ((index < 0) | (index >= length.unsqueeze(1)))


def multiplied(weights: Tensor, stream: Tensor, *, std: float) -> Tensor:
    """Return weights ``(B, P)`` times 1 + σ ε, where ε is standard normal and drawn for each weight."""
    return weights * (1 + std * normal(stream, weights.shape[1]).to(weights.dtype))

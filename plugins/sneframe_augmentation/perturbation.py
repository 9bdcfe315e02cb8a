"""``augmentation/noise``, ``/dropout``, ``/erasing``: weights disturbed, each network by itself, targets kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt
from torch import Tensor

from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.parts.augmentation import Augmentation
from sneframe.rng import Draw, counted, normal, streams, uniform


@final
class Noise(Augmentation):
    """w + σ r ε, ε standard normal for every weight, r the root mean square of its parameter in that network.

    Two published code bases add the constant σ · std(w) under this name. Here the addition is random.
    """

    name = "augmentation/noise"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        std: float = option(
            0.1,
            "σ, standard deviation of the noise over the root mean square of the parameter",
            check=gt(0),
        )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return every network with noise of its own, and the targets as they are."""

        def disturbed(networks: Networks, stream: Tensor) -> Tensor:
            weights = networks.weights
            noise = normal(stream, weights.shape[1]).to(weights.dtype)
            return weights + self.config.std * _root_mean_squares(networks) * noise

        return _each(batch, draw, disturbed), target


@final
class Dropout(Augmentation):
    """Every weight is 0 with a probability; the others are not made larger, since nothing computes with them."""

    name = "augmentation/dropout"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        probability: float = option(0.1, "that a weight is set to 0", check=and_(gt(0), lt(1)))

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return every network with weights of its own left out, and the targets as they are."""

        def thinned(networks: Networks, stream: Tensor) -> Tensor:
            left = uniform(counted(stream, networks.weights.shape[1])) >= self.config.probability
            return networks.weights * left

        return _each(batch, draw, thinned), target


@final
class Erasing(Augmentation):
    """A stretch of the flattened weights is 0 (Schürholt et al. 2021, HyperRep; Zhong et al. 2020, Random Erasing).

    Its length is a fraction of all weights, uniform between two bounds; it begins anywhere it fits.
    """

    name = "augmentation/erasing"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        probability: float = option(
            0.5, "probability that a network is erased in part", check=and_(gt(0), le(1))
        )
        shortest: float = option(
            0.02, "smallest fraction of the weights that is erased", check=and_(ge(0), le(1))
        )
        longest: float = option(
            0.3, "largest fraction of the weights that is erased", check=and_(gt(0), le(1))
        )

        def __attrs_post_init__(self) -> None:
            if self.shortest > self.longest:
                raise ValueError(
                    f"shortest must be at most longest = {self.longest:g}, got {self.shortest:g}"
                )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return networks with a stretch of their weights left out, and the targets as they are."""
        config = self.config

        def erased(networks: Networks, stream: Tensor) -> Tensor:
            count = networks.weights.shape[1]
            chance, share, start = uniform(counted(stream, 3)).unbind(1)
            length = (config.shortest + share * (config.longest - config.shortest)) * count
            length = torch.where(chance < config.probability, length.round(), torch.zeros_like(length))
            first = (start * (count - length + 1)).floor()
            place = torch.arange(count, device=networks.weights.device) - first.unsqueeze(1)
            return networks.weights * ((place < 0) | (place >= length.unsqueeze(1)))

        return _each(batch, draw, erased), target


def _each(batch: Batch, draw: Draw, change: Callable[[Networks, Tensor], Tensor]) -> Batch:
    """Return a batch with ``change(networks, streams (B, 1))`` in the place of each architecture's weights."""
    ids = batch.rows(torch.from_numpy(batch.ids).to(batch.device, non_blocking=True))
    pairs = zip(batch.networks, ids, strict=True)
    return batch.replace(change(n, streams(i, seed=draw.seed, step=draw.step)) for n, i in pairs)


def _root_mean_squares(networks: Networks) -> Tensor:
    """Return ``(B, P)``: for each weight the root mean square of its parameter in its network."""
    parts = [
        part.flatten(1).square().mean(1, keepdim=True).sqrt().expand(-1, parameter.size)
        for part, parameter in zip(
            networks.parameters().values(), networks.architecture.parameters, strict=True
        )
    ]
    return torch.cat(parts, dim=1)

"""``augmentation/noise``, ``/dropout`` and ``/erasing`` perturb the weights of each network."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt
from torch import Tensor

from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.nn.perturb import each_network, erased
from sneframe.parts.augmentation import Augmentation
from sneframe.rng import Draw, counted, normal, uniform


@final
class Noise(Augmentation):
    """Replaces each weight w by w + σ r ε, where ε is standard normal and drawn for each weight.

    r is the root mean square of the parameter to which w belongs, in the same network. Two published code
    bases add a constant, σ · std(w), and call it noise. Here the noise is random.
    """

    name = "augmentation/noise"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        std: float = option(
            0.1,
            "σ, the standard deviation of the noise relative to the root mean square of the parameter",
            check=gt(0),
        )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the batch with noise added to every weight, and return ``target`` unchanged."""

        def noisy(networks: Networks, stream: Tensor) -> Tensor:
            weights = networks.weights
            noise = normal(stream, weights.shape[1]).to(weights.dtype)
            return weights + self.config.std * _root_mean_squares(networks) * noise

        return each_network(batch, draw, noisy), target


@final
class Dropout(Augmentation):
    """Sets each weight to 0 with a given probability.

    Unlike dropout of activations, this augmentation does not scale up the other weights, because no forward
    pass of the network runs.
    """

    name = "augmentation/dropout"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        probability: float = option(0.1, "probability that a weight is set to 0", check=and_(gt(0), lt(1)))

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the batch with random weights set to 0, and return ``target`` unchanged."""

        def thinned(networks: Networks, stream: Tensor) -> Tensor:
            kept = uniform(counted(stream, networks.weights.shape[1])) >= self.config.probability
            return networks.weights * kept

        return each_network(batch, draw, thinned), target


@final
class Erasing(Augmentation):
    """Sets one contiguous range of a network's flat weights to 0, with a given probability.

    The length of the range is a fraction of all weights, drawn uniformly between ``shortest`` and
    ``longest``. The start of the range is drawn uniformly from all positions where the range fits. Random
    Erasing is due to Zhong et al. (2020). Schürholt et al. (2021, HyperRep) apply Random Erasing to weights.
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
                    f"shortest must be at most longest = {self.longest:g}, but got {self.shortest:g}"
                )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the batch with a range of weights set to 0 in some networks, and ``target`` unchanged."""
        config = self.config

        def changed(networks: Networks, stream: Tensor) -> Tensor:
            return erased(
                networks.weights,
                stream,
                probability=config.probability,
                shortest=config.shortest,
                longest=config.longest,
            )

        return each_network(batch, draw, changed), target


def _root_mean_squares(networks: Networks) -> Tensor:
    """Return ``(B, P)``: for each weight, the root mean square of its parameter in the same network."""
    columns = [
        view.flatten(1).square().mean(1, keepdim=True).sqrt().expand(-1, parameter.size)
        for view, parameter in zip(
            networks.parameters().values(), networks.architecture.parameters, strict=True
        )
    ]
    return torch.cat(columns, dim=1)

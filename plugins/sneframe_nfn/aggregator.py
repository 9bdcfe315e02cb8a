"""``nfn/hnp-pool``, ``nfn/np-pool``: equivariant features on weights and biases → one vector per network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from sneframe.nn.chain_tensors import Member, fold, members_of
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, NeuronFeatures, WeightFeatures
from sneframe.parts.part import Spec


@final
class HNPPool(Aggregator):
    """Every weight and bias averaged over its hidden neurons; inputs and outputs stay apart (arXiv 2302.14040).

    The embedding is all of them side by side: the first weight ``(positions · in · channels)``, its bias
    ``(channels)``, …, the last weight ``(positions · out · channels)``, its bias ``(out · channels)``. ``NeuronFeatures``
    have one position.
    """

    name = "nfn/hnp-pool"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures, NeuronFeatures)

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.members = members_of(self.one_chain(spec), exchangeable="hidden", carrier=spec.carrier)
        self.out = _gives(spec, self.members)

    def forward(self, codes: tuple[WeightFeatures | NeuronFeatures, ...]) -> tuple[Embedding, ...]:
        """Return ``(B, E)``."""
        return tuple(_pool(entry, self.members) for entry in codes)


@final
class NPPool(Aggregator):
    """Every weight and bias averaged over all its neurons, hidden or not (arXiv 2302.14040).

    The embedding is all of them side by side: ``(positions · channels)`` of a weight, ``(channels)`` of a bias.
    ``NeuronFeatures`` have one position.
    """

    name = "nfn/np-pool"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures, NeuronFeatures)

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.members = members_of(self.one_chain(spec), exchangeable="all", carrier=spec.carrier)
        self.out = _gives(spec, self.members)

    def forward(self, codes: tuple[WeightFeatures | NeuronFeatures, ...]) -> tuple[Embedding, ...]:
        """Return ``(B, E)``."""
        return tuple(_pool(entry, self.members) for entry in codes)


def _gives(spec: Spec, members: Sequence[Member]) -> Spec:
    return spec.gives(Embedding, spec.width * sum(member.folded for member in members))


def _pool(features: WeightFeatures | NeuronFeatures, members: Sequence[Member]) -> Embedding:
    """Return the embedding: the mean of each member over its exchangeable axes, channels varying fastest."""
    values = torch.cat([_mean(tensor) for tensor in fold(features, members)], dim=-1)
    return Embedding(architecture=features.architecture, values=values)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1, -2).mean(1) if x.ndim > 2 else x

"""``nfn/hnp-pool`` and ``nfn/np-pool`` average equivariant features over neurons."""

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
    """Averages the features of every weight and bias over hidden neurons (arXiv 2302.14040).

    There is no average over inputs or outputs. The embedding concatenates the averages: the first weight
    ``(positions · in · channels)``, its bias ``(channels)``, …, the last weight ``(positions · out ·
    channels)``, its bias ``(out · channels)``. The positions of a weight are the entries of its kernel, or
    the positions of a map that is flattened before the layer. In ``NeuronFeatures`` every weight has one
    position.
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
        """Return embeddings ``(B, E)``."""
        return tuple(_pool(entry, self.members) for entry in codes)


@final
class NPPool(Aggregator):
    """Averages the features of every weight and bias over all neurons (arXiv 2302.14040).

    Inputs and outputs are among these neurons. The embedding concatenates the averages: ``(positions ·
    channels)`` for a weight, and ``(channels)`` for a bias. The positions of a weight are the entries of its
    kernel, or the positions of a map that is flattened before the layer. In ``NeuronFeatures`` every weight
    has one position.
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
        """Return embeddings ``(B, E)``."""
        return tuple(_pool(entry, self.members) for entry in codes)


def _gives(spec: Spec, members: Sequence[Member]) -> Spec:
    return spec.gives(Embedding, spec.width * sum(member.folded for member in members))


def _pool(features: WeightFeatures | NeuronFeatures, members: Sequence[Member]) -> Embedding:
    """Average each member over its exchangeable axes, and concatenate the means. Channels vary fastest."""
    values = torch.cat([_mean(tensor) for tensor in fold(features, members)], dim=-1)
    return Embedding(architecture=features.architecture, values=values)


def _mean(x: Tensor) -> Tensor:
    """Return ``(B, D)``, the mean of ``x (B, *axes, D)`` over its axes."""
    return x.flatten(1, -2).mean(1) if x.ndim > 2 else x

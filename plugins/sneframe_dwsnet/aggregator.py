"""``dwsnet/invariant-pooling`` pools equivariant features over hidden neurons to one vector per network."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, ge, lt
from torch import Tensor, nn

from sneframe.config.schema import option
from sneframe.nn.chain_tensors import fold, members_of
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, NeuronFeatures, WeightFeatures
from sneframe.parts.part import Spec
from sneframe_dwsnet.pooling import pool


@final
class InvariantPooling(Aggregator):
    """Applies ReLU and dropout, and pools each tensor over its hidden axes (Navon et al. 2023).

    There is no pooling over inputs or outputs. The embedding concatenates, in this order, the weights between
    hidden layers ``(channels)`` each, the first weight ``(in · channels)``, the last weight ``(out ·
    channels)``, the hidden biases ``(channels)`` each, and the last bias ``(out · channels)``. In
    ``WeightFeatures``, a weight has this number of values for each position of its kernel. The classifier of
    the original is a separate part, ``head/linear``.
    """

    name = "dwsnet/invariant-pooling"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures, NeuronFeatures)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        reduction: Literal["max", "mean", "sum"] = option("max", "the pooling over hidden axes")
        dropout: float = option(0.0, "dropout rate before pooling", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        members = members_of(self.one_chain(spec), exchangeable="hidden", carrier=spec.carrier)
        first, *inner, last = members[::2]
        self.members = (*inner, first, last, *members[1::2])
        self.out = spec.gives(Embedding, spec.width * sum(member.folded for member in self.members))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, codes: tuple[WeightFeatures | NeuronFeatures, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)``."""
        return tuple(Embedding(architecture=entry.architecture, values=self._embed(entry)) for entry in codes)

    def _embed(self, features: WeightFeatures | NeuronFeatures) -> Tensor:
        return torch.cat([self._vector(x) for x in fold(features, self.members)], dim=-1)

    def _vector(self, folded: Tensor) -> Tensor:
        """Apply ReLU and dropout to ``folded (B, *axes, D)``, pool over the axes, and return ``(B, D)``."""
        x: Tensor = self.dropout(F.relu(folded))
        while x.ndim > 2:
            x = pool(x, 1, self.config.reduction)
        return x

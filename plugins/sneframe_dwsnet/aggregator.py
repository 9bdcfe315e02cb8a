"""``dwsnet/invariant-pooling``: equivariant features on weights and biases → one vector per network."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, ge, lt
from torch import Tensor, nn

from sneframe.aggregator import Aggregator
from sneframe.config import option
from sneframe.part import Embedding, Spec, WeightFeatures
from sneframe_dwsnet.chain import Member, check_channels, read_chain
from sneframe_dwsnet.pooling import pool


@final
class InvariantPooling(Aggregator):
    """ReLU, dropout, then every tensor pooled over its hidden axes; fixed axes stay (Navon et al. 2023).

    The embedding is the concatenation of the weights between hidden layers ``(channels)``, the first weight
    ``(in · channels)``, the last weight ``(out · channels)``, the hidden biases ``(channels)`` and the last
    bias ``(out · channels)``. The original's classifier is the head on it, ``head/linear``.
    """

    name = "dwsnet/invariant-pooling"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        reduction: Literal["max", "mean", "sum"] = option(
            "max", "max | mean | sum: the pooling over hidden axes"
        )
        dropout: float = option(0.0, "before pooling", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.members = read_chain(self, spec)
        self.channels = spec.width
        self.out = spec.gives(Embedding, spec.width * sum(member.fixed for member in self.members))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, codes: tuple[WeightFeatures, ...]) -> tuple[Embedding, ...]:
        """Return ``(B, E)``."""
        return tuple(Embedding(architecture=entry.architecture, values=self._embed(entry)) for entry in codes)

    def _embed(self, features: WeightFeatures) -> Tensor:
        given = (*features.weights, *features.biases)
        check_channels(self, self.members, given, [self.channels] * len(given))
        vectors = [self._vector(member, tensor) for member, tensor in zip(self.members, given, strict=True)]
        depth = len(features.weights)
        (first, *inner, last), biases = vectors[:depth], vectors[depth:]
        return torch.cat([*inner, first, last, *biases], dim=-1)

    def _vector(self, member: Member, features: Tensor) -> Tensor:
        """Return ``(B, fixed · channels)``."""
        x: Tensor = self.dropout(F.relu(member.fold(features)))
        for _ in member.hidden:
            x = pool(x, 1, self.config.reduction)
        return x

"""Define ``sne/view-sum``, whose embedding is the sum of the codes of a network's views."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import and_, ge, lt

from sneframe.config.schema import option
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes
from sneframe.parts.part import ANY_ACTION, Spec


@final
class ViewSum(Aggregator):
    """The embedding is the sum of a network's codes, so with a linear head each view adds to the prediction.

    In training, whole codes may be dropped. A network of which no code is left keeps all of them.
    """

    name = "sne/view-sum"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        dropout: float = option(
            0.0, "fraction of the codes that are dropped as a whole in training", check=and_(ge(0), lt(1))
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, spec.width)

    def forward(self, codes: tuple[LayerCodes, ...]) -> tuple[Embedding, ...]:
        """Return one ``Embedding`` per architecture, with values ``(B, E)``, E = D."""
        return tuple(
            Embedding(architecture=entry.architecture, values=self._sum(entry.codes)) for entry in codes
        )

    def _sum(self, codes: torch.Tensor) -> torch.Tensor:
        if not (self.training and self.config.dropout):
            return codes.sum(1)
        kept = torch.rand_like(codes[..., :1]) >= self.config.dropout
        kept = kept | ~kept.any(1, keepdim=True)
        return (codes * kept).sum(1) * codes.shape[1] / kept.sum(1)

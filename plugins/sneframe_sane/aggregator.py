"""``sane/mean`` averages the codes of all tokens of a network."""

from __future__ import annotations

from typing import final

from attrs import frozen

from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, TokenCodes
from sneframe.parts.part import ANY_ACTION, Spec


@final
class TokenMean(Aggregator):
    """Computes the mean of the codes of a network, as SANE does to predict properties (arXiv 2406.09997)."""

    name = "sane/mean"
    keeps = ANY_ACTION
    takes = (TokenCodes,)

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, spec.width, sizes=spec.sizes)

    def forward(self, codes: tuple[TokenCodes, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)``, where E is the width of a code."""
        return tuple(
            Embedding(architecture=entry.architecture, values=entry.codes.mean(dim=1)) for entry in codes
        )

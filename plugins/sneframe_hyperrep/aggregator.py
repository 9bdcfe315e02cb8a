"""``hyperrep/latent`` maps the code of the compression token to the embedding."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import ge
from torch import nn

from sneframe.config.schema import option
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, TokenCodes
from sneframe.parts.part import ANY_ACTION, Spec


@final
class Latent(Aggregator):
    """Computes tanh(W c + b) from the code c of the first token, which is the compression token."""

    name = "hyperrep/latent"
    keeps = ANY_ACTION
    takes = (TokenCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "E, the width of the embedding", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, config.width)
        self.linear = nn.Linear(spec.width, config.width)

    def forward(self, codes: tuple[TokenCodes, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)``, of numbers between −1 and 1."""
        return tuple(
            Embedding(architecture=entry.architecture, values=self.linear(entry.codes[:, 0]).tanh())
            for entry in codes
        )

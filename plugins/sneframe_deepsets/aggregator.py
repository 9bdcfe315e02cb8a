"""``deepsets/parameter-set`` computes the embedding of a network from the codes of its parameters."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import ge

from sneframe.config.schema import option
from sneframe.nn.perceptron import perceptron
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes
from sneframe.parts.part import ANY_ACTION, Spec


@final
class ParameterSet(Aggregator):
    """Computes ρ(mean_l ψ(c_l)) from the codes c_l ``(D,)`` of a network's parameters l.

    ψ is a perceptron D → E → … → E, and ρ is a perceptron E → … → E.
    """

    name = "deepsets/parameter-set"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "E, the width of ψ, ρ and the embedding", check=ge(1))
        depth: int = option(2, "number of linear layers of ψ, and of ρ", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        widths = [config.width] * config.depth
        self.out = spec.gives(Embedding, config.width)
        self.psi = perceptron((spec.width, *widths))
        self.rho = perceptron((config.width, *widths))

    def forward(self, codes: tuple[LayerCodes, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)`` for each architecture."""
        return tuple(
            Embedding(architecture=entry.architecture, values=self.rho(self.psi(entry.codes).mean(dim=1)))
            for entry in codes
        )

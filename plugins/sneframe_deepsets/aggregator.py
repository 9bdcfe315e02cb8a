"""``deepsets/parameter-set``: a network as a set of parameters → its embedding."""

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
    """ρ of the mean of ψ over the codes of a network's parameters: perceptrons D → E → … → E and E → … → E."""

    name = "deepsets/parameter-set"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "E, the width of ψ, ρ and the embedding", check=ge(1))
        depth: int = option(2, "linear layers of ψ, and of ρ", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        widths = [config.width] * config.depth
        self.out = spec.gives(Embedding, config.width)
        self.psi = perceptron((spec.width, *widths))
        self.rho = perceptron((config.width, *widths))

    def forward(self, codes: tuple[LayerCodes, ...]) -> tuple[Embedding, ...]:
        """Return ``(B, E)`` per architecture."""
        return tuple(
            Embedding(architecture=entry.architecture, values=self.rho(self.psi(entry.codes).mean(dim=1)))
            for entry in codes
        )

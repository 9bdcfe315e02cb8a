"""Define ``sne/layer-set``, which pools the codes of the layers of a network to an embedding (SNE, eq 6)."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import ge
from torch import nn

from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe_sne.plain import MeanMLP
from sneframe_sne.set_attention import PMA, SAB


@final
class LayerSet(Aggregator):
    """Pools layer codes to one embedding (SNE, eq 6).

    Φ5 applies two set attention blocks to the codes of a network. Ψ6 is a PMA. It pools the results by
    attention to one vector of E = D values. Without ``set_functions``, the embedding is the mean of the
    codes, followed by an MLP.
    """

    name = "sne/layer-set"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        heads: int = option(
            4, "number of attention heads; it must divide the width of the codes", check=ge(1)
        )
        set_functions: bool = option(
            True, "whether to use Φ5 and Ψ6; false, for ablations, takes the mean of the codes and an MLP"
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        check_heads(f"{self.slot} {self.name!r}", spec.width, config.heads)
        self.out = spec.gives(Embedding, spec.width)
        self.psi6: MeanMLP | PMA
        if not config.set_functions:
            self.phi5, self.psi6 = nn.Sequential(), MeanMLP(spec.width)
            return
        self.phi5 = nn.Sequential(SAB(spec.width, config.heads), SAB(spec.width, config.heads))
        self.psi6 = PMA(spec.width, config.heads)

    def forward(self, codes: tuple[LayerCodes, ...]) -> tuple[Embedding, ...]:
        """Return one ``Embedding`` per architecture, with values ``(B, E)``."""
        return tuple(
            Embedding(architecture=entry.architecture, values=self.psi6(self.phi5(entry.codes)))
            for entry in codes
        )

"""``stats/identity`` passes on the statistics of each parameter as the code of the parameter."""

from __future__ import annotations

from typing import final

from attrs import frozen

from sneframe.parts.carriers import LayerCodes, StatTokens, each_parameter
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import ANY_ACTION, Spec


@final
class PassThrough(LayerEncoder):
    """Passes on the statistics of each parameter unchanged, as the code of the parameter."""

    name = "stats/identity"
    keeps = ANY_ACTION
    takes = (StatTokens,)
    local = True

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(LayerCodes, spec.width)

    def forward(self, tokens: tuple[StatTokens, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, 7)`` for each architecture. L is the number of its parameters."""
        return tuple(
            LayerCodes(
                architecture=entry.architecture,
                codes=entry.stats,
                units=each_parameter(entry.architecture),
            )
            for entry in tokens
        )

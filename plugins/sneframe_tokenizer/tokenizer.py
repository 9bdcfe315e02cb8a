"""``tokenizer/flat`` passes on the flat weights of every network unchanged."""

from __future__ import annotations

from typing import final

from attrs import frozen

from sneframe.batch import Batch, Networks
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe.parts.tokenizer import Tokenizer


@final
class Flat(Tokenizer):
    """Passes on the flat weights ``(B, P)`` unchanged.

    The architecture tells the layer encoder where each parameter is.
    """

    name = "tokenizer/flat"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(Networks, 1)

    def forward(self, batch: Batch) -> tuple[Networks, ...]:
        """Return the weights ``(B, P)`` for each architecture."""
        return batch.networks

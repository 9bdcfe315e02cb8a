"""Layer encoder: takes tokens, and gives codes of parameters or layers, or equivariant features."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sneframe.parts.part import Part


class LayerEncoder(Part):
    """Encodes the layers of every network.

    If ``local`` is true, the code of a layer needs no other layer. Such an encoder can work layer by layer,
    which is how very large networks are encoded.
    """

    slot = "layer_encoder"
    local: ClassVar[bool] = False

    @abstractmethod
    def forward(self, tokens: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return one carrier per architecture, in the order given."""

"""Layer encoder: tokens in, codes of parameters or layers (or equivariant features) out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sneframe.parts.part import Part


class LayerEncoder(Part):
    """Encodes the layers of every network.

    ``local`` states that the code of a layer needs no other layer; such an encoder can be driven layer by layer,
    which is how very large networks are encoded.
    """

    slot = "layer_encoder"
    local: ClassVar[bool] = False

    @abstractmethod
    def forward(self, tokens: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return one carrier per architecture, in the order given."""

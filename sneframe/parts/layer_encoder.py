"""Define the abstract part LayerEncoder.

A layer encoder turns tokens into codes of parameters or of layers, or into equivariant features.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from sneframe.parts.part import Part


class LayerEncoder(Part):
    """Encodes the layers of every network.

    If ``local`` is true, the code of a layer depends on no other layer. Such an encoder can encode one layer
    at a time. Very large networks are encoded in this way.
    """

    slot = "layer_encoder"
    local: ClassVar[bool] = False

    @abstractmethod
    def forward(self, tokens: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return one carrier per architecture, in the order of ``tokens``."""

"""Define the abstract part Aggregator, which turns the codes of layers into one embedding per network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Part


class Aggregator(Part):
    """Turns the codes of the layers of a network into one embedding, a vector of E values."""

    slot = "aggregator"

    @abstractmethod
    def forward(self, codes: tuple[Any, ...]) -> tuple[Embedding, ...]:
        """Return one :class:`~.carriers.Embedding` per architecture, in the order of ``codes``."""

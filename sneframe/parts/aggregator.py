"""Aggregator: takes the codes of layers, and gives one embedding per network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Part


class Aggregator(Part):
    """Turns the layers of a network into one vector of E values."""

    slot = "aggregator"

    @abstractmethod
    def forward(self, codes: tuple[Any, ...]) -> tuple[Embedding, ...]:
        """Return one :class:`~sneframe.parts.carriers.Embedding` per architecture, in the order given."""

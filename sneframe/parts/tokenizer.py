"""Define the abstract part Tokenizer, which turns a batch into one carrier of tokens per architecture."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sneframe.batch import Batch
from sneframe.parts.part import Part


class Tokenizer(Part):
    """Turns the weights of a batch into tokens: chunks, statistics, or features of weights."""

    slot = "tokenizer"
    takes = (Batch,)

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Any, ...]:
        """Return one carrier for each entry of ``batch.networks``, in the same order."""

"""Tokenizer: batch in, one carrier of tokens per architecture out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sneframe.batch import Batch
from sneframe.parts.part import Part


class Tokenizer(Part):
    """Views the weights of a batch as tokens: chunks, statistics, features on weights."""

    slot = "tokenizer"
    takes = (Batch,)

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Any, ...]:
        """Return one carrier per entry of ``batch.networks``, in order."""

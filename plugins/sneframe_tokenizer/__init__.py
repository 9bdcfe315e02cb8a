"""Tokenizers that several methods use."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_tokenizer.tokenizer import Flat, Neurons


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (Flat, Neurons)

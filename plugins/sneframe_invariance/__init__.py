"""Invariance losses train a model to be invariant to a symmetry that is not built into the model."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_invariance.invariance import Contrastive, EmbeddingDistance, Logit


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (Logit, EmbeddingDistance, Contrastive)

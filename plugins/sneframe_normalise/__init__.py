"""Normalisations rescale weights by constants that are fitted to the training networks."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_normalise.canonical_adapter import CanonicalAdapter
from sneframe_normalise.normalise import FanIn, NoNormalise, PerParameter


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (NoNormalise, FanIn, PerParameter, CanonicalAdapter)

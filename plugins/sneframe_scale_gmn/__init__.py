"""ScaleGMN: graph networks that know scales and signs of neurons (Kalogeropoulos et al., NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_scale_gmn import recipes
from sneframe_scale_gmn.aggregator import ScaleReadout
from sneframe_scale_gmn.layer_encoder import ScaleLayers


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (ScaleLayers, ScaleReadout)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "scale-gmn/default": recipes.default,
        "scale-gmn/forward": recipes.forward,
        "scale-gmn/permutation": recipes.permutation,
        "scale-gmn/fair": recipes.fair,
        "scale-gmn/paper": recipes.paper,
    }

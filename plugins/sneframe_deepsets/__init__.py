"""Deep Sets (Zaheer et al. 2017). They treat a network as a set of sets of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_deepsets import recipes
from sneframe_deepsets.aggregator import ParameterSet
from sneframe_deepsets.layer_encoder import WeightSet


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (WeightSet, ParameterSet)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {"deepsets/default": recipes.default, "deepsets/fair": recipes.fair}

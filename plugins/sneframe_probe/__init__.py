"""Probes: networks are evaluated at learned inputs, and their outputs are what a prediction reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_probe import recipes
from sneframe_probe.aggregator import OutputValues
from sneframe_probe.layer_encoder import NetworkOutputs


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (NetworkOutputs, OutputValues)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "probe/default": recipes.default,
        "probe/classifier": recipes.classifier,
        "probe/fair": recipes.fair,
    }

"""A perceptron on flat weights. This baseline uses no knowledge of layers or neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_mlp import recipes
from sneframe_mlp.aggregator import Perceptron
from sneframe_mlp.layer_encoder import Columns


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (Columns, Perceptron)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {"mlp/default": recipes.default, "mlp/fair": recipes.fair, "mlp/paper": recipes.paper}

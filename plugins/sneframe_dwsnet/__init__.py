"""DWSNet: equivariant layers on deep weight spaces (Navon et al., ICML 2023, arXiv 2301.12780)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_dwsnet import recipes
from sneframe_dwsnet.aggregator import InvariantPooling
from sneframe_dwsnet.layer_encoder import DWSLayers
from sneframe_dwsnet.tokenizer import DWSChannels


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (DWSChannels, DWSLayers, InvariantPooling)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {"dwsnet/default": recipes.default, "dwsnet/fair": recipes.fair, "dwsnet/paper": recipes.paper}

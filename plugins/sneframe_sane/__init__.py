"""SANE (Schürholt et al., arXiv 2406.09997): self-supervised codes of the tokens of any network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_sane import recipes
from sneframe_sane.aggregator import TokenMean
from sneframe_sane.layer_encoder import TokenTransformer
from sneframe_sane.loss import SANELoss


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (TokenTransformer, TokenMean, SANELoss)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {"sane/default": recipes.default, "sane/fair": recipes.fair, "sane/paper": recipes.paper}

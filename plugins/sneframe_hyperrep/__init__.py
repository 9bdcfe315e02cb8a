"""HyperRep (Schürholt et al., arXiv 2110.15288): self-supervised embeddings of networks of one layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_hyperrep import recipes
from sneframe_hyperrep.aggregator import Latent
from sneframe_hyperrep.layer_encoder import CompressionTransformer
from sneframe_hyperrep.loss import HyperRepLoss


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (CompressionTransformer, Latent, HyperRepLoss)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "hyperrep/default": recipes.default,
        "hyperrep/fair": recipes.fair,
        "hyperrep/paper": recipes.paper,
    }

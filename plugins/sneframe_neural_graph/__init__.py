"""Neural graphs: neurons of a network are nodes, and its weights are edges (Kofinas et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_neural_graph import recipes
from sneframe_neural_graph.aggregator import Readout
from sneframe_neural_graph.gnn_layer_encoder import GraphNetwork
from sneframe_neural_graph.transformer_layer_encoder import GraphTransformer


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (GraphNetwork, GraphTransformer, Readout)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "neural-graph/default": recipes.default,
        "neural-graph/plain": recipes.plain,
        "neural-graph/transformer": recipes.transformer,
        "neural-graph/transformer-plain": recipes.transformer_plain,
        "neural-graph/fair": recipes.fair,
        "neural-graph/plain-fair": recipes.plain_fair,
        "neural-graph/transformer-fair": recipes.transformer_fair,
        "neural-graph/paper": recipes.paper,
        "neural-graph/paper-transformer": recipes.paper_transformer,
    }

"""Define the recipes of neural graphs."""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_neural_graph.aggregator import Readout
from sneframe_neural_graph.gnn_layer_encoder import GraphNetwork
from sneframe_neural_graph.transformer_layer_encoder import GraphTransformer


def default() -> RunConfig:
    """Return NG-GNN with 64 probes."""
    return RunConfig(
        recipe="neural-graph/default",
        normalise=use("normalise/fan-in"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(GraphNetwork, probes=64),
        aggregator=use(Readout),
        head=use("head/linear"),
        train=TrainConfig(epochs=30, batch_size=32, lr=2e-3, weight_decay=5e-4),
    )


def plain() -> RunConfig:
    """Return NG-GNN without probes: only weights are read."""
    return evolve(default(), recipe="neural-graph/plain", layer_encoder=use(GraphNetwork))


def transformer() -> RunConfig:
    """Return NG-T with 64 probes."""
    return evolve(
        default(), recipe="neural-graph/transformer", layer_encoder=use(GraphTransformer, probes=64)
    )

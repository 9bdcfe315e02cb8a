"""Define the recipes of neural graphs.

``default`` is the graph network with probes, and ``plain`` the same without. ``transformer`` and
``transformer-plain`` are the relational transformer. ``paper`` and ``paper-transformer`` have the published
sizes, and the recipes with ``fair`` the model size at which methods are compared.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_neural_graph.aggregator import Readout
from sneframe_neural_graph.gnn_layer_encoder import GraphNetwork
from sneframe_neural_graph.transformer_layer_encoder import GraphTransformer

#: As long as the other methods that are compared. Adam's rate is that of the published runs.
FAIR = TrainConfig(epochs=40, batch_size=32, lr=1e-3, weight_decay=5e-4)


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


def transformer_plain() -> RunConfig:
    """Return NG-T without probes."""
    return evolve(default(), recipe="neural-graph/transformer-plain", layer_encoder=use(GraphTransformer))


def fair() -> RunConfig:
    """Return ``neural-graph/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="neural-graph/fair",
        layer_encoder=use(GraphNetwork, width=40, probes=64),
        train=FAIR,
    )


def plain_fair() -> RunConfig:
    """Return ``neural-graph/plain`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="neural-graph/plain-fair",
        layer_encoder=use(GraphNetwork, width=43),
        train=FAIR,
    )


def transformer_fair() -> RunConfig:
    """Return ``neural-graph/transformer`` with about 150 000 trainable weights on these networks."""
    encoder = use(
        GraphTransformer,
        width=52,
        edge_width=24,
        attention=48,
        hidden=104,
        edge_hidden=48,
        probes=64,
    )
    return evolve(default(), recipe="neural-graph/transformer-fair", layer_encoder=encoder, train=FAIR)


def paper() -> RunConfig:
    """Return NG-GNN as published for INRs with 64 probes, but without augmentations and AMSGrad.

    Each parameter has one mean and one standard deviation, as in the original.
    """
    return RunConfig(
        recipe="neural-graph/paper",
        normalise=use("normalise/parameter"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(GraphNetwork, width=32, layers=4, frequencies=128, scale=3.0, probes=64),
        aggregator=use(Readout, hidden=(32, 32)),
        head=use("head/linear"),
        train=_published(),
    )


def paper_transformer() -> RunConfig:
    """Return NG-T as published for INRs with 64 probes, but without augmentations and AMSGrad."""
    encoder = use(
        GraphTransformer,
        width=64,
        edge_width=32,
        attention=128,
        heads=8,
        hidden=128,
        edge_hidden=64,
        layers=4,
        frequencies=128,
        scale=3.0,
        probes=64,
        dropout=0.2,
    )
    return evolve(
        paper(),
        recipe="neural-graph/paper-transformer",
        layer_encoder=encoder,
        aggregator=use(Readout, hidden=(128,)),
    )


def _published() -> TrainConfig:
    """Return the published training: 200 epochs, and a constant rate after a start of about 1000 steps."""
    return TrainConfig(
        epochs=200,
        batch_size=128,
        lr=1e-3,
        schedule="constant",
        warmup=0.01,
        weight_decay=5e-4,
        clip=10.0,
    )

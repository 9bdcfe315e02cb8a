"""Define the recipes of SNE, with chunks of weights or with messages along the weights."""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_sne.aggregator import LayerSet
from sneframe_sne.layer_encoder import ChunkSet
from sneframe_sne.message.chunk_layer_encoder import MessageChunkSet
from sneframe_sne.message.layer_encoder import Message
from sneframe_sne.message.statistics_layer_encoder import MessageStatistics
from sneframe_sne.probe.aggregator import ViewSum
from sneframe_sne.probe.layer_encoder import Probe
from sneframe_sne.tokenizer import PadChunk


def default() -> RunConfig:
    """Return the recipe of SNE for a laptop.

    Its steps are cheap: Φ1 has one block, Φ3 uses induced set attention, and the invariance loss is computed
    for a quarter of each batch. The scales of parameters and chunks are encoded (docs/plugins/sne.md).
    """
    return RunConfig(
        recipe="sne/default",
        normalise=use("normalise/fan-in"),
        tokenizer=use(PadChunk, chunk_size=32),
        layer_encoder=use(
            ChunkSet, width=64, heads=4, attention="isab", points=16, blocks=1, scale_encoding=True
        ),
        aggregator=use(LayerSet, heads=4),
        head=use("head/mlp", hidden=(64,)),
        invariance=use("invariance/logit", weight=1.25, fraction=0.25),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3),
    )


def fair() -> RunConfig:
    """Return ``sne/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="sne/fair",
        layer_encoder=use(
            ChunkSet, width=60, heads=4, attention="isab", points=16, blocks=1, scale_encoding=True
        ),
    )


def paper() -> RunConfig:
    """Return the recipe of SNE with full set attention at every stage, as published.

    docs/plugins/sne.md lists what the paper leaves open, and what is done here.
    """
    return RunConfig(
        recipe="sne/paper",
        normalise=use("normalise/fan-in"),
        tokenizer=use(PadChunk, chunk_size=32),
        layer_encoder=use(ChunkSet, width=64, heads=4, attention="sab"),
        aggregator=use(LayerSet, heads=4),
        head=use("head/mlp", hidden=(64,)),
        invariance=use("invariance/logit", weight=1.0, fraction=1.0),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3),
    )


def message() -> RunConfig:
    """Return the recipe of SNE with messages along the weights.

    The codes are exactly invariant to permutations of neurons.
    """
    return RunConfig(
        recipe="sne/message",
        normalise=use("normalise/fan-in"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(Message, width=64, heads=4, rounds=2),
        aggregator=use(LayerSet, heads=4),
        head=use("head/mlp", hidden=(64,)),
        # Messages are invariant to permutations, but not to sign flips of neurons with odd activations.
        augmentation=(use("augmentation/symmetry", actions=("sign",)),),
        train=TrainConfig(epochs=40, batch_size=32, lr=3e-3),
    )


def message_fair() -> RunConfig:
    """Return ``sne/message`` with about 150 000 trainable weights, the size at which methods are compared."""
    return evolve(
        message(), recipe="sne/message-fair", layer_encoder=use(Message, width=52, heads=4, rounds=2)
    )


def message_statistics() -> RunConfig:
    """Return ``sne/message`` plus codes of each parameter's statistics, which show the weights' scale."""
    return evolve(
        message(),
        recipe="sne/message-statistics",
        layer_encoder=use(MessageStatistics, width=64, heads=4, rounds=2),
    )


def message_chunk_set() -> RunConfig:
    """Return ``sne/message`` plus SNE's codes of chunks. The chunks need an invariance loss."""
    return evolve(
        message(),
        recipe="sne/message-chunk-set",
        layer_encoder=use(MessageChunkSet, width=64, heads=4, rounds=2, chunk_size=32),
        invariance=use("invariance/logit", weight=1.25, fraction=1.0),
    )


def probe() -> RunConfig:
    """Return SNE with messages, statistics and probes, the recommended recipe.

    The codes are exactly invariant to permutations of neurons, and of outputs.
    """
    return evolve(
        message(),
        recipe="sne/probe",
        layer_encoder=use(Probe, width=64, heads=4, rounds=1, probes=32),
        aggregator=use(ViewSum),
        head=use("head/linear"),
    )


def probe_fair() -> RunConfig:
    """Return ``sne/probe`` with about 150 000 trainable weights, the size at which methods are compared."""
    return evolve(
        probe(), recipe="sne/probe-fair", layer_encoder=use(Probe, width=60, heads=4, rounds=1, probes=32)
    )

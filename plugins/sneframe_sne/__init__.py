"""SNE: Set-based Neural Network Encoding Without Weight Tying (NeurIPS 2024, arXiv 2305.16625)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_sne import recipes
from sneframe_sne.aggregator import LayerSet
from sneframe_sne.layer_encoder import ChunkSet
from sneframe_sne.message.chunk_layer_encoder import MessageChunkSet
from sneframe_sne.message.layer_encoder import Message
from sneframe_sne.message.statistics_layer_encoder import MessageStatistics
from sneframe_sne.probe.aggregator import ViewSum
from sneframe_sne.probe.layer_encoder import Probe
from sneframe_sne.tokenizer import PadChunk


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (PadChunk, ChunkSet, Message, MessageChunkSet, MessageStatistics, Probe, LayerSet, ViewSum)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "sne/default": recipes.default,
        "sne/fair": recipes.fair,
        "sne/paper": recipes.paper,
        "sne/message": recipes.message,
        "sne/message-fair": recipes.message_fair,
        "sne/message-statistics": recipes.message_statistics,
        "sne/message-chunk-set": recipes.message_chunk_set,
        "sne/probe": recipes.probe,
        "sne/probe-fair": recipes.probe_fair,
    }

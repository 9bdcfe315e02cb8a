"""Define ``sne/message-chunk-set``, which adds SNE's codes of chunks to the codes of ``sne/message``."""

from __future__ import annotations

from typing import final

import torch
from attrs import evolve, frozen
from attrs.validators import ge

from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_sne.layer_encoder import ChunkSet
from sneframe_sne.message.layer_encoder import Message
from sneframe_sne.tokenizer import PadChunk


@final
class MessageChunkSet(LayerEncoder):
    """Returns the codes of ``sne/message``, followed by the codes of ``sne/chunk-set``.

    There is one code for each neuron group or output, followed by one code for each parameter. Messages show
    what a network computes, and chunks show the scale of its weights. The codes of messages are exactly
    invariant to permutations of neurons, but those of chunks are not, because a chunk holds weights of
    several neurons. So this part is trained with an invariance loss.
    """

    name = "sne/message-chunk-set"
    takes = (Networks,)

    @frozen(kw_only=True)
    class Config(Message.Config):
        """Options of both parts, which have the same width and heads."""

        chunk_size: int = option(32, "C, the number of weights in a chunk", check=ge(1))
        chunks_per_pass: int = option(
            512,
            "number of chunks encoded at a time; a smaller number takes less memory",
            check=ge(1),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width, heads = config.width, config.heads
        check_heads(f"{self.slot} {self.name!r}", width, heads)
        self.message = Message(
            Message.Config(width=width, heads=heads, rounds=config.rounds, activation=config.activation), spec
        )
        self.cut = PadChunk(PadChunk.Config(chunk_size=config.chunk_size), evolve(spec, carrier=Batch))
        self.chunk_set = ChunkSet(
            ChunkSet.Config(width=width, heads=heads, chunks_per_pass=config.chunks_per_pass), self.cut.out
        )
        self.out = self.message.out

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)`` for each architecture. L counts groups, outputs and parameters."""
        chunked = self.chunk_set(tuple(self.cut.cut(networks) for networks in tokens))
        return tuple(
            LayerCodes(
                architecture=own.architecture,
                codes=torch.cat([own.codes, chunk_codes.codes], dim=1),
                units=own.units + chunk_codes.units,
            )
            for own, chunk_codes in zip(self.message(tokens), chunked, strict=True)
        )

"""``sne/message``: codes of neurons, carried through the weights, pooled to one code for each group of neurons."""

from __future__ import annotations

from typing import Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import ge, optional
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.checks import check_heads
from sneframe.config import option
from sneframe.encoding import LevelTypeEncoding
from sneframe.layer_encoder import LayerEncoder
from sneframe.part import LayerCodes, Spec
from sneframe_sne.layer_encoder import ChunkSet
from sneframe_sne.message.graph import Graph, graph_of
from sneframe_sne.message.sweep import Round
from sneframe_sne.message.tensors import WAVES, Layout, Move, layout_of
from sneframe_sne.set_attention import PMA
from sneframe_sne.tokenizer import PadChunk


@final
class Message(LayerEncoder):
    """Passes codes of width D from neuron to neuron through the weights, forth and back, a few rounds.

    A set of chunks does not know which neuron's output is whose input; here each weight W_ij brings the code of neuron j
    to neuron i. Maps are shared by all layers of all architectures, so it takes any of them, and it costs what running the
    network on one input of width D would. Every node is treated alike, so it is exactly invariant to permutations.
    """

    name = "sne/message"
    takes = (Networks,)
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "D, the width of neuron and layer codes", check=ge(2))
        heads: int = option(4, "attention heads of the pooling, a divisor of width", check=ge(1))
        rounds: int = option(2, "sweeps forth and back", check=ge(1))
        activation: Literal["mixture", "recorded"] = option(
            "mixture", "mixture | recorded: φ, a learned mixture, or the function behind each layer"
        )
        chunk_size: int | None = option(
            None,
            "C, to pool SNE's codes of chunks of C weights beside the messages; none: messages alone",
            check=optional(ge(1)),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        check_heads(f"{self.slot} {self.name!r}", width, config.heads)
        self.out = spec.gives(LayerCodes, width)
        self.encoding = LevelTypeEncoding(spec.architectures, width)
        self.vectors = LevelTypeEncoding(spec.architectures, width)
        self.input = nn.Parameter(torch.randn(width))
        self.position = nn.Linear(2 * len(WAVES), width, bias=False)
        self.rounds = nn.ModuleList(
            Round(width, recorded=config.activation == "recorded") for _ in range(config.rounds)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = PMA(width, config.heads)
        self.cut: PadChunk | None = None
        if config.chunk_size is not None:
            self.cut = PadChunk(PadChunk.Config(chunk_size=config.chunk_size), evolve(spec, carrier=Batch))
            self.chunks = ChunkSet(ChunkSet.Config(width=width, heads=config.heads), self.cut.out)
        self._graphs: dict[str, Graph] = {}
        self._layouts: dict[tuple[str, torch.device], Layout] = {}

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return ``(B, L, D)`` per architecture, L its groups of neurons and fixed ends, then its parameters if chunked."""
        codes = tuple(self._encode(entry) for entry in tokens)
        if self.cut is None:
            return codes
        beside: tuple[LayerCodes, ...] = self.chunks(tuple(self.cut.cut(networks) for networks in tokens))
        return tuple(
            LayerCodes(
                architecture=own.architecture,
                codes=torch.cat([own.codes, other.codes], dim=1),
                units=own.units + other.units,
            )
            for own, other in zip(codes, beside, strict=True)
        )

    def _encode(self, entry: Networks) -> LayerCodes:
        architecture, weights = entry.architecture, entry.weights
        graph, layout = self._graph(architecture, weights.device)
        spaces = self._start(architecture, graph, layout, weights)
        for each in self.rounds:
            each(
                spaces,
                layout,
                lambda move: _edges(move, architecture, weights),
                lambda move: self._lying(move, architecture, weights),
                self.input,
            )
        units = [number for number, space in enumerate(graph.spaces) if space.parameters]
        return LayerCodes(
            architecture=architecture,
            codes=torch.stack([self.pool(self.norm(spaces[number])) for number in units], dim=1),
            units=tuple(tuple(sorted(set(graph.spaces[number].parameters))) for number in units),
        )

    def _start(
        self, architecture: Architecture, graph: Graph, layout: Layout, weights: Tensor
    ) -> list[Tensor]:
        """Return the first codes ``(B, n, D)`` of every space: level and type of what writes it, or the input's code."""
        firsts = tuple(((space.parameters or (0,))[0],) for space in graph.spaces)
        encodings = self.encoding(architecture, firsts, weights)
        spaces = []
        for space, encoding, position in zip(graph.spaces, encodings, layout.positions, strict=True):
            code = encoding if space.parameters else self.input
            nodes = code.expand(space.size, -1)
            if position is not None:
                nodes = nodes + self.position(position.to(nodes.dtype))
            spaces.append(nodes.expand(len(weights), -1, -1))
        return spaces

    def _lying(self, move: Move, architecture: Architecture, weights: Tensor) -> Tensor | None:
        """Return ``(B, places, D)``: what the vectors on the written places say."""
        if not move.step.vectors:
            return None
        directions = self.vectors(architecture, tuple((number,) for number in move.step.vectors), weights)
        values = torch.stack([_flat(architecture, weights, number) for number in move.step.vectors], dim=-1)
        return values @ directions.to(values.dtype)

    def _graph(self, architecture: Architecture, device: torch.device) -> tuple[Graph, Layout]:
        if architecture.id not in self._graphs:
            self._graphs[architecture.id] = graph_of(architecture)
        graph, key = self._graphs[architecture.id], (architecture.id, device)
        if key not in self._layouts:
            self._layouts[key] = layout_of(graph, device)
        return graph, self._layouts[key]


def _flat(architecture: Architecture, weights: Tensor, parameter: int) -> Tensor:
    """Return ``(B, size)``: the weights of one parameter."""
    start = architecture.offsets[parameter]
    return weights[:, start : start + architecture.parameters[parameter].size]


def _edges(move: Move, architecture: Architecture, weights: Tensor) -> Tensor | None:
    """Return ``(B, written, read)``: a parameter as a matrix between places."""
    if move.step.parameter is None:
        return None
    shape = architecture.parameters[move.step.parameter].shape
    values = _flat(architecture, weights, move.step.parameter).unflatten(1, shape)
    order = [0, *(axis + 1 for axis in move.step.order)]
    return values.permute(order).reshape(len(weights), move.written.size, -1)

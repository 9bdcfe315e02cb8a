"""``sne/message``: codes of neurons, carried through the weights, pooled to one code for each group of neurons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import ge
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.nn.level_type_encoding import LevelTypeEncoding
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_sne.message.build import graph_of
from sneframe_sne.message.graph import Graph
from sneframe_sne.message.sweep import Load, Round
from sneframe_sne.message.tensors import WAVES, Layout, Move, layout_of
from sneframe_sne.set_attention import PMA


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
            "recorded", "mixture | recorded: φ, a learned mixture, or the function behind each layer"
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        check_heads(f"{self.slot} {self.name!r}", width, config.heads)
        self.out = spec.gives(LayerCodes, width)
        # No levels: where a layer stands is what the messages say, in networks of any depth.
        self.encoding = LevelTypeEncoding(spec.architectures, width, level=False)
        self.vectors = LevelTypeEncoding(spec.architectures, width, level=False, std=0.5)
        self.input = nn.Parameter(torch.randn(width))
        self.position = nn.Linear(2 * len(WAVES), width, bias=False)
        self.rounds = nn.ModuleList(
            Round(width, recorded=config.activation == "recorded") for _ in range(config.rounds)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = PMA(width, config.heads)
        self._graphs: dict[str, Graph] = {}
        self._layouts: dict[tuple[str, torch.device, torch.dtype], Layout] = {}

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return ``(B, L, D)`` per architecture, L its groups of neurons and fixed outputs."""
        found = [self._encode(entry) for entry in tokens]
        if torch.is_grad_enabled():
            # A parameter that these architectures do not use gets a gradient of 0: every process must have them all.
            found[0] = evolve(found[0], codes=found[0].codes + self._nothing())
        return tuple(found)

    def _encode(self, entry: Networks) -> LayerCodes:
        architecture, weights = entry.architecture, entry.weights
        graph, layout = self._graph(architecture, weights)
        spaces = self._start(architecture, graph, layout, weights)
        loads = [
            Load.of(move, _edges(move, architecture, weights), self._lying(move, architecture, weights))
            for move in layout.moves
        ]
        for number, each in enumerate(self.rounds, start=1):
            each(spaces, layout, loads, self.input, is_last=number == len(self.rounds))
        units = [number for number, space in enumerate(graph.spaces) if space.parameters]
        return LayerCodes(
            architecture=architecture,
            codes=self._pooled([spaces[number] for number in units]),
            units=tuple(tuple(sorted(set(graph.spaces[number].parameters))) for number in units),
        )

    def _pooled(self, spaces: Sequence[Tensor]) -> Tensor:
        """Return ``(B, L, D)`` for L spaces ``(B, n, D)``; those of equally many nodes go through together."""
        sizes: dict[int, list[int]] = defaultdict(list)
        for number, space in enumerate(spaces):
            sizes[space.shape[1]].append(number)
        pooled: dict[int, Tensor] = {}
        for numbers in sizes.values():
            vectors = self.pool(self.norm(torch.cat([spaces[number] for number in numbers])))
            pooled |= zip(numbers, vectors.chunk(len(numbers)), strict=True)
        return torch.stack([pooled[number] for number in range(len(spaces))], dim=1)

    def _nothing(self) -> Tensor:
        """Return 0, made of every parameter."""
        return torch.stack([parameter.flatten()[0] for parameter in self.parameters()]).sum() * 0

    def _start(
        self, architecture: Architecture, graph: Graph, layout: Layout, weights: Tensor
    ) -> list[Tensor]:
        """Return the first codes ``(B, n, D)`` of every space: the type of what writes it first, or the input's code."""
        firsts = tuple(((space.parameters or (0,))[0],) for space in graph.spaces)
        encodings = self.encoding(architecture, firsts, weights)
        spaces = []
        for space, encoding, position in zip(graph.spaces, encodings, layout.positions, strict=True):
            code = encoding if space.parameters else self.input
            nodes = code.expand(space.size, -1)
            if position is not None:
                nodes = nodes + self.position(position)
            spaces.append(nodes.expand(len(weights), -1, -1))
        return spaces

    def _lying(self, move: Move, architecture: Architecture, weights: Tensor) -> Tensor | None:
        """Return ``(B, places, D)``: what the vectors on the written places say."""
        if not move.step.vectors:
            return None
        directions = self.vectors(architecture, tuple((number,) for number in move.step.vectors), weights)
        values = torch.stack([_flat(architecture, weights, number) for number in move.step.vectors], dim=-1)
        return values @ directions.to(values.dtype)

    def _graph(self, architecture: Architecture, weights: Tensor) -> tuple[Graph, Layout]:
        if architecture.id not in self._graphs:
            self._graphs[architecture.id] = graph_of(architecture)
        graph, key = self._graphs[architecture.id], (architecture.id, weights.device, weights.dtype)
        if key not in self._layouts:
            self._layouts[key] = layout_of(graph, weights.device, weights.dtype)
        return graph, self._layouts[key]


def _flat(architecture: Architecture, weights: Tensor, parameter: int) -> Tensor:
    """Return ``(B, size)``: the weights of one parameter."""
    start = architecture.offsets[parameter]
    return weights[:, start : start + architecture.parameters[parameter].size]


def _edges(move: Move, architecture: Architecture, weights: Tensor) -> Tensor | None:
    """Return ``(B, written, n)``: a parameter as a matrix, n the places read by each place written."""
    if move.step.parameter is None:
        return None
    values = _flat(architecture, weights, move.step.parameter).unflatten(1, move.step.shape)
    order = [0, *(axis + 1 for axis in move.step.order)]
    return values.permute(order).reshape(len(weights), move.written.size, -1)

"""Define ``sne/message``, which sends codes of neurons along the weights, and pools them by neuron group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from typing import Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import ge
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.nn.graph.graph import Graph
from sneframe.nn.graph.graph_builder import graph_of
from sneframe.nn.graph.tensors import WAVES, EdgesTensors, GraphTensors, graph_tensors
from sneframe.nn.level_type_encoding import LevelTypeEncoding
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_sne.message.rounds import EdgeWeights, Round
from sneframe_sne.set_attention import PMA


@final
class Message(LayerEncoder):
    """Sends codes of width D from neuron to neuron along the weights, and pools them.

    In each round, messages travel from the inputs to the outputs and then back.

    SNE's sets of chunks do not show which neurons are connected. Here each weight W_ij carries the code of
    neuron j to neuron i. All layers of all architectures share the same learned maps, so any architecture can
    be encoded. The cost is that of running the network on one input with D numbers in each neuron. All
    neurons of a group are treated alike, so the codes are exactly invariant to permutations of neurons.
    """

    name = "sne/message"
    takes = (Networks,)
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "D, the width of neuron codes and layer codes", check=ge(2))
        heads: int = option(
            4, "number of attention heads in the pooling; it must divide the width", check=ge(1)
        )
        rounds: int = option(2, "number of rounds; in each, messages travel forth and back", check=ge(1))
        activation: Literal["mixture", "recorded"] = option(
            "recorded",
            "φ: recorded takes the activation after each layer, mixture a learned mixture of four functions",
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        check_heads(f"{self.slot} {self.name!r}", width, config.heads)
        self.out = spec.gives(LayerCodes, width)
        # Levels are not encoded, because the messages tell where a layer is, in networks of any depth.
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
        self._tensors: dict[tuple[str, torch.device, torch.dtype], GraphTensors] = {}

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)`` for each architecture. L is the number of node sets except the input."""
        codes = [self._encode(networks) for networks in tokens]
        if torch.is_grad_enabled():
            # With several processes, every trainable tensor needs a gradient. Unused tensors get a gradient
            # of 0 here.
            codes[0] = evolve(codes[0], codes=codes[0].codes + self._zero())
        return tuple(codes)

    def _encode(self, networks: Networks) -> LayerCodes:
        graph, codes = self.node_codes(networks)
        read = [number for number, node_set in enumerate(graph.node_sets) if node_set.parameters]
        return LayerCodes(
            architecture=networks.architecture,
            codes=self.pooled([codes[number] for number in read]),
            units=tuple(tuple(sorted(set(graph.node_sets[number].parameters))) for number in read),
        )

    def node_codes(
        self, networks: Networks, added: Mapping[int, Tensor] | None = None, unordered: Container[int] = ()
    ) -> tuple[Graph, list[Tensor]]:
        """Return the graph of an architecture, and the codes ``(B, n, D)`` of its node sets after all rounds.

        Args:
            networks: the networks.
            added: what is added to the first codes of a node set, ``(B, n, D)``, by its index in the graph.
            unordered: indices of node sets whose nodes are not told apart by their position.
        """
        architecture, weights = networks.architecture, networks.weights
        graph, tensors = self._graph(architecture, weights)
        codes = self._first_codes(architecture, graph, tensors, weights, unordered)
        for number, values in (added or {}).items():
            codes[number] = codes[number] + values
        edge_weights = [
            EdgeWeights.of(
                edges, _matrix(edges, architecture, weights), self._vector_sum(edges, architecture, weights)
            )
            for edges in tensors.edges
        ]
        for number, each in enumerate(self.rounds, start=1):
            each(codes, tensors, edge_weights, self.input, is_last=number == len(self.rounds))
        return graph, codes

    def pooled(self, codes: Sequence[Tensor]) -> Tensor:
        """Pool the codes ``(B, n, D)`` of each of L node sets, and return ``(B, L, D)``.

        Node sets of the same size are pooled together.
        """
        sizes: dict[int, list[int]] = defaultdict(list)
        for number, own in enumerate(codes):
            sizes[own.shape[1]].append(number)
        pooled: dict[int, Tensor] = {}
        for numbers in sizes.values():
            vectors = self.pool(self.norm(torch.cat([codes[number] for number in numbers])))
            pooled |= zip(numbers, vectors.chunk(len(numbers)), strict=True)
        return torch.stack([pooled[number] for number in range(len(codes))], dim=1)

    def _zero(self) -> Tensor:
        """Return 0, computed from every trainable tensor of this part."""
        return torch.stack([parameter.flatten()[0] for parameter in self.parameters()]).sum() * 0

    def _first_codes(
        self,
        architecture: Architecture,
        graph: Graph,
        tensors: GraphTensors,
        weights: Tensor,
        unordered: Container[int],
    ) -> list[Tensor]:
        """Return the codes ``(B, n, D)`` with which the nodes of every node set start.

        The first code of a node is a learned vector for the type of the first parameter that leads to the
        node, or the code of the input if no parameter does. If the node has a position, a linear map of the
        position's sines and cosines is added.
        """
        firsts = tuple(((node_set.parameters or (0,))[0],) for node_set in graph.node_sets)
        encodings = self.encoding(architecture, firsts, weights)
        codes = []
        rows = zip(graph.node_sets, encodings, tensors.positions, strict=True)
        for number, (node_set, encoding, position) in enumerate(rows):
            code = encoding if node_set.parameters else self.input
            nodes = code.expand(node_set.size, -1)
            if position is not None and number not in unordered:
                nodes = nodes + self.position(position)
            codes.append(nodes.expand(len(weights), -1, -1))
        return codes

    def _vector_sum(self, edges: EdgesTensors, architecture: Architecture, weights: Tensor) -> Tensor | None:
        """Return b ``(B, targets, D)``, or None if there are no vectors.

        b is the sum over vectors of the weight at the target times the learned direction for the vector's
        type.
        """
        vectors = edges.edges.vectors
        if not vectors:
            return None
        directions = self.vectors(architecture, tuple((number,) for number in vectors), weights)
        values = torch.stack([_flat(architecture, weights, number) for number in vectors], dim=-1)
        return values @ directions.to(values.dtype)

    def graph(self, architecture: Architecture) -> Graph:
        """Return the graph of an architecture, which is built once."""
        if architecture.id not in self._graphs:
            self._graphs[architecture.id] = graph_of(architecture)
        return self._graphs[architecture.id]

    def _graph(self, architecture: Architecture, weights: Tensor) -> tuple[Graph, GraphTensors]:
        """Return the graph of an architecture, and its tensors, made once for each device and type."""
        graph, key = self.graph(architecture), (architecture.id, weights.device, weights.dtype)
        if key not in self._tensors:
            self._tensors[key] = graph_tensors(graph, weights.device, weights.dtype)
        return graph, self._tensors[key]


def _flat(architecture: Architecture, weights: Tensor, parameter: int) -> Tensor:
    """Return ``(B, size)``: the weights of one parameter."""
    start = architecture.offsets[parameter]
    return weights[:, start : start + architecture.parameters[parameter].size]


def _matrix(edges: EdgesTensors, architecture: Architecture, weights: Tensor) -> Tensor | None:
    """Return a parameter as a matrix ``(B, targets, n)``, where n is the number of sources of each target.

    Return None if there are only vectors.
    """
    if edges.edges.parameter is None:
        return None
    values = _flat(architecture, weights, edges.edges.parameter).unflatten(1, edges.edges.shape)
    order = [0, *(axis + 1 for axis in edges.edges.order)]
    return values.permute(order).reshape(len(weights), edges.targets.size, -1)

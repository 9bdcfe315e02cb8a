"""The layers of ScaleGMN on the graph of any network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final

import numpy as np
import torch
from attrs import evolve, field, frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.nn.graph.blocks import EdgeBlock, NodeGraph
from sneframe.nn.graph.graphs import Graphs
from sneframe.nn.graph.kernels import Kernels, edge_weights, vector_kind, vectors_of
from sneframe.nn.graph.node_vectors import NodeVectors
from sneframe.nn.graph.tensors import FEATURES
from sneframe_scale_gmn.layers import LayerOptions, PermutedLayer, ScaleLayer, State
from sneframe_scale_gmn.maps import MapOptions
from sneframe_scale_gmn.symmetries import NodeKinds, kinds_of

LARGEST: Final = 1e6  #: weights are cut at ± this


@frozen(kw_only=True)
class GraphOptions:
    """The form of the network that reads networks.

    Args:
        width: D, the width of all codes.
        layers: the number of layers.
        back: whether messages also go back along every edge.
        symmetry: ``known``: scales and signs that an architecture declares are kept; ``permutation``: neurons
            are only permuted.
        edge_vectors: whether edges have learned vectors, as nodes do.
        vectors_in_messages: whether messages and updates also read the vectors of nodes.
        skip: whether each layer adds a linear map of the codes that it was given.
        input_value: the number from which the codes of inputs start, in place of a bias.
        dropout: dropout rate of node codes after each layer.
        maps: see :class:`~sneframe_scale_gmn.maps.MapOptions`.
        change_last_edges: whether the last layer gives edges new codes, too.
        out: width of the last codes, or None for D.
    """

    width: int
    layers: int
    back: bool = False
    symmetry: Literal["known", "permutation"] = "known"
    edge_vectors: bool = False
    vectors_in_messages: bool = False
    skip: bool = False
    input_value: float = 1.0
    dropout: float = 0.0
    maps: MapOptions = field(factory=MapOptions)
    change_last_edges: bool = False
    out: int | None = None


@final
class ScaleGraphNetwork(nn.Module):
    """Codes of all nodes and edges that have the factors of the neurons of the networks.

    The first code of a node is a linear map, without a constant, of its bias and of other vectors on it. That
    of an edge is such a map of its weight or kernel. So the codes have the same factors. The learned vector
    of a hidden node multiplies its code, and that of an input or output is added. Weights are cut at ±10⁶, so
    that a network whose training diverged has finite codes. So scales are kept only for weights below that.

    Args:
        architectures: architectures of the training zoo.
        options: see :class:`GraphOptions`.
    """

    def __init__(self, architectures: Sequence[Architecture], options: GraphOptions) -> None:
        super().__init__()
        self.options = options
        self._graphs = Graphs()
        self._kinds: dict[str, NodeKinds] = {}
        graphs = [graph for _, graph in self._graphs.known(tuple(architectures))]
        kinds = kinds_of([self.kinds(architecture) for architecture in architectures])
        self.kernels = Kernels.of(graphs, linear="first")
        width = options.width
        self.weights = nn.ModuleDict(
            {key: nn.Linear(count, width, bias=False) for key, count in self.kernels.counts.items()}
        )
        types = {vector_kind(a, n) for a, g in zip(architectures, graphs, strict=True) for n, _ in g.vectors}
        self.vectors = nn.ModuleDict(
            {kind: nn.Linear(1, width, bias=False) for kind in sorted(types | {"bias"})}
        )
        self.node_vectors = NodeVectors(graphs, width)
        self.edge_vectors = NodeVectors(graphs, width) if options.edge_vectors else None
        self.positions = nn.Linear(2 * FEATURES, width, bias=False)
        nn.init.zeros_(self.positions.weight)
        self.layers = nn.ModuleList()
        for number in range(options.layers):
            is_last = number == options.layers - 1
            form = LayerOptions(
                width=width,
                hidden=width,
                out=(options.out or width) if is_last else width,
                back=options.back,
                vectors_in_messages=options.vectors_in_messages,
                skip=options.skip and not (is_last and options.out is not None),
                change_edges=not is_last or options.change_last_edges,
                maps=options.maps,
            )
            plain = options.symmetry == "permutation"
            self.layers.append(PermutedLayer(form) if plain else ScaleLayer(form, kinds))
        self.dropout = nn.Dropout(options.dropout)

    def graph(self, architecture: Architecture, like: Tensor) -> NodeGraph:
        """Return the graph of an architecture on the device of ``like``, with numbers of its type."""
        return self._graphs(architecture, like)

    def kinds(self, architecture: Architecture) -> NodeKinds:
        """Return the kinds of the nodes of an architecture."""
        if architecture.id not in self._kinds:
            graph = self._graphs(architecture, torch.zeros(1))
            known = self.options.symmetry == "known"
            self._kinds[architecture.id] = NodeKinds.of(architecture, graph, known=known)
        return self._kinds[architecture.id]

    def forward(self, networks: Networks) -> State:
        """Return the codes of all nodes and edges after the last layer.

        Raises:
            PartError: a network has something that no training network has: a larger kernel, more inputs or
                outputs, a type of parameter, or a kind of neuron.
        """
        state = self._first(evolve(networks, weights=networks.weights.clamp(-LARGEST, LARGEST)))
        for layer in self.layers:
            nodes, edges = layer(state)
            state = evolve(state, nodes=self.dropout(nodes), edges=edges)
        return state

    def _first(self, networks: Networks) -> State:
        architecture = networks.architecture
        graph, kinds = self._graphs(architecture, networks.weights), self.kinds(architecture)
        vectors: Tensor = self.node_vectors(architecture, graph).unsqueeze(0)
        nodes = self._nodes(networks, graph)
        if self.options.symmetry == "permutation":
            nodes = nodes + vectors
        else:
            hidden = ~np.isin(kinds.of_node, ("input", "output"))
            mask = torch.from_numpy(hidden).to(nodes.device)[None, :, None]
            nodes = torch.where(mask, nodes * vectors, nodes + vectors)
        own = None if self.edge_vectors is None else self.edge_vectors(architecture, graph).unsqueeze(0)
        edges = tuple(self._edges(networks, graph, block, own) for block in graph.blocks)
        return State(
            graph=graph, kinds=kinds, vectors=vectors.to(nodes), nodes=nodes, edges=edges, first_edges=edges
        )

    def _nodes(self, networks: Networks, graph: NodeGraph) -> Tensor:
        weights = networks.weights
        biases = weights.new_zeros(len(weights), graph.size, 1)
        if graph.inputs is not None:
            biases[:, graph.nodes(graph.inputs)] = self.options.input_value
        codes: Tensor = self.vectors["bias"](biases)
        for kind, ends, values in vectors_of(networks, graph, self.vectors):
            codes = codes.index_add(1, ends.nodes, self.vectors[kind](values).to(codes))
        return codes

    def _edges(
        self, networks: Networks, graph: NodeGraph, block: EdgeBlock, vectors: Tensor | None
    ) -> Tensor:
        linear = self.weights[self.kernels.key(networks.architecture, block)]
        assert isinstance(linear, nn.Linear)
        at = self.kernels.places(block).to(networks.weights)
        codes = nn.functional.linear(edge_weights(networks, block), linear.weight @ at)
        factor: Tensor | None = None
        if block.targets.waves is not None:
            waves = rearrange(block.targets.waves, "t f -> t 1 f")
            factor = nn.functional.linear(waves.to(codes.dtype), self.positions.weight[:, :FEATURES])
        if (of_sources := block.source_waves) is not None:
            added = nn.functional.linear(of_sources.to(codes.dtype), self.positions.weight[:, FEATURES:])
            factor = added if factor is None else factor + added
        if factor is not None:
            codes = codes * (1 + factor)
        if vectors is not None:
            at_outputs = _lies_in(block.targets.nodes, graph, graph.outputs)
            at_inputs = graph.inputs is not None and _lies_in(block.sources.nodes, graph, graph.inputs)
            own = block.at_targets(vectors) if at_outputs and not at_inputs else block.at_sources(vectors)
            codes = codes + own if self.options.symmetry == "permutation" else codes * own
        return codes

    def unseen(self, architecture: Architecture) -> str | None:
        """Return what is not read or not used of the networks of an architecture, in one line, or None."""
        graph = self._graphs(architecture, torch.zeros(1))
        return self.kinds(architecture).plain or self.node_vectors.unseen(graph)


def _lies_in(nodes: Tensor, graph: NodeGraph, node_set: int) -> bool:
    """Return whether the first of some nodes lies in a node set."""
    where = graph.nodes(node_set)
    return where.start <= int(nodes[0]) < where.stop

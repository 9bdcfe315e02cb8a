"""``neural-graph/transformer`` encodes the graph of a network by relational attention between all nodes."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from attrs import frozen
from attrs.validators import and_, ge, le
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.errors import ArchitecturesRefused, PartError
from sneframe.nn.graph.blocks import NodeGraph
from sneframe.nn.graph.node_codes import NodeCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_neural_graph.features import FeatureOptions, GraphFeatures
from sneframe_neural_graph.relational import RelationalLayer

LARGEST = 1024  #: largest number of nodes: a layer holds several numbers for each pair of nodes


@final
class GraphTransformer(LayerEncoder):
    """NG-T: a relational transformer on the neurons and weights of a network (Kofinas et al., ICLR 2024).

    Every node attends over all nodes of its network, and the edge between two nodes, or the lack of one,
    changes query, key and value (:class:`~sneframe_neural_graph.relational.RelationalLayer`). So time and
    memory grow with the square of the number of nodes.

    Raises:
        ArchitecturesRefused: a network of the zoo has too many neurons.
        PartError: as for :class:`~sneframe_neural_graph.gnn_layer_encoder.GraphNetwork`.
    """

    name = "neural-graph/transformer"
    takes = (Networks,)
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config(FeatureOptions):
        """Options of the layers, and of the first codes of nodes and edges."""

        width: int = option(32, "D, the width of node codes", check=ge(2))
        edge_width: int = option(16, "width of edge codes", check=ge(1))
        attention: int = option(32, "width of all heads together; heads must divide it", check=ge(1))
        heads: int = option(4, "number of attention heads", check=ge(1))
        hidden: int = option(64, "width of the hidden layer for nodes", check=ge(1))
        edge_hidden: int = option(32, "width of the hidden layers for edges", check=ge(1))
        layers: int = option(3, "number of layers", check=ge(1))
        reverse: bool = option(
            False, "for every edge there is an edge back, and each has the features of both"
        )
        dropout: float = option(0.0, "dropout rate of what every layer adds", check=and_(ge(0), le(0.9)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.attention % config.heads:
            raise PartError(
                f"{self.slot} {self.name!r} has {config.heads} heads, which must divide attention, "
                f"but got attention {config.attention}"
            )
        self.out = spec.gives(NodeCodes, config.width)
        self._pairs: dict[tuple[str, torch.device], Pairs] = {}
        self.features = GraphFeatures(
            spec.architectures, config, width=config.width, edge_width=config.edge_width
        )
        graphs = self.features.graph.known(spec.architectures)
        for architecture, graph in graphs:
            if graph.size > LARGEST:
                raise ArchitecturesRefused(
                    f"{self.slot} {self.name!r} takes networks of at most {LARGEST} neurons, inputs and "
                    f"outputs, but {architecture.summary} has {graph.size}"
                )
        self.layers = nn.ModuleList(
            RelationalLayer(
                config.width,
                config.edge_width,
                attention=config.attention,
                heads=config.heads,
                hidden=config.hidden,
                edge_hidden=config.edge_hidden,
                dropout=config.dropout,
                is_last=number == config.layers - 1,
            )
            for number in range(config.layers)
        )

    def leaves_out(self, architecture: Architecture) -> str | None:
        """Return what is not read of the networks of an architecture, or None."""
        return self.features.leaves_out(architecture)

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[NodeCodes, ...]:
        """Return the codes of all nodes, for each architecture."""
        self.features.say(f"{self.slot} {self.name!r}")
        return tuple(self._encode(networks) for networks in tokens)

    def _encode(self, networks: Networks) -> NodeCodes:
        graph = self.features.graph(networks.architecture, networks.weights)
        if graph.size > LARGEST:
            raise PartError(
                f"{self.slot} {self.name!r} takes networks of at most {LARGEST} neurons, inputs and outputs, "
                f"but {networks.architecture.summary} has {graph.size}"
            )
        nodes, edges = self.features.nodes(networks, graph), self._edges(networks, graph)
        for layer in self.layers:
            nodes, edges = layer(nodes, edges)
        return NodeCodes.of(networks.architecture, graph, nodes)

    def _edges(self, networks: Networks, graph: NodeGraph) -> Tensor:
        """Return the codes of all pairs of nodes, ``(B, V, V, D')``, from node to node."""
        key = (networks.architecture.id, networks.weights.device)
        if key not in self._pairs:
            self._pairs[key] = Pairs.of(graph, reverse=self.config.reverse)
        ways = (False, True) if self.config.reverse else (False,)
        codes = [self.features.edges(networks, block, back=back) for block in graph.blocks for back in ways]
        every = torch.cat([each.expand(len(networks), -1, -1, -1).flatten(1, 2) for each in codes], dim=1)
        return (
            self._pairs[key]
            .arranged(every, self.features.absent(networks.weights))
            .unflatten(1, (graph.size, graph.size))
        )


@frozen(kw_only=True, eq=False)
class Pairs:
    """Says which pair of nodes each edge connects.

    Args:
        of_edge: ``(edges,)``, the number of the pair of each edge among all pairs that an edge connects.
        counts: ``(pairs, 1)``, the number of edges of each such pair.
        of_all: ``(V · V,)``, for each pair of nodes, the number of the pair plus 1, or 0 if no edge connects
            them.
    """

    of_edge: Tensor
    counts: Tensor
    of_all: Tensor

    @classmethod
    def of(cls, graph: NodeGraph, *, reverse: bool) -> Pairs:
        """Return the pairs of a graph: of the edges as they lead, and also back if ``reverse``."""
        found = []
        for block in graph.blocks:
            targets = block.targets.nodes.cpu().numpy()[:, None]
            sources = block.sources.nodes.cpu().numpy()
            sources = sources.reshape(block.shape) if block.own else sources[None]
            there = np.broadcast_to(sources * graph.size + targets, block.shape).ravel()
            back = np.broadcast_to(targets * graph.size + sources, block.shape).ravel()
            found += [there, back] if reverse else [there]
        pairs, of_edge, counts = np.unique(np.concatenate(found), return_inverse=True, return_counts=True)
        of_all = np.zeros(graph.size**2, np.int64)
        of_all[pairs] = 1 + np.arange(len(pairs))
        device = graph.blocks[0].targets.nodes.device
        return cls(
            of_edge=torch.from_numpy(of_edge).to(device),
            counts=torch.from_numpy(counts).to(device).unsqueeze(1),
            of_all=torch.from_numpy(of_all).to(device),
        )

    def arranged(self, codes: Tensor, absent: Tensor) -> Tensor:
        """Return the code of each pair of nodes, ``(B, V · V, D')``.

        Args:
            codes: ``(B, edges, D')``. A pair of several edges has their mean.
            absent: ``(D',)``, the code of a pair without an edge.
        """
        summed = codes.new_zeros(len(codes), len(self.counts), codes.shape[2]).index_add(
            1, self.of_edge, codes
        )
        known = summed / self.counts.to(summed)
        first = absent.to(known).expand(len(codes), 1, -1)
        return torch.cat([first, known], dim=1).index_select(1, self.of_all)

"""``neural-graph/gnn`` encodes the graph of a network by principal neighbourhood aggregation."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, ge, le
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.nn.graph.blocks import NodeGraph
from sneframe.nn.graph.directions import Directions
from sneframe.nn.graph.node_codes import NodeCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_neural_graph.features import FeatureOptions, GraphFeatures
from sneframe_neural_graph.pna import EdgeUpdate, PNALayer, joined

EPSILON = 1e-5  #: added to the deviation in the norm of all codes of a network


@final
class GraphNorm(nn.Module):
    """Subtracts the mean of all node codes of a network, and divides by their standard deviation.

    The original takes both over all networks of a batch, so that predictions depend on the batch.

    Args:
        width: D, the width of node codes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, nodes: Tensor) -> Tensor:
        """Return normalised codes ``(B, V, D)``."""
        centred = nodes - nodes.mean((1, 2), keepdim=True)
        deviation = centred.square().mean((1, 2), keepdim=True).sqrt()
        return centred / (deviation + EPSILON) * self.weight + self.bias


@final
class GraphNetwork(LayerEncoder):
    """NG-GNN: a graph network on the neurons and weights of a network (Kofinas et al., ICLR 2024).

    Every neuron of every layer is a node, and every weight or kernel an edge. Each of ``layers`` layers sends
    messages along all edges (:class:`~sneframe_neural_graph.pna.PNALayer`), normalises the nodes of each
    network, applies SiLU, and computes new codes of edges. Neurons of a group have no position, so the codes
    are equivariant to permutations of neurons.

    Raises:
        PartError: a network has a kernel, a number of inputs or outputs, or a type of parameter that no
            training network has.
    """

    name = "neural-graph/gnn"
    takes = (Networks,)
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config(FeatureOptions):
        """Options of the layers, and of the first codes of nodes and edges."""

        width: int = option(32, "D, the width of node codes and edge codes", check=ge(2))
        layers: int = option(4, "number of layers", check=ge(1))
        dropout: float = option(0.0, "dropout rate after every layer", check=and_(ge(0), le(0.9)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        self.out = spec.gives(NodeCodes, width)
        self._directions: dict[tuple[str, torch.device, torch.dtype], Directions] = {}
        self.features = GraphFeatures(spec.architectures, config, width=width, edge_width=width)
        graphs = [graph for _, graph in self.features.graph.known(spec.architectures)]
        mean_log_degree = _mean_log_degree(graphs, reverse=config.reverse)
        self.layers = nn.ModuleList(
            PNALayer(width, width, mean_log_degree=mean_log_degree) for _ in range(config.layers)
        )
        self.norms = nn.ModuleList(GraphNorm(width) for _ in range(config.layers - 1))
        self.updates = nn.ModuleList(EdgeUpdate(width, width) for _ in range(config.layers - 1))
        self.dropout = nn.Dropout(config.dropout)

    def leaves_out(self, architecture: Architecture) -> str | None:
        """Return what is not read of the networks of an architecture, or None."""
        return self.features.leaves_out(architecture)

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[NodeCodes, ...]:
        """Return the codes of all nodes, for each architecture."""
        self.features.say(f"{self.slot} {self.name!r}")
        return tuple(self._encode(networks) for networks in tokens)

    def _encode(self, networks: Networks) -> NodeCodes:
        graph = self.features.graph(networks.architecture, networks.weights)
        directions = self._directions_of(networks, graph)
        nodes = self.features.nodes(networks, graph)
        edges = [self.features.edges(networks, d.block, back=d.back) for d in directions.all]
        before: nn.Linear | None = None
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, PNALayer)
            is_last = number == len(self.layers) - 1
            update = None if is_last else self.updates[number]
            assert update is None or isinstance(update, EdgeUpdate)
            readers = [layer.modulate] if update is None else [layer.modulate, update.edge]
            widths = [self.config.width] * (2 if update is None else 3)
            found = [joined(each, readers, before).split(widths, dim=-1) for each in edges]
            nodes = layer(nodes, [(each[0], each[1]) for each in found], directions)
            if update is not None:
                nodes = self.dropout(F.silu(self.norms[number](nodes)))
                edges = update([each[2] for each in found], nodes, directions)
                before = update.out
        return NodeCodes.of(networks.architecture, graph, nodes)

    def _directions_of(self, networks: Networks, graph: NodeGraph) -> Directions:
        weights = networks.weights
        key = (networks.architecture.id, weights.device, weights.dtype)
        if key not in self._directions:
            self._directions[key] = Directions.of(graph, reverse=self.config.reverse, dtype=weights.dtype)
        return self._directions[key]


def _mean_log_degree(graphs: list[NodeGraph], *, reverse: bool) -> float:
    """Return the mean of log(degree + 1) over all nodes of the architectures, each counted once."""
    found = [Directions.of(graph, reverse=reverse, dtype=torch.float64).degrees for graph in graphs]
    return float((torch.cat(found) + 1).log().mean())

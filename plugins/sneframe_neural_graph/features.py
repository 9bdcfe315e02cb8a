"""Give every node and every edge of a network its first code."""

from __future__ import annotations

import warnings
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import deep_iterable, ge
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.nn.graph.blocks import EdgeBlock, NodeGraph
from sneframe.nn.graph.graphs import Graphs
from sneframe.nn.graph.kernels import Kernels, edge_weights, vector_kind, vectors_of
from sneframe.nn.graph.node_vectors import NodeVectors
from sneframe.nn.graph.tensors import FEATURES
from sneframe_neural_graph.fourier import FourierCodes
from sneframe_neural_graph.node_probes import NodeProbes

BIAS = "bias"  #: the key of the codes of biases; other vectors have their type, such as batch_norm_weight


@frozen(kw_only=True)
class FeatureOptions:
    """How weights become codes. The options of both encoders of neural graphs contain these."""

    frequencies: int = option(64, "number of Fourier frequencies for each weight; 0: none", check=ge(0))
    scale: float = option(3.0, "standard deviation of the frequencies", check=ge(0))
    reverse: bool = option(True, "for every edge there is an edge back, and each has the features of both")
    linear_as_kernel: bool = option(
        True, "a linear layer is read as a kernel with one position, in the centre"
    )
    activations: bool = option(
        True, "each hidden node has a learned vector for the activation after its layer"
    )
    probes: int = option(
        0, "K, number of learned inputs at which each neuron is evaluated; 0: none", check=ge(0)
    )
    size: tuple[int, ...] = option(
        (),
        "for probes: height and width of images, or length of texts, where a description does not tell "
        "it; empty: that of the other networks",
        converter=as_tuple,
        check=deep_iterable(ge(1)),
    )


@final
class GraphFeatures(nn.Module):
    """The first codes of nodes and edges (Kofinas et al., ICLR 2024, section 2 and appendix).

    A node starts from its bias, and from norms and other vectors on it, and has a learned vector of its kind
    (:class:`~sneframe.nn.graph.node_vectors.NodeVectors`). An edge starts from its weight, or from its
    kernel, which is padded to the largest kernel of the training zoo around its centre. Several edges between
    two neurons, such as those of a map that was flattened, differ by a linear map of their position.

    With probes, the node also starts from what it computes
    (:class:`~sneframe_neural_graph.node_probes.NodeProbes`).

    Args:
        architectures: architectures of the training zoo.
        options: see :class:`FeatureOptions`.
        width: the width of node codes.
        edge_width: the width of edge codes.
    """

    def __init__(
        self, architectures: tuple[Architecture, ...], options: FeatureOptions, *, width: int, edge_width: int
    ) -> None:
        super().__init__()
        self.options = options
        self.graph = Graphs()
        graphs = self.graph.known(architectures)
        only = [graph for _, graph in graphs]
        self.kernels = Kernels.of(only, linear="centre" if options.linear_as_kernel else "apart")
        fourier = partial(FourierCodes, frequencies=options.frequencies, scale=options.scale)
        copies = 3 if options.reverse else 1
        counts = self.kernels.counts
        self.weights = nn.ModuleDict(
            {key: fourier(copies * count, edge_width) for key, count in counts.items()}
        )
        self.edge_in = nn.Linear(edge_width, edge_width)
        kinds = {vector_kind(a, number) for a, graph in graphs for number, _ in graph.vectors} | {BIAS}
        self.vectors = nn.ModuleDict({kind: fourier(1, width) for kind in sorted(kinds)})
        self.node_in = nn.Linear(width, width)
        self.kinds = NodeVectors(only, width)
        self.names = sorted({name for graph in only for name in graph.activations} - {"none"})
        self.activations = nn.Parameter(torch.randn(len(self.names) if options.activations else 0, width))
        self.positions = nn.Linear(2 * FEATURES, edge_width, bias=False)
        nn.init.zeros_(self.positions.weight)
        self.probes = (
            NodeProbes(architectures, probes=options.probes, width=width, size=options.size)
            if options.probes
            else None
        )
        self._said = list(self.probes.probed.said) if self.probes is not None else []

    def say(self, part: str) -> None:
        """Warn once of what probes assume, in the name of a part."""
        for line in self._said:
            warnings.warn(f"{part}: {line}", stacklevel=3)
        self._said.clear()

    def edges(self, networks: Networks, block: EdgeBlock, *, back: bool) -> Tensor:
        """Return the codes of the edges of a block, ``(B, targets, n, D)``, or of the edges back.

        Raises:
            PartError: a kernel is larger than every kernel of the training zoo, or has other axes.
        """
        key = self.kernels.key(networks.architecture, block)
        at = self.kernels.places(block).to(networks.weights.device)
        if self.options.reverse:
            zero = torch.zeros_like(at)
            at = torch.cat([zero, at, at] if back else [at, zero, at])
        codes: Tensor = self.weights[key](edge_weights(networks, block), at, then=self.edge_in)
        if block.targets.waves is not None:
            waves = rearrange(block.targets.waves, "t f -> t 1 f")
            codes = codes + F.linear(waves.to(codes.dtype), self.positions.weight[:, :FEATURES])
        if (of_sources := block.source_waves) is not None:
            codes = codes + F.linear(of_sources.to(codes.dtype), self.positions.weight[:, FEATURES:])
        return codes

    def absent(self, like: Tensor) -> Tensor:
        """Return the code ``(D,)`` of an edge that a graph lacks, whose weights are all 0."""
        key = self.kernels.first
        copies = 3 if self.options.reverse else 1
        at = like.new_zeros(copies * self.kernels.counts[key], 1)
        code: Tensor = self.weights[key](like.new_zeros(1), at, then=self.edge_in)
        return code

    def nodes(self, networks: Networks, graph: NodeGraph) -> Tensor:
        """Return the codes of all nodes, ``(B, V, D)``.

        Raises:
            PartError: a network has more inputs or outputs than any training network, or a parameter of a
                type that none has.
        """
        architecture, weights = networks.architecture, networks.weights
        biases = weights.new_zeros(len(weights), graph.size, 1)
        others = []
        for kind, ends, values in vectors_of(networks, graph, self.vectors):
            if kind == BIAS:
                biases = biases.index_add(1, ends.nodes, values)
            else:
                others.append((ends, self.vectors[kind](values)))
        codes: Tensor = self.vectors[BIAS](biases)
        for ends, own in others:
            codes = codes.index_add(1, ends.nodes, own.to(codes))
        if self.probes is not None and (added := self.probes(networks, graph)) is not None:
            codes = codes + added
        return self.node_in(codes) + self._kinds(architecture, graph).to(codes)

    def _kinds(self, architecture: Architecture, graph: NodeGraph) -> Tensor:
        """Return the learned vectors of the kind and the activation of each node, ``(V, D)``."""
        found: Tensor = self.kinds(architecture, graph)
        rows = []
        for number, node_set in enumerate(graph.graph.node_sets):
            row = found[graph.nodes(number)]
            name = graph.activations[number]
            if self.options.activations and graph.levels[number] is not None and name in self.names:
                row = row + self.activations[self.names.index(name)].expand(node_set.size, -1)
            rows.append(row)
        return torch.cat(rows)

    def leaves_out(self, architecture: Architecture) -> str | None:
        """Return what is not read of the networks of an architecture, in one line, or None."""
        if self.probes is not None and (why := self.probes.probed.obstacle(architecture)) is not None:
            return f"not evaluated at the probes: {why}"
        graph = self.graph(architecture, torch.zeros(1))
        found = sorted({name for name in graph.activations if name not in (*self.names, "none")})
        if found and self.options.activations:
            return f"no training network has the activation {' or '.join(found)}, so its codes have none"
        return self.kinds.unseen(graph)

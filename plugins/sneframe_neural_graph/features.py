"""Give every node and every edge of a network its first code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.errors import PartError
from sneframe.nn.graph.blocks import Block, NodeGraph
from sneframe.nn.graph.tensors import FEATURES
from sneframe_neural_graph.fourier import FourierCodes

BIAS = "bias"  #: the key of the codes of biases; other vectors have their type, such as batch_norm.weight
TIE = 1.0  #: the weight of an edge between neurons whose values are added


@frozen(kw_only=True)
class FeatureOptions:
    """How weights become codes.

    Args:
        node_width: the width of node codes.
        edge_width: the width of edge codes.
        frequencies: F, the number of Fourier frequencies for each weight; 0 for none.
        scale: the standard deviation of the frequencies.
        reverse: whether an edge leads back for every edge, and every edge has the features of both.
        linear_as_kernel: whether a linear layer is read as a kernel of one position, in the centre.
        activations: whether a node has a learned vector for the activation after its layer.
    """

    node_width: int
    edge_width: int
    frequencies: int
    scale: float
    reverse: bool
    linear_as_kernel: bool
    activations: bool


@final
class GraphFeatures(nn.Module):
    """The first codes of nodes and edges (Kofinas et al., ICLR 2024, section 2 and appendix).

    A node starts from its bias, and from norms and other vectors on it. An edge starts from its weight, or
    from its kernel, which is padded to the largest kernel of the training zoo around its centre. Each input
    and each output has a learned vector of its own. All neurons of a hidden layer share one, because their
    order has no meaning.

    A network with more hidden layers than any training network reads vectors that are interpolated at the
    relative depths of its layers. Several edges between two neurons, such as those of a map that was
    flattened, differ by a linear map of their position.

    Args:
        graphs: the graph of each architecture of the training zoo.
        options: see :class:`FeatureOptions`.

    Raises:
        PartError: see :meth:`edges` and :meth:`nodes`.
    """

    def __init__(self, graphs: Sequence[tuple[Architecture, NodeGraph]], options: FeatureOptions) -> None:
        super().__init__()
        self.options = options
        self.kernels = _largest(graphs, linear_as_kernel=options.linear_as_kernel)
        width, edge_width = options.node_width, options.edge_width
        fourier = partial(FourierCodes, frequencies=options.frequencies, scale=options.scale)
        copies = 3 if options.reverse else 1
        self.weights = nn.ModuleDict(
            {key: fourier(copies * _count(size), edge_width) for key, size in self.kernels.items()}
        )
        self.edge_in = nn.Linear(edge_width, edge_width)
        types = {_kind(a, number) for a, graph in graphs for number, _ in graph.vectors} | {BIAS}
        self.vectors = nn.ModuleDict({_key(kind): fourier(1, width) for kind in sorted(types)})
        self.node_in = nn.Linear(width, width)
        self.input_vectors = _vectors(max((_size(g, g.inputs) for _, g in graphs), default=0), width)
        self.hidden_vectors = _vectors(max(g.hidden for _, g in graphs), width)
        self.output_vectors = _vectors(max(_size(g, g.outputs) for _, g in graphs), width)
        self.names = sorted({name for _, graph in graphs for name in graph.activations} - {"none"})
        known = len(self.names) if options.activations else 0
        self.activation_vectors = _vectors(known, width)
        self.positions = nn.Linear(2 * FEATURES, edge_width, bias=False)
        nn.init.zeros_(self.positions.weight)

    # -- edges -----------------------------------------------------------------------------------------------

    def edges(self, networks: Networks, block: Block, *, back: bool) -> Tensor:
        """Return the codes of the edges of a block, ``(B, targets, n, D)``, or of the edges back.

        Raises:
            PartError: a kernel is larger than every kernel of the training zoo, or has other axes.
        """
        architecture, edges = networks.architecture, block.edges
        if edges is None or edges.parameter is None:
            key, size = self._smallest()
            values = networks.weights.new_full((1, *block.shape, 1), TIE)
        else:
            key, size = self._fitting(architecture, edges.parameter, edges.kernel)
            values = _weights(networks, block)
        at = _places(edges.kernel if edges is not None else (), size).to(values.device)
        if self.options.reverse:
            zero = torch.zeros_like(at)
            at = torch.cat([zero, at, at] if back else [at, zero, at])
        codes: Tensor = self.weights[key](values, at, then=self.edge_in)
        waves = [
            rearrange(block.targets.waves, "t f -> t 1 f") if block.targets.waves is not None else None,
            _source_waves(block),
        ]
        for number, wave in enumerate(waves):
            if wave is not None:
                part = self.positions.weight[:, number * FEATURES : (number + 1) * FEATURES]
                codes = codes + nn.functional.linear(wave.to(part.dtype), part)
        return codes

    def absent(self, like: Tensor) -> Tensor:
        """Return the code ``(D,)`` of an edge that a graph lacks, whose weights are all 0."""
        key, _ = self._smallest()
        numbers = like.new_zeros(1)
        at = numbers.new_zeros(_numbers(self.weights[key]), 1)
        code: Tensor = self.weights[key](numbers, at, then=self.edge_in)
        return code

    def _smallest(self) -> tuple[str, tuple[int, ...]]:
        """Return the key and the size of the codes that read a linear layer."""
        return next(iter(self.kernels.items()))

    def _fitting(
        self, architecture: Architecture, parameter: int, kernel: tuple[int, ...]
    ) -> tuple[str, tuple[int, ...]]:
        if not kernel:
            return self._smallest()
        key = str(len(kernel))
        size = self.kernels.get(key)
        if size is None or any(own > most for own, most in zip(kernel, size, strict=True)):
            name = architecture.parameters[parameter].name
            shown = "×".join(map(str, kernel))
            most = "no such kernel" if size is None else f"kernels up to {'×'.join(map(str, size))}"
            raise PartError(
                f"the kernel of {name!r} has {shown} positions, but the training networks have {most}"
            )
        return key, size

    # -- nodes -----------------------------------------------------------------------------------------------

    def nodes(self, networks: Networks, graph: NodeGraph, added: Tensor | None) -> Tensor:
        """Return the codes of all nodes, ``(B, V, D)``.

        Args:
            networks: the networks.
            graph: their graph.
            added: ``(B, V, D)``, what the nodes compute at the probes, or None.

        Raises:
            PartError: a network has more inputs or outputs than any training network, or a parameter of a
                type that none has.
        """
        architecture, weights = networks.architecture, networks.weights
        biases = weights.new_zeros(len(weights), graph.size, 1)
        others = []
        for number, ends in graph.vectors:
            start = architecture.offsets[number]
            values = weights[:, start : start + ends.size].unsqueeze(2)
            kind = _kind(architecture, number)
            if kind == BIAS:
                biases = biases.index_add(1, ends.nodes, values)
            else:
                others.append((kind, number, ends, values))
        codes: Tensor = self.vectors[BIAS](biases)
        for kind, number, ends, values in others:
            if _key(kind) not in self.vectors:
                name = architecture.parameters[number].name
                raise PartError(f"{name!r} has the type {kind}, which no training network has")
            codes = codes.index_add(1, ends.nodes, self.vectors[_key(kind)](values).to(codes))
        if added is not None:
            codes = codes + added
        codes = self.node_in(codes)
        return codes + self._kinds(architecture, graph).to(codes)

    def _kinds(self, architecture: Architecture, graph: NodeGraph) -> Tensor:
        """Return the learned vectors of the kinds of nodes, ``(V, D)``."""
        rows = []
        hidden = self._hidden(graph.hidden)
        for number, node_set in enumerate(graph.graph.node_sets):
            level = graph.levels[number]
            if level is not None:
                row = hidden[level].expand(node_set.size, -1)
                name = graph.activations[number]
                if self.options.activations and name in self.names:
                    row = row + self.activation_vectors[self.names.index(name)]
            else:
                is_output = number == graph.outputs
                table = self.output_vectors if is_output else self.input_vectors
                if node_set.size > len(table):
                    raise PartError(
                        f"{architecture.summary} has {node_set.size} {'outputs' if is_output else 'inputs'}, "
                        f"but the training networks have at most {len(table)}"
                    )
                row = table[: node_set.size]
            rows.append(row)
        return torch.cat(rows)

    def _hidden(self, count: int) -> Tensor:
        """Return the vectors of ``count`` hidden layers, ``(count, D)``."""
        known = len(self.hidden_vectors)
        if count <= known:
            return self.hidden_vectors[:count]
        place = torch.linspace(0, known - 1, count, device=self.hidden_vectors.device)
        below = place.floor().long().clamp(max=max(0, known - 2))
        above = (below + 1).clamp(max=known - 1)
        share = (place - below).unsqueeze(1).to(self.hidden_vectors.dtype)
        return self.hidden_vectors[below] * (1 - share) + self.hidden_vectors[above] * share

    def unseen(self, graph: NodeGraph) -> str | None:
        """Return what the codes do not tell about the networks of a graph, in one line, or None."""
        found = sorted({name for name in graph.activations if name not in (*self.names, "none")})
        if found and self.options.activations:
            return f"no training network has the activation {' or '.join(found)}, so its codes have none"
        if graph.hidden > len(self.hidden_vectors):
            return (
                f"{graph.hidden} hidden layers, but training networks have at most "
                f"{len(self.hidden_vectors)}: the vectors that tell layers apart are interpolated"
            )
        return None


def _largest(
    graphs: Sequence[tuple[Architecture, NodeGraph]], *, linear_as_kernel: bool
) -> dict[str, tuple[int, ...]]:
    """Return the largest kernel for each number of axes. The first also reads linear layers."""
    found: dict[int, tuple[int, ...]] = {}
    for _, graph in graphs:
        for block in graph.blocks:
            if block.edges is not None:
                kernel = block.edges.kernel
                before = found.get(len(kernel), kernel)
                found[len(kernel)] = tuple(map(max, before, kernel))
    kernels = {str(axes): found[axes] for axes in sorted(found) if axes}
    if kernels and linear_as_kernel:
        return kernels
    return {"0": (), **kernels}


def _places(kernel: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Return the matrix ``(k, n)`` that brings the n positions of a kernel to the centre of the largest one.

    A linear layer has the kernel (), which is one position.
    """
    own = kernel or (1,) * len(size)
    starts = [(most - each) // 2 for most, each in zip(size, own, strict=True)]
    numbers = torch.arange(_count(size)).reshape(size)
    window = numbers[tuple(slice(start, start + each) for start, each in zip(starts, own, strict=True))]
    places = torch.zeros(_count(size), window.numel())
    places[window.flatten(), torch.arange(window.numel())] = 1
    return places


def _count(size: tuple[int, ...]) -> int:
    count = 1
    for each in size:
        count *= each
    return count


def _numbers(codes: nn.Module) -> int:
    """Return k, how many numbers Fourier codes read."""
    assert isinstance(codes, FourierCodes)
    return codes.linear.in_features if codes.frequencies is None else codes.frequencies.shape[1]


def _weights(networks: Networks, block: Block) -> Tensor:
    """Return the weights of a block's edges, ``(B, targets, n, positions)``."""
    edges = block.edges
    assert edges is not None
    assert edges.parameter is not None
    architecture = networks.architecture
    start = architecture.offsets[edges.parameter]
    flat = networks.weights[:, start : start + architecture.parameters[edges.parameter].size]
    order = [0, *(axis + 1 for axis in edges.order)]
    return flat.unflatten(1, edges.shape).permute(order).reshape(len(flat), *block.shape, -1)


def _source_waves(block: Block) -> Tensor | None:
    """Return the waves of the sources of each edge, ``(1, n, FEATURES)`` or ``(targets, n, FEATURES)``."""
    waves = block.sources.waves
    if waves is None:
        return None
    return waves.unflatten(0, block.shape) if block.own else waves.unsqueeze(0)


def _kind(architecture: Architecture, parameter: int) -> str:
    """Return the kind of a vector: ``bias`` for the bias of a layer with weights, else its type."""
    layer = architecture.layers[architecture.layer_of_parameter[parameter]]
    is_bias = architecture.parameters[parameter].role == "bias" and any(
        len(each.shape) > 1 for each in layer.parameters
    )
    return BIAS if is_bias else architecture.types[parameter]


def _key(kind: str) -> str:
    return kind.replace(".", "_")


def _size(graph: NodeGraph, node_set: int | None) -> int:
    return 0 if node_set is None else graph.graph.node_sets[node_set].size


def _vectors(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(count, width))

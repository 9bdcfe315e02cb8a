"""Arrange the edges of a network as blocks of pairs of slots, for methods that compute on single edges.

A block holds the edges of one parameter: every target slot with every source slot, or with its own sources.
So what is computed for all edges is a dense tensor ``(B, targets, n, …)`` without indices, where n is the
number of sources of a target. Only what is summed at slots is gathered and scattered by nodes. All nodes of a
network are numbered through, one node set after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.nn.graph.graph import Edges, Graph, Slots
from sneframe.nn.graph.graph_builder import graph_of
from sneframe.nn.graph.places import output_set
from sneframe.nn.graph.tensors import waves


@frozen(kw_only=True, eq=False)
class Ends:
    """The slots at one end of a block. Each holds one node, because each layer has nodes of its own.

    Args:
        size: the number of slots.
        nodes: ``(size,)``, the node of each slot, numbered through the network.
        start: the first node, if slot i holds node ``start`` + i; otherwise None.
        waves: ``(size, FEATURES)``, sines and cosines of the slots' coordinates; None if there are none.
    """

    size: int
    nodes: Tensor
    start: int | None
    waves: Tensor | None

    def gather(self, values: Tensor) -> Tensor:
        """Return the values of the node of each slot, ``(B, size, D)``, for ``values (B, V, D)``."""
        if self.start is not None:
            return values[:, self.start : self.start + self.size]
        return values.index_select(1, self.nodes)


@frozen(kw_only=True, eq=False)
class EdgeBlock:
    """The edges of one parameter, or the ties between two node sets.

    Args:
        edges: the edges; None for ties, which have no weights.
        targets: the slots to which the edges lead.
        sources: the slots from which they come. If each target has n sources of its own, those of the first
            target come first.
        own: whether each target has sources of its own.
        degree: n, the number of sources of a target.
    """

    edges: Edges | None
    targets: Ends
    sources: Ends
    own: bool
    degree: int

    @cached_property
    def shape(self) -> tuple[int, int]:
        """The number of targets, and the number of sources of a target."""
        return self.targets.size, self.degree

    def at_targets(self, values: Tensor) -> Tensor:
        """Return the values at the target of each edge, ``(B, targets, 1, D)``, for ``values (B, V, D)``."""
        return self.targets.gather(values).unsqueeze(2)

    def at_sources(self, values: Tensor) -> Tensor:
        """Return the values at the source of each edge, for ``values (B, V, D)``.

        Returns:
            ``(B, 1, n, D)``, or ``(B, targets, n, D)`` if each target has sources of its own.
        """
        found = self.sources.gather(values)
        return found.unflatten(1, self.shape) if self.own else found.unsqueeze(1)

    @property
    def source_waves(self) -> Tensor | None:
        """The waves of the source of each edge, ``(1 or targets, n, FEATURES)``, or None."""
        if self.sources.waves is None:
            return None
        return self.sources.waves.unflatten(0, self.shape) if self.own else self.sources.waves.unsqueeze(0)


@frozen(kw_only=True, eq=False)
class NodeGraph:
    """The graph of an architecture with a node for each neuron of each layer, as tensors on one device.

    Args:
        graph: the graph.
        starts: for each node set, its first node.
        size: V, the number of nodes.
        blocks: the edges of each parameter, and then the ties.
        vectors: ``(architecture's index of the parameter, its targets)`` for each vector, such as a bias.
        levels: for each node set, its number among the hidden sets; None for the inputs and the outputs.
            Outputs that a group permutes, as in a network whose last weights are tied to the first, count as
            hidden.
        hidden: the number of hidden node sets.
        inputs: the index of the node set of the first input, or None.
        outputs: the index of the node set of the outputs.
        activations: for each node set, the name of the function after its values.
    """

    graph: Graph
    starts: tuple[int, ...]
    size: int
    blocks: tuple[EdgeBlock, ...]
    vectors: tuple[tuple[int, Ends], ...]
    levels: tuple[int | None, ...]
    hidden: int
    inputs: int | None
    outputs: int
    activations: tuple[str, ...]

    def nodes(self, node_set: int) -> slice:
        """Return where the nodes of a node set lie among all nodes."""
        return slice(self.starts[node_set], self.starts[node_set] + self.graph.node_sets[node_set].size)


def node_graph(architecture: Architecture, device: torch.device, dtype: torch.dtype) -> NodeGraph:
    """Return the graph of an architecture with nodes for each layer. Waves have the type ``dtype``."""
    graph = graph_of(architecture, per_layer=True)
    sizes = [node_set.size for node_set in graph.node_sets]
    starts = tuple(int(start) for start in np.cumsum([0, *sizes])[:-1])
    blocks, vectors = [], []
    for edges in graph.edges:
        targets = _ends(edges.targets, starts, device, dtype)
        vectors += [(number, targets) for number in edges.vectors]
        if edges.parameter is not None:
            assert edges.sources is not None
            sources, own = _ends(edges.sources, starts, device, dtype), edges.own_sources
            degree = edges.sources.size // edges.targets.size if own else edges.sources.size
            blocks.append(EdgeBlock(edges=edges, targets=targets, sources=sources, own=own, degree=degree))
    for earlier, later in graph.ties:
        both = [_whole(starts[number], sizes[number], device) for number in (later, earlier)]
        blocks.append(EdgeBlock(edges=None, targets=both[0], sources=both[1], own=True, degree=1))
    outputs = output_set(graph)
    inputs = next((n for n, each in enumerate(graph.node_sets) if each.fixed and not each.parameters), None)
    ordered = (inputs, outputs if graph.node_sets[outputs].fixed else None)
    hidden = [number for number in range(len(sizes)) if number not in ordered]
    return NodeGraph(
        graph=graph,
        starts=starts,
        size=sum(sizes),
        blocks=tuple(blocks),
        vectors=tuple(vectors),
        levels=tuple(hidden.index(n) if n in hidden else None for n in range(len(sizes))),
        hidden=len(hidden),
        inputs=inputs,
        outputs=outputs,
        activations=_activations(architecture, graph),
    )


def _ends(slots: Slots, starts: Sequence[int], device: torch.device, dtype: torch.dtype) -> Ends:
    """Return slots with their nodes, numbered through the network."""
    nodes = np.concatenate([held.nodes + starts[held.node_set] for held in slots.nodes])
    held_slots = np.concatenate([held.slots for held in slots.nodes])
    order = np.argsort(held_slots, kind="stable")
    nodes, held_slots = nodes[order], held_slots[order]
    assert np.array_equal(held_slots, np.arange(slots.size)), "a slot must hold one node"
    in_order = np.array_equal(nodes, nodes[0] + np.arange(slots.size))
    has_coordinates = not np.isnan(slots.coordinates).all()
    return Ends(
        size=slots.size,
        nodes=torch.from_numpy(nodes).to(device),
        start=int(nodes[0]) if in_order else None,
        waves=waves(slots.coordinates).to(device, dtype) if has_coordinates else None,
    )


def _whole(start: int, size: int, device: torch.device) -> Ends:
    """Return one slot for each node of a node set."""
    nodes = torch.arange(start, start + size, device=device)
    return Ends(size=size, nodes=nodes, start=start, waves=None)


def _activations(architecture: Architecture, graph: Graph) -> tuple[str, ...]:
    """Return the name of the last function that a layer with parameters in each node set applies."""
    layers = architecture.layer_of_parameter
    found = []
    for node_set in graph.node_sets:
        names = [architecture.layers[layers[number]].activation for number in node_set.parameters]
        found.append(next((name for name in reversed(names) if name != "none"), "none"))
    return tuple(found)

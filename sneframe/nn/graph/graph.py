"""Define the graph of an architecture: its nodes, its edges, and the slots at the ends of the edges.

The docstring of the package defines these words and gives an example. Two facts follow from the definitions.
First, a residual stream is one neuron group, so it is one node set, and the edges of several parameters lead
to this set, in the order of the layers. Second, neurons of a group have no positions, so whatever is computed
from the graph is equivariant to permutations of neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import field, frozen

#: Coordinates distinguish slots that hold the same node. There are six: the segment of the axis (such as a
#: GRU's gate), a fixed factor before the neuron group, a fixed factor after the group (such as the position
#: in a flattened map), and up to three axes of a convolution kernel.
COORDINATES = 6
SEGMENT, BEFORE, BEHIND, KERNEL = range(4)


@frozen(kw_only=True)
class NodeSet:
    """The nodes of one neuron group, or of one axis that no group permutes.

    Args:
        size: the number of nodes.
        fixed: whether the nodes are the indices of an axis that no group permutes. Only such nodes have
            positions.
        parameters: the indices of the parameters that lead to these nodes, in the order of the layers. Empty
            for the input of the network.
        groups: the names of the neuron groups whose neurons the nodes are. Empty if ``fixed``.
    """

    size: int
    fixed: bool
    parameters: tuple[int, ...]
    groups: tuple[str, ...] = field(default=(), repr=False)


@frozen(kw_only=True, eq=False)
class SlotNodes:
    """Says for one node set which slot holds which of its nodes: ``slots[i]`` holds ``nodes[i]``.

    A slot is one index along an axis of a parameter.

    Args:
        node_set: the index of the node set in the graph.
        slots: ``(n,)`` indices of slots.
        nodes: ``(n,)`` indices of nodes.
    """

    node_set: int
    slots: np.ndarray
    nodes: np.ndarray


@frozen(kw_only=True, eq=False)
class Slots:
    """All slots at one end of a parameter's edges: its rows (targets) or its columns (sources).

    Args:
        size: the number of slots.
        nodes: the nodes that the slots hold, with one entry for each node set. A slot occurs in no entry if
            it stands for an input that has no node. It occurs in several entries if several groups permute
            its axis.
        coordinates: ``(size, COORDINATES)`` numbers in [−1, 1] that distinguish slots of the same node. A
            coordinate that does not apply is NaN.
    """

    size: int
    nodes: tuple[SlotNodes, ...]
    coordinates: np.ndarray


@frozen(kw_only=True, eq=False)
class Edges:
    """The edges of one parameter, and the vectors on the same targets. There may be vectors without edges.

    Args:
        parameter: the index of the parameter whose weights are the edges. None if there are only vectors.
        shape: the shape of the parameter. The first axis of a grouped transposed convolution is split in two:
            blocks, and channels of a block.
        order: the axes of that shape in the order targets, sources, kernel.
        targets: the slots to which the edges lead.
        sources: the slots from which the edges come. None if the layer reads one number that has no node, or
            if there are only vectors.
        own_sources: whether each target has sources of its own, as in a depthwise or grouped convolution.
            Then a target has ``sources.size / targets.size`` sources, and those of the first target come
            first. Otherwise every source has an edge to every target.
        vectors: the indices of parameters with one weight for each target, such as a bias.
        activation: the name of the function after the layer.
        kernel: the sizes of the kernel, if its positions are numbers of one edge. Otherwise empty: each
            position is a slot.
    """

    parameter: int | None
    shape: tuple[int, ...]
    order: tuple[int, ...]
    targets: Slots
    sources: Slots | None
    own_sources: bool
    vectors: tuple[int, ...]
    activation: str
    kernel: tuple[int, ...] = ()


@frozen(kw_only=True, eq=False)
class Graph:
    """The node sets of an architecture, and the edges of its parameters in the order of its layers.

    Args:
        node_sets: the node sets.
        edges: the edges of each parameter, and vectors.
        ties: pairs of node sets of equal size, the earlier one first. The values of the nodes with the same
            index are added, as in a residual network, or meet element by element. There are ties only if each
            layer has nodes of its own.
    """

    node_sets: tuple[NodeSet, ...]
    edges: tuple[Edges, ...]
    ties: tuple[tuple[int, int], ...] = ()


def empty_slots(size: int) -> Slots:
    """Return ``size`` slots that hold no nodes and have no coordinates."""
    return Slots(size=size, nodes=(), coordinates=np.full((size, COORDINATES), np.nan))


def with_kernel(slots: Slots, kernel: Sequence[int]) -> Slots:
    """Repeat each slot for every position of a kernel. The position varies fastest.

    Args:
        slots: the slots without the kernel.
        kernel: the shape of the kernel. Only its first three axes get coordinates.
    """
    count = math.prod(kernel)
    if count == 1:
        return slots
    positions = np.indices(kernel).reshape(len(kernel), -1)
    coordinates = np.repeat(slots.coordinates, count, axis=0)
    for axis, (size, values) in enumerate(zip(kernel[:3], positions, strict=False)):
        if size > 1:
            coordinates[:, KERNEL + axis] = np.tile(centred(values, size), slots.size)
    nodes = tuple(
        SlotNodes(
            node_set=held.node_set,
            slots=(held.slots[:, None] * count + np.arange(count)).ravel(),
            nodes=np.repeat(held.nodes, count),
        )
        for held in slots.nodes
    )
    return Slots(size=slots.size * count, nodes=nodes, coordinates=coordinates)


def centred(values: np.ndarray, size: int) -> np.ndarray:
    """Map the positions 0 … size − 1 to equally spaced numbers in [−1, 1]."""
    return (2 * values + 1) / size - 1

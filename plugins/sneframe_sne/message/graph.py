"""The graph of an architecture: its nodes, the slots at the ends of its edges, and its edges.

The package's docstring defines the words and gives an example. Two rules follow from them. A residual stream
is one neuron group, so it is one node set, and the edges of several parameters lead to it, in the order of
the layers. And a graph does not number the neurons within a group, so whatever is computed from the
graph is equivariant to permutations of neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

#: Coordinates distinguish slots that hold the same node. There are six: the segment of the axis (such as a
#: GRU's gate), a fixed factor before the neuron group, one after it (the position in a flattened map), and up
#: to three axes of a convolution kernel.
COORDINATES = 6
SEGMENT, BEFORE, BEHIND, KERNEL = range(4)


@frozen(kw_only=True)
class NodeSet:
    """The nodes of one neuron group, or of one axis that no group permutes.

    Args:
        size: the number of nodes.
        fixed: whether these are the indices of an axis that no group permutes; only such nodes have a
            position.
        parameters: the parameters whose edges or vectors lead to these nodes, in order; none for the
            network's input.
    """

    size: int
    fixed: bool
    parameters: tuple[int, ...]


@frozen(kw_only=True, eq=False)
class SlotNodes:
    """The nodes of one node set that some slots hold: slot ``slots[i]`` holds node ``nodes[i]``.

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
        nodes: the nodes that the slots hold, one entry for each node set. A slot occurs in no entry where it
            stands for an input that has no node, and in several where several groups permute its axis.
        coordinates: ``(size, COORDINATES)`` numbers in [−1, 1] that distinguish slots of the same node, NaN
            where a coordinate does not apply.
    """

    size: int
    nodes: tuple[SlotNodes, ...]
    coordinates: np.ndarray


@frozen(kw_only=True, eq=False)
class Edges:
    """The edges of one parameter, if any, and the vectors on the same target slots.

    Args:
        parameter: the parameter whose weights are the edges; None where there are only vectors.
        shape: the parameter's shape. The first axis of a grouped transposed convolution is split in two, into
            blocks and channels of a block.
        order: the axes of that shape in the order targets, sources, kernel.
        targets: the slots to which the edges lead.
        sources: the slots from which the edges come; None where they come from an input that has no node.
        own_sources: whether each target has sources of its own, as in a depthwise or grouped convolution.
            Then the sources of the first target come first, and each target has ``sources.size /
            targets.size`` of them. Otherwise every source has an edge to every target.
        vectors: the parameters with one weight for each target, such as a bias.
        activation: the name of the function after the layer.
    """

    parameter: int | None
    shape: tuple[int, ...]
    order: tuple[int, ...]
    targets: Slots
    sources: Slots | None
    own_sources: bool
    vectors: tuple[int, ...]
    activation: str


@frozen(kw_only=True, eq=False)
class Graph:
    """The node sets of an architecture, and the edges of its parameters in the order of its layers."""

    node_sets: tuple[NodeSet, ...]
    edges: tuple[Edges, ...]


def empty_slots(size: int) -> Slots:
    """Return slots that hold no node."""
    return Slots(size=size, nodes=(), coordinates=np.full((size, COORDINATES), np.nan))


def with_kernel(slots: Slots, kernel: Sequence[int]) -> Slots:
    """Return the slots with each of them repeated for each position of a kernel, which varies fastest.

    Args:
        slots: the slots without the kernel.
        kernel: the kernel's shape; the coordinates tell at most three axes apart.
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
    """Return positions 0 … size − 1 as numbers in [−1, 1]."""
    return (2 * values + 1) / size - 1

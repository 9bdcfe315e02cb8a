"""An architecture as a graph: spaces of nodes, and the steps in which its parameters carry codes between them.

A space holds the neurons of one group, or the places of an axis that no group moves, such as inputs and outputs. A
residual stream is one group, so one space that several steps write, in the order in which the network does. A place that
several groups move holds a node of each: that of the head and that of the neuron within it. What a graph knows of a node
is its group and nothing of its place in it: everything made of it is equivariant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

#: What tells places apart that hold the same node: the segment of the axis, a fixed factor before the group (the gate of
#: a recurrence), one behind it (the position in a flattened map), and up to three axes of a kernel.
COORDINATES = 6
SEGMENT, BEFORE, BEHIND, KERNEL = range(4)


@frozen(kw_only=True)
class Space:
    """Nodes that are told apart by nothing but what the weights say of them.

    Args:
        size: how many.
        fixed: whether they are places of an axis that no group moves, and so have positions.
        parameters: that write to it, in order; none: it is the network's input.
    """

    size: int
    fixed: bool
    parameters: tuple[int, ...]


@frozen(kw_only=True, eq=False)
class Piece:
    """Some places of an end, and the nodes of one space that stand there.

    Args:
        space: its number.
        places: ``(n,)`` which places of the end.
        nodes: ``(n,)`` which node stands at each.
    """

    space: int
    places: np.ndarray
    nodes: np.ndarray


@frozen(kw_only=True, eq=False)
class End:
    """The places at one end of a parameter's edges.

    Args:
        size: how many.
        pieces: one for each space; a place is in none where the network's input stands there, in several where several
            groups move it.
        coordinates: ``(size, COORDINATES)`` in [−1, 1], NaN where there is none; what tells places of one node apart.
    """

    size: int
    pieces: tuple[Piece, ...]
    coordinates: np.ndarray


@frozen(kw_only=True, eq=False)
class Step:
    """One parameter's edges, or none, and the vectors that lie on the same places.

    Args:
        parameter: whose weights the edges are; None for vectors alone.
        shape: as what it is seen: its own, or with the axis over all groups of a grouped transposed convolution in two.
        order: the axes of that shape: those of the places written, then of the places read, then of the kernel.
        written: the places that the edges lead to.
        read: the places that they come from; None: from the network's input.
        own: whether each place written reads places of its own, ``read.size / written.size`` that follow each other, as
            in a depthwise or grouped convolution; else all read the same.
        vectors: parameters with one weight for each place written.
        activation: the name of the function behind the layer.
    """

    parameter: int | None
    shape: tuple[int, ...]
    order: tuple[int, ...]
    written: End
    read: End | None
    own: bool
    vectors: tuple[int, ...]
    activation: str


@frozen(kw_only=True, eq=False)
class Graph:
    """The spaces and steps of an architecture."""

    spaces: tuple[Space, ...]
    steps: tuple[Step, ...]


def nothing(size: int) -> End:
    """Return places that hold no node."""
    return End(size=size, pieces=(), coordinates=np.full((size, COORDINATES), np.nan))


def times(end: End, kernel: Sequence[int]) -> End:
    """Return an end with every place repeated for each place of a kernel, which varies fastest."""
    count = math.prod(kernel)
    if count == 1:
        return end
    along = np.indices(kernel).reshape(len(kernel), -1)
    coordinates = np.repeat(end.coordinates, count, axis=0)
    for number, (size, values) in enumerate(zip(kernel[:3], along, strict=False)):
        if size > 1:
            coordinates[:, KERNEL + number] = np.tile(centred(values, size), end.size)
    pieces = tuple(
        Piece(
            space=piece.space,
            places=(piece.places[:, None] * count + np.arange(count)).ravel(),
            nodes=np.repeat(piece.nodes, count),
        )
        for piece in end.pieces
    )
    return End(size=end.size * count, pieces=pieces, coordinates=coordinates)


def centred(values: np.ndarray, size: int) -> np.ndarray:
    """Return positions 0 … size − 1 as numbers in [−1, 1]."""
    return (2 * values + 1) / size - 1

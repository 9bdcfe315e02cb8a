"""An architecture as a graph: spaces of nodes, and the steps in which its parameters carry codes between them.

A space holds the neurons of one group, or the places of an axis that no group moves, such as inputs and outputs. A
residual stream is one group, so one space that several steps write, in the order in which the network does. What a
graph knows of a node is its group and nothing of its place in it: everything made of it is equivariant.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
from attrs import define, field, frozen

from sneframe.architecture import Architecture, Axis, Group, Layer, Parameter

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
        pieces: of which every place is in one.
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
        order: its axes: those of the places written, then of the places read, then of the kernel.
        written: the places that the edges lead to.
        read: the places that they come from; None: from the network's input, or from the written nodes themselves.
        itself: whether each node reads itself, as in a depthwise convolution.
        vectors: parameters with one weight for each place written.
        activation: the name of the function behind the layer.
    """

    parameter: int | None
    order: tuple[int, ...]
    written: End
    read: End | None
    itself: bool
    vectors: tuple[int, ...]
    activation: str


@frozen(kw_only=True, eq=False)
class Graph:
    """The spaces and steps of an architecture."""

    spaces: tuple[Space, ...]
    steps: tuple[Step, ...]


def graph_of(architecture: Architecture) -> Graph:
    """Return the graph of an architecture: every parameter is in one of its steps."""
    return _Builder(architecture=architecture).build()


@frozen(kw_only=True)
class _Roles:
    """Which axes of a parameter are written, which read, which are of a kernel."""

    written: tuple[int, ...]
    read: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()


@define(kw_only=True)
class _Builder:
    architecture: Architecture
    keys: dict[Hashable, int] = field(factory=dict)
    sizes: list[int] = field(factory=list)
    fixed: list[bool] = field(factory=list)
    writers: list[list[int]] = field(factory=list)
    outputs: dict[int, tuple[int, int]] = field(
        factory=dict
    )  #: of layers with a fixed output: space and size
    met: set[str] = field(factory=set)  #: groups that have been written

    @property
    def groups(self) -> Mapping[str, Group]:
        return {group.name: group for group in self.architecture.groups}

    def build(self) -> Graph:
        steps: list[Step] = []
        number = 0
        for index, layer in enumerate(self.architecture.layers):
            own: list[tuple[int, Parameter]] = list(enumerate(layer.parameters, start=number))
            number += len(own)
            steps += self._steps(index, layer, own)
        spaces = zip(self.sizes, self.fixed, self.writers, strict=True)
        return Graph(
            spaces=tuple(Space(size=s, fixed=f, parameters=tuple(w)) for s, f, w in spaces),
            steps=tuple(steps),
        )

    # -- the steps of a layer ---------------------------------------------------------------------------------------

    def _steps(self, index: int, layer: Layer, own: Sequence[tuple[int, Parameter]]) -> Iterator[Step]:
        vectors = [(number, parameter) for number, parameter in own if _is_vector(parameter)]
        for number, parameter in own:
            if _is_vector(parameter):
                continue
            roles = self._roles(layer, parameter)
            # A size of 1 tells nothing: a grey image, the one channel of a depthwise kernel.
            read = tuple(axis for axis in roles.read if parameter.shape[axis] > 1)
            axes = [parameter.axes[axis] for axis in roles.written]
            before = self.met & {factor for axis in axes for factor in _groups(axis)}
            source = self._end(index, parameter, read, roles.kernel, written=False) if read else None
            target = self._end(index, parameter, roles.written, (), written=True, writer=number)
            along = [n for n, vector in vectors if vector.axes and [vector.axes[0]] == axes]
            vectors = [(n, vector) for n, vector in vectors if n not in along]
            for lying in along:
                self._write(target, lying)
            itself = source is None and bool(before) and bool(layer.inputs)
            if source is None and roles.kernel:
                source = self._kernel(parameter, roles.kernel)
            yield Step(
                parameter=number,
                order=(*roles.written, *roles.read, *roles.kernel),
                written=target,
                read=source,
                itself=itself,
                vectors=tuple(along),
                activation=layer.activation,
            )
        alike: dict[tuple[Axis, ...], list[int]] = {}
        for number, vector in vectors:
            alike.setdefault(vector.axes, []).append(number)
        for numbers in alike.values():
            first = self.architecture.parameters[numbers[0]]
            target = self._end(index, first, tuple(range(len(first.shape))), (), written=True)
            for lying in numbers:
                self._write(target, lying)
            yield Step(
                parameter=None,
                order=(),
                written=target,
                read=None,
                itself=False,
                vectors=tuple(numbers),
                activation=layer.activation,
            )

    def _roles(self, layer: Layer, parameter: Parameter) -> _Roles:
        count = len(parameter.shape)
        if layer.kind == "embedding" or layer.kind.startswith("conv_transpose"):
            return _Roles(written=(1,), read=(0,), kernel=tuple(range(2, count)))
        new = [bool(_groups(axis) - self.met) for axis in parameter.axes]
        if count == 2 and layer.kind in ("linear", "parameter") and new == [False, True]:
            return _Roles(written=(1,), read=(0,))  # used as x @ W: what it leads to was not there before
        if count == 2 or layer.kind.startswith("conv"):
            return _Roles(written=(0,), read=(1,), kernel=tuple(range(2, count)))
        grouped = [axis for axis in range(count) if _groups(parameter.axes[axis])]
        written = [axis for axis in grouped if new[axis]] or grouped[-1:] or [0]
        read = [axis for axis in grouped if axis not in written]
        kernel = [axis for axis in range(count) if axis not in (*written, *read)]
        if not read and len(kernel) > 1:
            read = [kernel.pop()]
        return _Roles(written=tuple(written), read=tuple(read), kernel=tuple(kernel))

    # -- the places of an end ---------------------------------------------------------------------------------------

    def _end(
        self,
        index: int,
        parameter: Parameter,
        axes: Sequence[int],
        kernel: Sequence[int],
        *,
        written: bool,
        writer: int | None = None,
    ) -> End:
        """Return the places of some axes, each of them as often as the kernel has places."""
        shape = tuple(parameter.shape[axis] for axis in axes)
        numbers = np.arange(math.prod(shape)).reshape(shape)
        coordinates = np.full((*shape, COORDINATES), np.nan)
        found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        lengths = {name: group.size for name, group in self.groups.items()}
        spans = [list(_spans(parameter.axes[axis], lengths)) for axis in axes]
        for segments in itertools.product(*spans):
            window = tuple(slice(start, start + length) for start, length, _ in segments)
            many = [len(span) > 1 for span in spans]
            factors = [factor for _, _, segment in segments for factor in segment]
            grid = np.indices([lengths[f] if isinstance(f, str) else f for f in factors])
            inner = numbers[window].shape
            space, nodes, blocks = self._nodes(index, factors, grid, inner, written=written)
            found.setdefault(space, []).append((numbers[window].ravel(), nodes.ravel()))
            for kind, values in blocks.items():
                coordinates[..., kind][window] = values.reshape(inner)
            for place, is_one_of_many in enumerate(many):
                if is_one_of_many:
                    number = spans[place].index(segments[place])
                    coordinates[..., SEGMENT][window] = _centred(np.array(number), len(spans[place]))
        pieces = tuple(
            Piece(
                space=space,
                places=np.concatenate([p for p, _ in parts]),
                nodes=np.concatenate([n for _, n in parts]),
            )
            for space, parts in found.items()
        )
        end = End(size=numbers.size, pieces=pieces, coordinates=coordinates.reshape(-1, COORDINATES))
        if written:
            self.met |= {factor for axis in axes for factor in _groups(parameter.axes[axis])}
            if writer is not None:
                self._write(end, writer)
        return _times(end, [parameter.shape[axis] for axis in kernel])

    def _kernel(self, parameter: Parameter, kernel: Sequence[int]) -> End:
        """Return the places of a kernel that reads no node: one for each of its positions."""
        end = End(size=1, pieces=(), coordinates=np.full((1, COORDINATES), np.nan))
        return _times(end, [parameter.shape[axis] for axis in kernel])

    def _nodes(
        self,
        index: int,
        factors: Sequence[int | str],
        grid: np.ndarray,
        inner: tuple[int, ...],
        *,
        written: bool,
    ) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
        """Return of a block of places the space, the node at each, and the coordinates along its fixed factors."""
        names = [factor for factor in factors if isinstance(factor, str)]
        leaf = next((n for n in names if self.groups[n].parent in names), names[0] if names else None)
        flat = grid.reshape(len(factors), -1) if factors else np.zeros((0, 1), np.int64)
        if leaf is None:
            nodes = np.arange(math.prod(inner))
            return (*self._fixed(index, nodes), {}) if written else self._source(index, nodes)
        group = self.groups[leaf]
        nodes, size = flat[factors.index(leaf)], group.size
        if group.parent is not None:
            outer = self.groups[group.parent].size
            size *= outer
            if group.parent in names:
                nodes = nodes + group.size * flat[factors.index(group.parent)]
        blocks: dict[int, np.ndarray] = {}
        place = factors.index(leaf)
        for kind, others in ((BEFORE, range(place)), (BEHIND, range(place + 1, len(factors)))):
            sizes = [(n, f) for n in others if isinstance(f := factors[n], int) and f > 1]
            if sizes:
                value = np.zeros(flat.shape[1], np.int64)
                for n, f in sizes:
                    value = value * f + flat[n]
                blocks[kind] = _centred(value, math.prod(f for _, f in sizes))
        return self._space(("group", leaf), size, fixed=False), nodes, blocks

    def _fixed(self, index: int, nodes: np.ndarray) -> tuple[int, np.ndarray]:
        """Return the space of a layer's fixed outputs: that of its producer where it only rescales them."""
        source = self._producer(index)
        layer = self.architecture.layers[index]
        if source is not None and source[1] == len(nodes) and all(map(_is_vector, layer.parameters)):
            self.outputs[index] = source
            return source[0], nodes
        space = self._space(("output", index, len(nodes)), len(nodes), fixed=True)
        self.outputs[index] = (space, len(nodes))
        return space, nodes

    def _source(self, index: int, nodes: np.ndarray) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
        """Return the space of a layer's fixed inputs: its producer's outputs, in blocks where it was flattened."""
        count, source = len(nodes), self._producer(index)
        if source is not None and count % source[1] == 0:
            block = count // source[1]
            return source[0], nodes // block, {BEHIND: _centred(nodes % block, block)} if block > 1 else {}
        key = ("input", count) if not self.architecture.layers[index].inputs else ("input", index, count)
        return self._space(key, count, fixed=True), nodes, {}

    def _producer(self, index: int) -> tuple[int, int] | None:
        """Return space and size of the one fixed output that a layer reads, through layers without parameters."""
        found: set[tuple[int, int]] = set()
        waiting = list(self.architecture.layers[index].inputs)
        while waiting:
            source = waiting.pop()
            if source in self.outputs:
                found.add(self.outputs[source])
            elif not self.architecture.layers[source].parameters:
                waiting += self.architecture.layers[source].inputs
            else:
                return None
        return found.pop() if len(found) == 1 else None

    def _space(self, key: Hashable, size: int, *, fixed: bool) -> int:
        if key not in self.keys:
            self.keys[key] = len(self.sizes)
            self.sizes.append(size)
            self.fixed.append(fixed)
            self.writers.append([])
        return self.keys[key]

    def _write(self, end: End, parameter: int) -> None:
        for piece in end.pieces:
            self.writers[piece.space].append(parameter)


def _is_vector(parameter: Parameter) -> bool:
    return len(parameter.shape) <= 1


def _groups(axis: Axis) -> set[str]:
    return {factor for segment in axis for factor in segment if isinstance(factor, str)}


def _spans(axis: Axis, lengths: Mapping[str, int]) -> Iterator[tuple[int, int, tuple[int | str, ...]]]:
    """Yield where each segment of an axis starts, its length, and its factors."""
    start = 0
    for segment in axis:
        length = math.prod(lengths[factor] if isinstance(factor, str) else factor for factor in segment)
        yield start, length, segment
        start += length


def _times(end: End, kernel: Sequence[int]) -> End:
    """Return an end with every place repeated for each place of a kernel, which varies fastest."""
    count = math.prod(kernel)
    if count == 1:
        return end
    along = np.indices(kernel).reshape(len(kernel), -1)
    coordinates = np.repeat(end.coordinates, count, axis=0)
    for number, (size, values) in enumerate(zip(kernel[:3], along, strict=False)):
        if size > 1:
            coordinates[:, KERNEL + number] = np.tile(_centred(values, size), end.size)
    pieces = tuple(
        Piece(
            space=piece.space,
            places=(piece.places[:, None] * count + np.arange(count)).ravel(),
            nodes=np.repeat(piece.nodes, count),
        )
        for piece in end.pieces
    )
    return End(size=end.size * count, pieces=pieces, coordinates=coordinates)


def _centred(values: np.ndarray, size: int) -> np.ndarray:
    """Return positions 0 … size − 1 as numbers in [−1, 1]."""
    return (2 * values + 1) / size - 1

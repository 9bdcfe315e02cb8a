"""From an architecture to its graph: every parameter becomes edges of one step, or lies on the places of one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from attrs import define, field, frozen

from sneframe.architecture import Architecture, Axis, Group, Layer, Parameter
from sneframe_sne.message.graph import (
    BEFORE,
    BEHIND,
    COORDINATES,
    SEGMENT,
    End,
    Graph,
    Piece,
    Space,
    Step,
    centred,
    nothing,
    times,
)


def graph_of(architecture: Architecture) -> Graph:
    """Return the graph of an architecture: every parameter is in one of its steps."""
    return _Builder(architecture=architecture).build()


@frozen(kw_only=True)
class _Roles:
    """Which axes of a parameter are written, which read, which are of a kernel."""

    written: tuple[int, ...]
    read: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()


@define(kw_only=True, slots=False)
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

    @cached_property
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
        vectors = [(number, parameter) for number, parameter in own if _is_vector(layer, parameter)]
        for number, given in own:
            if _is_vector(layer, given):
                continue
            blocks = self._blocks(index, layer, given)
            parameter = self._split(given, blocks) if _is_transposed(layer) else given
            roles = self._roles(layer, given, split=parameter is not given)
            before = frozenset(self.met)
            source: End | None
            is_own = blocks > 1 or self._is_nested(parameter, roles)
            if is_own:
                source = self._own_end(index, parameter, roles, blocks, before)
            else:
                source = self._read_end(index, parameter, roles)
            target = self._end(index, parameter, roles.written, written=True)
            along = [n for n, vector in vectors if _lies_on(vector, parameter, roles.written)]
            vectors = [(n, vector) for n, vector in vectors if n not in along]
            for lying in (number, *along):
                self._write(target, lying)
            yield Step(
                parameter=number,
                shape=parameter.shape,
                order=(*roles.written, *roles.read, *roles.kernel),
                written=target,
                read=source,
                own=is_own,
                vectors=tuple(along),
                activation=layer.activation,
            )
        alike: dict[tuple[Axis, ...], list[int]] = {}
        for number, vector in vectors:
            alike.setdefault(vector.axes, []).append(number)
        for numbers in alike.values():
            first = self.architecture.parameters[numbers[0]]
            target = self._end(index, first, tuple(range(len(first.shape))), written=True)
            for lying in numbers:
                self._write(target, lying)
            yield Step(
                parameter=None,
                shape=(),
                order=(),
                written=target,
                read=None,
                own=False,
                vectors=tuple(numbers),
                activation=layer.activation,
            )

    def _roles(self, layer: Layer, parameter: Parameter, *, split: bool) -> _Roles:
        count = len(parameter.shape)
        if split:
            return _Roles(written=(0, 2), read=(1,), kernel=tuple(range(3, count + 1)))
        if layer.kind == "embedding" or _is_transposed(layer):
            return _Roles(written=(1,), read=(0,), kernel=tuple(range(2, count)))
        new = [bool(_groups(axis) - self.met) for axis in parameter.axes]
        if count == 2 and layer.kind in ("linear", "parameter") and new == [False, True]:
            return _Roles(written=(1,), read=(0,))  # used as x @ W: what it leads to was not there before
        if count == 2 or layer.kind.startswith("conv"):
            return _Roles(written=(0,), read=(1,), kernel=tuple(range(2, count)))
        grouped = [axis for axis in range(count) if _groups(parameter.axes[axis])]
        written = [axis for axis in grouped if new[axis]] or grouped[-1:] or [0]
        outer = {self.groups[name].parent for axis in written for name in _groups(parameter.axes[axis])}
        written = sorted({*written, *(axis for axis in grouped if outer & _groups(parameter.axes[axis]))})
        read = [axis for axis in grouped if axis not in written]
        kernel = [axis for axis in range(count) if axis not in (*written, *read)]
        if not read and kernel:
            read = [kernel.pop()]
        return _Roles(written=tuple(written), read=tuple(read), kernel=tuple(kernel))

    def _blocks(self, index: int, layer: Layer, parameter: Parameter) -> int:
        """Return in how many blocks a convolution's channels are, each reading its own; 1 for anything else."""
        if not layer.kind.startswith("conv") or len(parameter.shape) < 2:
            return 1
        found = int(layer.attributes.get("groups", 1))
        source = self._producer(index)
        if found == 1 and source is not None and not any(map(_groups, parameter.axes)):
            # Nobody says so, but the sizes of what it reads do.
            outputs, inputs = parameter.shape[:2]
            found = source[1] // inputs if source[1] % inputs == 0 else 1
            return found if not _is_transposed(layer) and outputs % found == 0 else 1
        return found

    def _is_nested(self, parameter: Parameter, roles: _Roles) -> bool:
        """Whether what is read is nested in what is written, so that each place written reads its own."""
        read = {name for axis in roles.read for name in _groups(parameter.axes[axis])}
        outer = {parent for name in read if (parent := self.groups[name].parent) is not None}
        return not outer <= read

    def _split(self, parameter: Parameter, blocks: int) -> Parameter:
        """Return a grouped transposed convolution's kernel with its first axis in two: blocks, and channels in one."""
        size = parameter.shape[0]
        if blocks == 1:
            return parameter
        axes: tuple[Axis, Axis] = (((blocks,),), ((size // blocks,),))
        if len(parameter.axes[0]) == 1:
            (factors,) = parameter.axes[0]
            for place in range(1, len(factors) + 1):
                if math.prod(map(self._length, factors[:place])) == blocks:
                    axes = ((factors[:place],), (factors[place:] or (1,),))
        return Parameter(
            name=parameter.name,
            shape=(blocks, size // blocks, *parameter.shape[1:]),
            axes=(*axes, *parameter.axes[1:]),
        )

    # -- the places of an end ---------------------------------------------------------------------------------------

    def _read_end(self, index: int, parameter: Parameter, roles: _Roles) -> End | None:
        """Return the places that all places written read."""
        inputs = self.architecture.layers[index].inputs
        # One value of the network's input tells nothing: a grey image.
        is_told = any(parameter.shape[axis] > 1 or _groups(parameter.axes[axis]) for axis in roles.read)
        if is_told or (inputs and self._producer(index) is not None):
            source = self._end(index, parameter, roles.read, written=False)
        else:
            source = nothing(1)
        source = times(source, [parameter.shape[axis] for axis in roles.kernel])
        return source if source.size > 1 or source.pieces else None

    def _own_end(
        self, index: int, parameter: Parameter, roles: _Roles, blocks: int, before: frozenset[str]
    ) -> End:
        """Return for each place written the places of its block that it reads."""
        kernel = [parameter.shape[axis] for axis in roles.kernel]
        if any(before & _groups(parameter.axes[axis]) for axis in (*roles.written, *roles.read)):
            axes = (*roles.written, *roles.read)
            return times(self._end(index, parameter, axes, written=False, only=before), kernel)
        outputs = math.prod(parameter.shape[axis] for axis in roles.written)
        inputs = math.prod(parameter.shape[axis] for axis in roles.read)
        block, channel = np.arange(outputs) // (outputs // blocks), np.arange(inputs)
        space, nodes, coordinates = self._source(index, np.arange(blocks * inputs))
        chosen = (block[:, None] * inputs + channel).ravel()
        end = nothing(outputs * inputs)
        for kind, values in coordinates.items():
            end.coordinates[:, kind] = values[chosen]
        piece = Piece(space=space, places=np.arange(end.size), nodes=nodes[chosen])
        return times(End(size=end.size, pieces=(piece,), coordinates=end.coordinates), kernel)

    def _end(
        self,
        index: int,
        parameter: Parameter,
        axes: Sequence[int],
        *,
        written: bool,
        only: frozenset[str] | None = None,
    ) -> End:
        """Return the places of some axes.

        Args:
            index: of the layer.
            parameter: whose axes they are.
            axes: the last varying fastest.
            written: whether edges lead to them, rather than come from them.
            only: the groups whose nodes stand there; not given: all.
        """
        shape = tuple(parameter.shape[axis] for axis in axes)
        numbers = np.arange(math.prod(shape)).reshape(shape)
        coordinates = np.full((*shape, COORDINATES), np.nan)
        found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        spans = [list(_spans(parameter.axes[axis], self._length)) for axis in axes]
        if not any(_groups(parameter.axes[axis]) for axis in axes):
            spans = [[(0, size, (size,))] for size in shape]  # segments that no group moves are one
        for segments in itertools.product(*spans):
            window = tuple(slice(start, start + length) for start, length, _ in segments)
            factors = [factor for _, _, segment in segments for factor in segment]
            places = numbers[window]
            grid = np.indices([self._length(factor) for factor in factors]).reshape(len(factors), places.size)
            names = [f for f in factors if isinstance(f, str) and (only is None or f in only)]
            if names:
                for name in names:
                    found.setdefault(self._group(name), []).append(
                        (places.ravel(), self._node(name, factors, grid))
                    )
                blocks = self._beside(names[-1], factors, grid)
            else:
                # Beside segments that groups move: which of what the layer reads or gives it is, nobody knows.
                part = () if places.size == numbers.size else tuple(start for start, _, _ in segments)
                space, nodes, blocks = (self._target if written else self._source)(
                    index, np.arange(places.size), part
                )
                found.setdefault(space, []).append((places.ravel(), nodes))
            for kind, values in blocks.items():
                coordinates[..., kind][window] = values.reshape(places.shape)
            for span, segment in zip(spans, segments, strict=True):
                if len(span) > 1:
                    coordinates[..., SEGMENT][window] = centred(np.array(span.index(segment)), len(span))
        pieces = tuple(
            Piece(
                space=space,
                places=np.concatenate([p for p, _ in parts]),
                nodes=np.concatenate([n for _, n in parts]),
            )
            for space, parts in found.items()
        )
        if written:
            self.met |= {factor for axis in axes for factor in _groups(parameter.axes[axis])}
        return End(size=numbers.size, pieces=pieces, coordinates=coordinates.reshape(-1, COORDINATES))

    def _length(self, factor: int | str) -> int:
        return self.groups[factor].size if isinstance(factor, str) else factor

    def _group(self, name: str) -> int:
        """Return the space of a group: its neurons in every neuron of the groups that it is nested in."""
        size, outer = 1, name
        while True:
            size *= self.groups[outer].size
            parent = self.groups[outer].parent
            if parent is None:
                return self._space(("group", name), size, fixed=False)
            outer = parent

    def _node(self, name: str, factors: Sequence[int | str], grid: np.ndarray) -> np.ndarray:
        """Return which node of a group stands at each place of a grid over factors."""
        group, own = self.groups[name], grid[factors.index(name)]
        return own if group.parent is None else group.size * self._node(group.parent, factors, grid) + own

    def _beside(self, name: str, factors: Sequence[int | str], grid: np.ndarray) -> dict[int, np.ndarray]:
        """Return the coordinates along the fixed factors before and behind a group."""
        place, found = factors.index(name), {}
        for kind, others in ((BEFORE, range(place)), (BEHIND, range(place + 1, len(factors)))):
            sizes = [(n, f) for n in others if isinstance(f := factors[n], int) and f > 1]
            if sizes:
                value = np.zeros(grid.shape[1], np.int64)
                for n, f in sizes:
                    value = value * f + grid[n]
                found[kind] = centred(value, math.prod(f for _, f in sizes))
        return found

    def _target(
        self, index: int, nodes: np.ndarray, part: tuple[int, ...] = ()
    ) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
        """Return the space of a layer's fixed outputs: that of its producer where it only rescales them."""
        source, layer, count = self._producer(index), self.architecture.layers[index], len(nodes)
        if part:
            return self._space(("output", index, part, count), count, fixed=True), nodes, {}
        if (
            source is not None
            and source[1] == count
            and all(_is_vector(layer, each) for each in layer.parameters)
        ):
            self.outputs[index] = source
        else:
            self.outputs[index] = (self._space(("output", index, count), count, fixed=True), count)
        return self.outputs[index][0], nodes, {}

    def _source(
        self, index: int, nodes: np.ndarray, part: tuple[int, ...] = ()
    ) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
        """Return the space of a layer's fixed inputs: its producer's outputs, in blocks where it was flattened."""
        count, source = len(nodes), self._producer(index)
        if source is not None and not part and count % source[1] == 0:
            block = count // source[1]
            return source[0], nodes // block, {BEHIND: centred(nodes % block, block)} if block > 1 else {}
        key: Hashable = ("input", part, count)
        if self.architecture.layers[index].inputs:
            key = ("input", index, part, count)
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


def _is_vector(layer: Layer, parameter: Parameter) -> bool:
    """Whether it has one weight for each place, as a bias or a token ``(1, 1, D)`` has."""
    return len(parameter.shape) <= 1 or (
        layer.kind == "parameter" and parameter.size == max(parameter.shape) and parameter.size > 1
    )


def _is_transposed(layer: Layer) -> bool:
    return layer.kind.startswith("conv_transpose")


def _lies_on(vector: Parameter, parameter: Parameter, axes: Sequence[int]) -> bool:
    """Whether a vector has one weight for each place of some axes, in their order."""
    long = [axis for axis in axes if parameter.shape[axis] > 1] or list(axes[:1])
    if len(vector.axes) != 1:
        return False
    if len(long) == 1:
        return vector.axes[0] == parameter.axes[long[0]]
    factors = tuple(f for axis in long for segment in parameter.axes[axis] for f in segment)
    return vector.axes[0] == (factors,) and all(len(parameter.axes[axis]) == 1 for axis in long)


def _groups(axis: Axis) -> set[str]:
    return {factor for segment in axis for factor in segment if isinstance(factor, str)}


def _spans(
    axis: Axis, length_of: Callable[[int | str], int]
) -> Iterator[tuple[int, int, tuple[int | str, ...]]]:
    """Yield where each segment of an axis starts, its length, and its factors."""
    start = 0
    for segment in axis:
        length = math.prod(map(length_of, segment))
        yield start, length, segment
        start += length

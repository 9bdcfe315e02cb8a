"""Build the node sets of an architecture, and the slots on the axes of its parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from attrs import define, field

from sneframe.architecture import Architecture, Axis, Layer, NeuronGroup, Parameter
from sneframe.nn.graph.graph import (
    BEFORE,
    BEHIND,
    COORDINATES,
    SEGMENT,
    NodeSet,
    SlotNodes,
    Slots,
    centred,
)


@define(kw_only=True, slots=False)
class SlotBuilder:
    """Builds the slots on the axes of parameters.

    A node set is added when a slot first needs a node of that set. The slots of a layer depend on the slots
    of earlier layers, so callers must pass the parameters in the order of the layers.

    Args:
        architecture: the architecture.
        per_layer: whether each layer has nodes of its own, as
            :func:`~sneframe.nn.graph.graph_builder.graph_of` says.
    """

    architecture: Architecture
    per_layer: bool = False
    led_to: set[str] = field(factory=set)  #: the neuron groups to which some edge or vector leads so far
    _index_of_key: dict[Hashable, int] = field(factory=dict)
    _sizes: list[int] = field(factory=list)
    _fixed: list[bool] = field(factory=list)
    _parameters: list[list[int]] = field(factory=list)
    _groups: list[tuple[str, ...]] = field(factory=list)
    #: by the index of a layer: the node set and the size of its fixed output
    _outputs: dict[int, tuple[int, int]] = field(factory=dict)
    #: if each layer has nodes of its own: by names of groups, the layers that have such nodes, and their sets
    _writers: dict[tuple[str, ...], dict[int, int]] = field(factory=dict)
    ties: list[tuple[int, int]] = field(factory=list)  #: see :class:`~sneframe.nn.graph.graph.Graph`

    @cached_property
    def groups(self) -> Mapping[str, NeuronGroup]:
        """The neuron groups by name."""
        return {group.name: group for group in self.architecture.groups}

    def node_sets(self) -> tuple[NodeSet, ...]:
        """Return the node sets that have been added so far, in order."""
        parts = zip(self._sizes, self._fixed, self._parameters, self._groups, strict=True)
        return tuple(NodeSet(size=s, fixed=f, parameters=tuple(p), groups=g) for s, f, p, g in parts)

    def length(self, factor: int | str) -> int:
        """Return the length of a factor of a segment.

        For the name of a neuron group, this is the size of the group. For a number, it is the number.
        """
        return self.groups[factor].size if isinstance(factor, str) else factor

    def targets(self, index: int, parameter: Parameter, axes: Sequence[int]) -> Slots:
        """Return the slots on the axes to which a parameter's edges or vectors lead.

        Args:
            index: the index of the parameter's layer.
            parameter: the parameter.
            axes: the indices of the axes. The last axis varies fastest.
        """
        layer = self.architecture.layers[index]
        writes = not all(is_vector(layer, each) for each in layer.parameters)
        slots = self._slots(index, parameter, axes, self._output_nodes, only=None, writes=writes)
        self.led_to |= {name for axis in axes for name in groups_of(parameter.axes[axis])}
        return slots

    def sources(
        self, index: int, parameter: Parameter, axes: Sequence[int], *, only: frozenset[str] | None = None
    ) -> Slots:
        """Return the slots on the axes from which a parameter's edges come.

        Args:
            index: the index of the parameter's layer.
            parameter: the parameter.
            axes: the indices of the axes. The last axis varies fastest.
            only: the groups whose nodes the slots hold; None for all groups.
        """
        return self._slots(index, parameter, axes, self.input_nodes, only=only, writes=False)

    def record(self, targets: Slots, parameter: int) -> None:
        """Record that a parameter leads to the nodes of these slots."""
        for held in targets.nodes:
            self._parameters[held.node_set].append(parameter)

    def input_nodes(
        self, index: int, nodes: np.ndarray, segments: tuple[int, ...] = ()
    ) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
        """Return the nodes that a layer reads on an axis that no group permutes.

        The nodes are the fixed outputs of the layer before. If a map was flattened, several slots hold the
        same node. If the sizes do not fit, the nodes belong to a separate node set.

        Args:
            index: the index of the layer.
            nodes: ``(n,)`` positions on the axis.
            segments: the starts of the segments on their axes, if the segments are only a part of the axes.
                Otherwise empty.

        Returns:
            The index of the node set, the nodes ``(n,)``, and the coordinates ``(n,)`` by kind, such as
            :data:`BEHIND`.
        """
        count, source = len(nodes), self.fixed_input(index)
        if source is not None and not segments and count % source[1] == 0:
            repeats = count // source[1]
            coordinates = {BEHIND: centred(nodes % repeats, repeats)} if repeats > 1 else {}
            return source[0], nodes // repeats, coordinates
        key: Hashable = ("input", segments, count)
        if self.architecture.layers[index].earlier:
            key = ("input", index, segments, count)
        return self._node_set(key, count), nodes, {}

    def fixed_input(self, index: int) -> tuple[int, int] | None:
        """Return the node set and the size of the fixed output that a layer reads.

        Return None if the layer does not read exactly one fixed output. A layer without parameters counts as
        the layers that it reads. If each layer has nodes of its own, and the layer reads the sum of several
        outputs of one size, then it reads the nodes of the last, and the nodes of the others are tied to
        these.
        """
        outputs: set[tuple[int, int]] = set()
        waiting = list(self.architecture.layers[index].earlier)
        while waiting:
            source = waiting.pop()
            if source in self._outputs:
                outputs.add(self._outputs[source])
            elif not self.architecture.layers[source].parameters:
                waiting += self.architecture.layers[source].earlier
            else:
                return None
        if self.per_layer and len({size for _, size in outputs}) == 1:
            *others, last = sorted(outputs)
            self.ties += [tie for node_set, _ in others if (tie := (node_set, last[0])) not in self.ties]
            return last
        return outputs.pop() if len(outputs) == 1 else None

    def _output_nodes(
        self, index: int, nodes: np.ndarray, segments: tuple[int, ...] = ()
    ) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
        """Return the nodes that a layer writes on an axis that no group permutes.

        Arguments and results are those of :meth:`input_nodes`.

        A layer that only rescales its input, such as a norm, has the nodes of its input.
        """
        source, layer, count = self.fixed_input(index), self.architecture.layers[index], len(nodes)
        if segments:
            return self._node_set(("output", index, segments, count), count), nodes, {}
        if (
            source is not None
            and source[1] == count
            and all(is_vector(layer, each) for each in layer.parameters)
        ):
            self._outputs[index] = source
        else:
            self._outputs[index] = (self._node_set(("output", index, count), count), count)
        return self._outputs[index][0], nodes, {}

    def _slots(
        self,
        index: int,
        parameter: Parameter,
        axes: Sequence[int],
        fixed_nodes: Callable[..., tuple[int, np.ndarray, dict[int, np.ndarray]]],
        *,
        only: frozenset[str] | None,
        writes: bool,
    ) -> Slots:
        """Return the slots on ``axes``. Call ``fixed_nodes`` for nodes of segments that no group permutes.

        ``writes`` says whether the layer computes the values of the nodes, and does not only read or rescale
        them.
        """
        shape = tuple(parameter.shape[axis] for axis in axes)
        indices = np.arange(math.prod(shape)).reshape(shape)
        coordinates = np.full((*shape, COORDINATES), np.nan)
        #: pairs of slots and the nodes that they hold, by node set
        parts_of_set: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        spans = [list(_spans(parameter.axes[axis], self.length)) for axis in axes]
        if not any(groups_of(parameter.axes[axis]) for axis in axes):
            # Without groups, the fixed segments of an axis count as one.
            spans = [[(0, size, (size,))] for size in shape]
        for segments in itertools.product(*spans):
            window = tuple(slice(start, start + length) for start, length, _ in segments)
            factors = [factor for _, _, segment in segments for factor in segment]
            slots = indices[window]
            grid = np.indices([self.length(factor) for factor in factors]).reshape(len(factors), slots.size)
            names = [f for f in factors if isinstance(f, str) and (only is None or f in only)]
            if names and self.per_layer:
                shape_of_names = [self.length(name) for name in names]
                own = np.ravel_multi_index(tuple(grid[factors.index(name)] for name in names), shape_of_names)
                node_set = self._layer_set(tuple(names), index, writes=writes)
                parts_of_set.setdefault(node_set, []).append((slots.ravel(), own))
                offsets = _factor_coordinates(names[-1], factors, grid)
            elif names:
                for name in names:
                    parts_of_set.setdefault(self._group_set(name), []).append(
                        (slots.ravel(), self._group_nodes(name, factors, grid))
                    )
                offsets = _factor_coordinates(names[-1], factors, grid)
            else:
                # Next to segments of groups, it is unknown which inputs or outputs a fixed segment is.
                starts = () if slots.size == indices.size else tuple(start for start, _, _ in segments)
                node_set, nodes, offsets = fixed_nodes(index, np.arange(slots.size), starts)
                parts_of_set.setdefault(node_set, []).append((slots.ravel(), nodes))
            for kind, values in offsets.items():
                coordinates[..., kind][window] = values.reshape(slots.shape)
            for span, segment in zip(spans, segments, strict=True):
                if len(span) > 1:
                    coordinates[..., SEGMENT][window] = centred(np.array(span.index(segment)), len(span))
        held = tuple(
            SlotNodes(
                node_set=node_set,
                slots=np.concatenate([slots for slots, _ in parts]),
                nodes=np.concatenate([nodes for _, nodes in parts]),
            )
            for node_set, parts in parts_of_set.items()
        )
        return Slots(size=indices.size, nodes=held, coordinates=coordinates.reshape(-1, COORDINATES))

    def _group_set(self, name: str) -> int:
        """Return the index of the node set of a group.

        The node set of a nested group has a copy of the group for each neuron of the parent group.
        """
        size, outer = 1, name
        while True:
            size *= self.groups[outer].size
            parent = self.groups[outer].parent
            if parent is None:
                return self._node_set(("group", name), size, groups=(name,))
            outer = parent

    def _layer_set(self, names: tuple[str, ...], index: int, *, writes: bool) -> int:
        """Return the index of the node set of a layer, with a node for each choice of one neuron per group.

        A layer that only reads or rescales values has the nodes of the last earlier layer on which it
        depends. The nodes of a layer that computes values are tied to those of the last layer before it with
        the same groups: their values are added, as in a residual network, or meet element by element.
        """
        writers = self._writers.setdefault(names, {})
        if not writes and writers:
            before = self._ancestors(index)
            return writers[max((each for each in writers if each in before), default=max(writers))]
        if index not in writers:
            size = math.prod(map(self.length, names))
            number = self._node_set(("group", names, index), size, groups=names)
            if writers:
                self.ties.append((writers[max(writers)], number))
            writers[index] = number
        return writers[index]

    def _ancestors(self, index: int) -> set[int]:
        """Return the indices of the layers on which a layer depends."""
        found: set[int] = set()
        waiting = list(self.architecture.layers[index].earlier)
        while waiting:
            layer = waiting.pop()
            if layer not in found:
                found.add(layer)
                waiting += self.architecture.layers[layer].earlier
        return found

    def _group_nodes(self, name: str, factors: Sequence[int | str], grid: np.ndarray) -> np.ndarray:
        """Return, for each of n points, the index of its node in the node set of the group ``name``.

        ``grid (factors, n)`` contains the position of each point along each factor.
        """
        group, own = self.groups[name], grid[factors.index(name)]
        if group.parent is None:
            return own
        return group.size * self._group_nodes(group.parent, factors, grid) + own

    def _node_set(self, key: Hashable, size: int, *, groups: tuple[str, ...] = ()) -> int:
        """Return the index of the node set with this key. Add the node set if the key is new.

        Without groups, its nodes are the indices of an axis that no group permutes.
        """
        if key not in self._index_of_key:
            self._index_of_key[key] = len(self._sizes)
            self._sizes.append(size)
            self._fixed.append(not groups)
            self._groups.append(groups)
            self._parameters.append([])
        return self._index_of_key[key]


def is_vector(layer: Layer, parameter: Parameter) -> bool:
    """Return whether a parameter has one weight for each target, like a bias or a token ``(1, 1, D)``."""
    return len(parameter.shape) <= 1 or (
        layer.kind == "parameter" and parameter.size == max(parameter.shape) and parameter.size > 1
    )


def groups_of(axis: Axis) -> set[str]:
    """Return the names of the groups that permute an axis."""
    return {factor for segment in axis for factor in segment if isinstance(factor, str)}


def _factor_coordinates(name: str, factors: Sequence[int | str], grid: np.ndarray) -> dict[int, np.ndarray]:
    """Return the coordinates ``(n,)`` along the fixed factors before and after a group, by kind."""
    own, coordinates = factors.index(name), {}
    for kind, others in ((BEFORE, range(own)), (BEHIND, range(own + 1, len(factors)))):
        sizes = [(n, f) for n in others if isinstance(f := factors[n], int) and f > 1]
        if sizes:
            value = np.zeros(grid.shape[1], np.int64)
            for n, f in sizes:
                value = value * f + grid[n]
            coordinates[kind] = centred(value, math.prod(f for _, f in sizes))
    return coordinates


def _spans(
    axis: Axis, length_of: Callable[[int | str], int]
) -> Iterator[tuple[int, int, tuple[int | str, ...]]]:
    """Yield the start, the length and the factors of each segment of an axis."""
    start = 0
    for segment in axis:
        length = math.prod(map(length_of, segment))
        yield start, length, segment
        start += length

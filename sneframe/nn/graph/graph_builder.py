"""Build the graph of an architecture. Every weight becomes an edge or an entry of a vector on targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from attrs import frozen

from sneframe.architecture import Architecture, Axis, Layer, Parameter
from sneframe.nn.graph.graph import Edges, Graph, SlotNodes, Slots, empty_slots, with_kernel
from sneframe.nn.graph.slot_builder import SlotBuilder, groups_of, is_vector


def graph_of(architecture: Architecture, *, per_layer: bool = False) -> Graph:
    """Return the graph of an architecture. It contains every parameter once, as edges or as a vector.

    By default, the nodes are neurons of groups. So a residual stream is one node set, to which the edges of
    several parameters lead. Each position of a kernel is a slot. A single input has no node.

    Args:
        architecture: the architecture.
        per_layer: whether each layer that computes values has nodes of its own, as in neural graphs. Node
            sets of the same group are then tied to each other. The positions of a kernel are numbers of one
            edge, and every input has a node.
    """
    slots = SlotBuilder(architecture=architecture, per_layer=per_layer)
    return _GraphBuilder(architecture=architecture, slots=slots, per_layer=per_layer).build()


@frozen(kw_only=True)
class _Roles:
    """The axes of a parameter, by what they index: targets, sources, or the positions of a kernel."""

    targets: tuple[int, ...]
    sources: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()


@frozen(kw_only=True)
class _GraphBuilder:
    architecture: Architecture
    slots: SlotBuilder
    per_layer: bool

    def build(self) -> Graph:
        edges: list[Edges] = []
        first = 0
        for index, layer in enumerate(self.architecture.layers):
            own: list[tuple[int, Parameter]] = list(enumerate(layer.parameters, start=first))
            first += len(own)
            edges += self._layer_edges(index, layer, own)
        return Graph(node_sets=self.slots.node_sets(), edges=tuple(edges), ties=tuple(self.slots.ties))

    # -- the edges of a layer --------------------------------------------------------------------------------

    def _layer_edges(self, index: int, layer: Layer, own: Sequence[tuple[int, Parameter]]) -> Iterator[Edges]:
        """Yield the edges of a layer.

        ``own`` contains each parameter of the layer, with the index of the parameter in the architecture.
        """
        vectors = [(number, parameter) for number, parameter in own if is_vector(layer, parameter)]
        for number, given in own:
            if is_vector(layer, given):
                continue
            blocks = self._blocks(index, layer, given)
            parameter = self._split(given, blocks) if _is_transposed(layer) else given
            roles = self._roles(layer, given, split=parameter is not given)
            before = frozenset(self.slots.led_to)
            sources: Slots | None
            own_sources = blocks > 1 or self._is_nested(parameter, roles)
            if own_sources:
                sources = self._own_sources(index, parameter, roles, blocks, before)
            else:
                sources = self._shared_sources(index, parameter, roles)
            targets = self.slots.targets(index, parameter, roles.targets)
            on_targets = [n for n, vector in vectors if _lies_on(vector, parameter, roles.targets)]
            vectors = [(n, vector) for n, vector in vectors if n not in on_targets]
            for each in (number, *on_targets):
                self.slots.record(targets, each)
            yield Edges(
                parameter=number,
                shape=parameter.shape,
                order=(*roles.targets, *roles.sources, *roles.kernel),
                targets=targets,
                sources=sources,
                own_sources=own_sources,
                vectors=tuple(on_targets),
                activation=layer.activation,
                kernel=tuple(parameter.shape[axis] for axis in roles.kernel) if self.per_layer else (),
            )
        by_axes: dict[tuple[Axis, ...], list[int]] = {}
        for number, vector in vectors:
            by_axes.setdefault(vector.axes, []).append(number)
        for numbers in by_axes.values():
            example = self.architecture.parameters[numbers[0]]
            targets = self.slots.targets(index, example, tuple(range(len(example.shape))))
            for number in numbers:
                self.slots.record(targets, number)
            yield Edges(
                parameter=None,
                shape=(),
                order=(),
                targets=targets,
                sources=None,
                own_sources=False,
                vectors=tuple(numbers),
                activation=layer.activation,
            )

    def _roles(self, layer: Layer, parameter: Parameter, *, split: bool) -> _Roles:
        """Return the roles of a parameter's axes. If ``split``, these are the axes after :meth:`_split`."""
        count = len(parameter.shape)
        if split:
            return _Roles(targets=(0, 2), sources=(1,), kernel=tuple(range(3, count + 1)))
        if layer.kind == "embedding" or _is_transposed(layer):
            return _Roles(targets=(1,), sources=(0,), kernel=tuple(range(2, count)))
        is_new = [bool(groups_of(axis) - self.slots.led_to) for axis in parameter.axes]
        if count == 2 and layer.kind in ("linear", "parameter") and is_new == [False, True]:
            return _Roles(targets=(1,), sources=(0,))  # used as x @ W: only the columns' group is new
        if count == 2 or layer.kind.startswith("conv"):
            return _Roles(targets=(0,), sources=(1,), kernel=tuple(range(2, count)))
        grouped = [axis for axis in range(count) if groups_of(parameter.axes[axis])]
        targets = [axis for axis in grouped if is_new[axis]] or grouped[-1:] or [0]
        groups = self.slots.groups
        outer = {groups[name].parent for axis in targets for name in groups_of(parameter.axes[axis])}
        targets = sorted({*targets, *(axis for axis in grouped if outer & groups_of(parameter.axes[axis]))})
        sources = [axis for axis in grouped if axis not in targets]
        kernel = [axis for axis in range(count) if axis not in (*targets, *sources)]
        if not sources and kernel:
            sources = [kernel.pop()]
        return _Roles(targets=tuple(targets), sources=tuple(sources), kernel=tuple(kernel))

    def _blocks(self, index: int, layer: Layer, parameter: Parameter) -> int:
        """Return the number of blocks of channels of a convolution, and 1 for any other layer.

        Each block of output channels reads one block of input channels.
        """
        if not layer.kind.startswith("conv") or len(parameter.shape) < 2:
            return 1
        blocks = int(layer.attributes.get("groups", 1))
        source = self.slots.fixed_input(index)
        if blocks == 1 and source is not None and not any(map(groups_of, parameter.axes)):
            # The architecture does not record the blocks, but the size of the input shows them.
            outputs, inputs = parameter.shape[:2]
            blocks = source[1] // inputs if source[1] % inputs == 0 else 1
            return blocks if not _is_transposed(layer) and outputs % blocks == 0 else 1
        return blocks

    def _is_nested(self, parameter: Parameter, roles: _Roles) -> bool:
        """Return whether a group on the source axes has a parent group that is not on the source axes.

        The parent group is then on the target axes, so each target has sources of its own.
        """
        groups = self.slots.groups
        read = {name for axis in roles.sources for name in groups_of(parameter.axes[axis])}
        outer = {parent for name in read if (parent := groups[name].parent) is not None}
        return not outer <= read

    def _split(self, parameter: Parameter, blocks: int) -> Parameter:
        """Split the first axis of a transposed convolution's kernel into blocks and their channels."""
        size = parameter.shape[0]
        if blocks == 1:
            return parameter
        axes: tuple[Axis, Axis] = (((blocks,),), ((size // blocks,),))
        if len(parameter.axes[0]) == 1:
            (factors,) = parameter.axes[0]
            for cut in range(1, len(factors) + 1):
                if math.prod(map(self.slots.length, factors[:cut])) == blocks:
                    axes = ((factors[:cut],), (factors[cut:] or (1,),))
        return Parameter(
            name=parameter.name,
            shape=(blocks, size // blocks, *parameter.shape[1:]),
            axes=(*axes, *parameter.axes[1:]),
        )

    # -- the sources of a parameter's edges ------------------------------------------------------------------

    def _shared_sources(self, index: int, parameter: Parameter, roles: _Roles) -> Slots | None:
        """Return the sources that all targets share.

        Return None if the layer reads one number that has no node.
        """
        inputs = self.architecture.layers[index].earlier
        # A single value of the network's input, such as a grey image, needs no node.
        has_nodes = any(parameter.shape[a] > 1 or groups_of(parameter.axes[a]) for a in roles.sources)
        if has_nodes or self.per_layer or (inputs and self.slots.fixed_input(index) is not None):
            sources = self.slots.sources(index, parameter, roles.sources)
        else:
            sources = empty_slots(1)
        sources = self._with_kernel(sources, parameter, roles)
        return sources if sources.size > 1 or sources.nodes else None

    def _own_sources(
        self, index: int, parameter: Parameter, roles: _Roles, blocks: int, before: frozenset[str]
    ) -> Slots:
        """Return the sources of the first target, then those of the second, and so on.

        Args:
            index: the index of the layer.
            parameter: the parameter.
            roles: the roles of the axes of the parameter.
            blocks: the number of blocks of channels.
            before: the groups to which earlier parameters lead.
        """
        if any(before & groups_of(parameter.axes[axis]) for axis in (*roles.targets, *roles.sources)):
            axes = (*roles.targets, *roles.sources)
            sources = self.slots.sources(index, parameter, axes, only=before)
            return self._with_kernel(sources, parameter, roles)
        outputs = math.prod(parameter.shape[axis] for axis in roles.targets)
        inputs = math.prod(parameter.shape[axis] for axis in roles.sources)
        block, channel = np.arange(outputs) // (outputs // blocks), np.arange(inputs)
        node_set, nodes, coordinates = self.slots.input_nodes(index, np.arange(blocks * inputs))
        chosen = (block[:, None] * inputs + channel).ravel()
        empty = empty_slots(outputs * inputs)
        for kind, values in coordinates.items():
            empty.coordinates[:, kind] = values[chosen]
        held = SlotNodes(node_set=node_set, slots=np.arange(empty.size), nodes=nodes[chosen])
        slots = Slots(size=empty.size, nodes=(held,), coordinates=empty.coordinates)
        return self._with_kernel(slots, parameter, roles)

    def _with_kernel(self, slots: Slots, parameter: Parameter, roles: _Roles) -> Slots:
        """Repeat slots for every position of a kernel, unless all positions belong to one edge."""
        if self.per_layer:
            return slots
        return with_kernel(slots, [parameter.shape[axis] for axis in roles.kernel])


def _is_transposed(layer: Layer) -> bool:
    return layer.kind.startswith("conv_transpose")


def _lies_on(vector: Parameter, parameter: Parameter, axes: Sequence[int]) -> bool:
    """Return whether a vector has one weight for each slot on ``axes`` of a parameter, in the same order."""
    long = [axis for axis in axes if parameter.shape[axis] > 1] or list(axes[:1])
    if len(vector.axes) != 1:
        return False
    if len(long) == 1:
        return vector.axes[0] == parameter.axes[long[0]]
    factors = tuple(f for axis in long for segment in parameter.axes[axis] for f in segment)
    return vector.axes[0] == (factors,) and all(len(parameter.axes[axis]) == 1 for axis in long)

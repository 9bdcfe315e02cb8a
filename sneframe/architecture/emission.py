"""Turn the spaces of a finished trace into the layers and groups of an architecture.

Each leaf under ``permute`` that is not fixed becomes a :class:`~.layer.NeuronGroup`, and the axes of each
parameter are described in terms of these groups. The trace keeps separate spaces for ``scale`` and ``sign``.
A group gets the action ``scale`` or ``sign`` if one leaf under that action covers exactly the neurons of the
group, on every axis where the leaf occurs.

Example: after a trace of ``Linear(3, 8)``, ``ReLU``, ``Linear(8, 2)`` the rows of the first weight, its bias
and the columns of the second weight share one leaf of size 8. This leaf becomes the group ``hidden0``. The
same axes share a leaf under ``scale``, with the powers 1, 1 and −1, so the group may be scaled as well. Under
``sign`` these axes are fixed, because ReLU is not odd.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import define, field
from torch import Tensor, nn

from sneframe.architecture.description import Architecture
from sneframe.architecture.layer import Axis, Layer, NeuronGroup, Parameter, Segment
from sneframe.architecture.operations import Operation, kind_of, owner_path, role
from sneframe.architecture.recording.folding import fold
from sneframe.architecture.space import Space, find, fix, leaves, unnest
from sneframe.architecture.trace import Trace

Key = tuple[int, int | None]  # the id of a leaf, and the id of its parent leaf, if any

#: Used instead of the id of a leaf: FIXED for a fixed element, SEVERAL for an element on which several leaves
#: act.
FIXED, SEVERAL = -1, -2


@define(eq=False)
class _Group:
    """A neuron group that is being built."""

    leaf: Space
    size: int
    parent: Key | None
    actions: list[str] = field(factory=lambda: ["permute"])
    name: str = ""


class Emission:
    """Turns the spaces of a trace into the layers and groups of an architecture.

    Args:
        module: the module that was traced.
        state: the parameters and buffers of the module, by name.
        trace: the finished trace.

    Attributes:
        unused: the names of parameters that the forward pass did not use.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor], trace: Trace) -> None:
        self.module = module
        self.state = state
        self.axes = trace.axes
        folded = fold(trace.recorder, module)
        self.operations, self.outputs = folded.operations, folded.outputs
        self.groups: dict[Key, _Group] = {}
        known = {name for operation in self.operations for name in operation.names}
        self.unused = tuple(name for name in state if name not in known)
        self.changed = False
        self.powers: dict[str, dict[str, list[np.ndarray]]] = {}

    def architecture(self) -> Architecture:
        """Build the architecture from the spaces and layers of the trace."""
        self._add_unused()
        while self._simplify():
            pass
        axes: dict[str, list[list[tuple[Any, ...]]]] = {}
        for operation in self.operations:
            for name in operation.names:
                axes[name] = self._axes(name)
        self._add_scales_and_signs()
        for number, group in enumerate(self.groups.values()):
            group.name = f"hidden{number}"
        layers = [self._layer(operation, axes) for operation in self.operations]
        groups = [
            NeuronGroup(
                name=group.name,
                size=group.size,
                actions=tuple(group.actions),
                parent=self.groups[group.parent].name if group.parent else None,
            )
            for group in self.groups.values()
        ]
        return Architecture(layers=layers, groups=groups, outputs=self.outputs)

    # -- permutations ----------------------------------------------------------------------------------------

    def _add_unused(self) -> None:
        """Add the parameters that the forward pass does not use to layers. Fix all of their axes, and warn.

        If another parameter of the same module is in a layer, the unused parameter is added to this layer.
        Otherwise a new layer is added for it.
        """
        for name in self.unused:
            for spaces in self.axes[name].values():
                for space in spaces:
                    fix(space)
            path = owner_path(name)
            layer = next((o for o in self.operations if any(owner_path(n) == path for n in o.names)), None)
            if layer is None:
                owner = dict(self.module.named_modules())[path]
                layer = Operation(kind_of(owner) or "parameter", attributes={"not_recorded": "nothing reads it"})
                self.operations.append(layer)
            layer.names.append(name)
        if self.unused:
            shown = ", ".join(map(repr, self.unused[:4]))
            more = f" and {len(self.unused) - 4} more" if len(self.unused) > 4 else ""
            reason = (
                f"the forward pass does not use {shown}{more}, so every axis of these parameters is fixed"
            )
            warnings.warn(f"{type(self.module).__name__}: {reason}", stacklevel=4)

    def _simplify(self) -> bool:
        """Fix or unnest spaces that an architecture cannot express.

        Returns:
            Whether a space was fixed or unnested.
        """
        self.changed = False
        for spaces in self.axes.values():
            axes = [self._segments(space) for space in spaces["permute"]]
            for axis, segments in enumerate(axes):
                for segment in segments:
                    for position, factor in enumerate(segment):
                        nested = isinstance(factor, Space) and factor.nested is not None
                        if nested and self._parent(axes, axis, segment, position) is None:
                            unnest(factor)
                            self.changed = True
        return self._fix_lonely() or self.changed

    def _fix_lonely(self) -> bool:
        """Fix each leaf that occurs on only one axis of one parameter. Return whether a leaf was fixed.

        Permuting such a leaf would move the weights along this axis, but no other weights. An example is the
        end of an embedding table that is never read.
        """
        counts: dict[int, tuple[int, Space]] = {}
        for spaces in self.axes.values():
            for space in spaces["permute"]:
                for leaf in {id(leaf): leaf for leaf in leaves(space)}.values():
                    counts[id(leaf)] = (counts.get(id(leaf), (0, leaf))[0] + 1, leaf)
        lonely = [leaf for count, leaf in counts.values() if count == 1 and not leaf.fixed and leaf.size > 1]
        for leaf in lonely:
            fix(leaf)
        return bool(lonely)

    def _segments(self, space: Space) -> list[tuple[Any, ...]]:
        """Return the segments of a space. The factors of a segment are fixed sizes and leaves.

        If segments cannot express a product of two spaces, the outer space is fixed.
        """
        space = find(space)
        if space.is_leaf or space.size == 1:
            return [(space.size,)] if space.fixed or space.size == 1 else [(space,)]
        if space.segments:
            return _merged([segment for part in space.segments for segment in self._segments(part)])
        assert space.blocks is not None
        outer, inner = (self._segments(part) for part in space.blocks)
        if len(inner) > 1 or (len(outer) == 1 and _size(outer[0]) != find(space.blocks[0]).size):
            if any(isinstance(factor, Space) for segment in outer for factor in segment):
                fix(space.blocks[0])
                self.changed = True
            return _merged(inner * find(space.blocks[0]).size)
        return _merged([_product((*segment, *inner[0])) for segment in outer])

    def _parent(
        self, axes: list[list[tuple[Any, ...]]], axis: int, segment: tuple[Any, ...], position: int
    ) -> Space | None:
        """Return the parent of a nested leaf if the parent occurs exactly once before the leaf, else None.

        The nested leaf is the factor at ``position`` of ``segment``. The parent must be an earlier factor of
        the same segment, or a factor on an earlier axis. If the parent occurs twice, it is unclear in which
        of its elements an entry of the parameter lies.
        """
        leaf = segment[position]
        within = {id(each) for each in leaves(leaf.nested)} if leaf.nested is not None else set()

        def outer(factors: Sequence[Any]) -> list[Space]:
            return [f for f in factors if isinstance(f, Space) and id(f) in within]

        parents = outer(segment[:position])
        if (
            not parents
            and not outer(segment[position + 1 :])
            and all(len(segments) == 1 for segments in axes)
        ):
            parents = outer([factor for segments in axes[:axis] for factor in segments[0]])
        return parents[0] if len(parents) == 1 and parents[0].nested is None else None

    def _axes(self, name: str) -> list[list[tuple[Any, ...]]]:
        """Return the segments of each axis of a parameter. Add each group that is new to ``self.groups``.

        The factors of a segment are fixed sizes and keys of groups.
        """
        axes = [self._segments(space) for space in self.axes[name]["permute"]]
        result: list[list[tuple[Any, ...]]] = []
        for axis, segments in enumerate(axes):
            result.append([])
            for segment in segments:
                factors: list[Any] = []
                for position, factor in enumerate(segment):
                    if isinstance(factor, Space):
                        parent = self._parent(axes, axis, segment, position)
                        factors.append(self._key(factor, parent))
                    else:
                        factors.append(factor)
                result[-1].append(tuple(factors))
        return result

    def _key(self, leaf: Space, parent: Space | None) -> Key:
        """Return the key of the group that ``leaf`` forms within ``parent``. Add the group if it is new."""
        outer = self._key(parent, None) if parent is not None else None
        key = (id(leaf), outer[0] if outer else None)
        self.groups.setdefault(key, _Group(leaf, leaf.size, outer))
        return key

    # -- scale and sign --------------------------------------------------------------------------------------

    def _add_scales_and_signs(self) -> None:
        """Add ``scale`` and ``sign`` to the actions of the groups that allow them, and store the powers."""
        for action in ("scale", "sign"):
            uses: dict[int, list[tuple[str, int]]] = {}
            partners: dict[int, set[int]] = {}
            for name, spaces in self.axes.items():
                for axis, space in enumerate(spaces[action]):
                    acts, acts_at = _spread(space)
                    if (acts == SEVERAL).any():
                        partners.update({id(leaf): {SEVERAL} for leaf in leaves(space)})
                    moves, moves_at = _spread(spaces["permute"][axis])
                    power = _powers(space)
                    starts = np.cumsum([0, *map(_size, self._segments(spaces["permute"][axis]))])
                    for leaf in set(acts[acts >= 0].tolist()):
                        here = acts == leaf
                        alike = all(
                            here[a:b].all() and len(set(power[a:b].tolist())) == 1
                            for a, b in pairwise(starts)
                            if here[a:b].any()
                        )
                        same_index = bool((acts_at[here] == moves_at[here]).all())
                        fits = alike and same_index and bool((power[here] != 0).all())
                        partners.setdefault(leaf, set()).update(moves[here].tolist() if fits else [SEVERAL])
                        uses.setdefault(leaf, []).append((name, axis))
            best: dict[int, int] = {}
            for leaf, moved in partners.items():
                (group,) = moved if len(moved) == 1 else (SEVERAL,)
                if (group, None) in self.groups and len(uses[leaf]) > max(
                    1, len(uses.get(best.get(group, 0), []))
                ):
                    best[group] = leaf
            for group in best:
                self.groups[group, None].actions.append(action)
            chosen = set(best.values())
            self.powers[action] = {
                name: [np.where(np.isin(_spread(s)[0], list(chosen)), _powers(s), 0) for s in spaces[action]]
                for name, spaces in self.axes.items()
            }

    def _powers_of_segments(
        self, name: str, axes: list[list[tuple[Any, ...]]], action: str
    ) -> list[list[int]]:
        """Return the power of each segment of each axis of a parameter; an empty list if all powers are 0."""
        result: list[list[int]] = []
        for segments, powers in zip(axes, self.powers[action][name], strict=True):
            start, row = 0, []
            for segment in segments:
                size = 1
                for factor in segment:
                    size *= factor if isinstance(factor, int) else self.groups[factor].size
                row.append(abs(int(powers[start])) if action == "sign" else int(powers[start]))
                start += size
            result.append(row)
        return result if any(power for row in result for power in row) else []

    # -- layers ----------------------------------------------------------------------------------------------

    def _layer(self, operation: Operation, axes: Mapping[str, list[list[tuple[Any, ...]]]]) -> Layer:
        """Build the layer of an operation, with the parameters in the order of the state dict."""
        order = list(self.state)
        parameters = []
        for name in sorted(operation.names, key=order.index):
            segments: list[Axis] = [
                tuple(self._named(segment) for segment in axis_segments) for axis_segments in axes[name]
            ]
            parameters.append(
                Parameter(
                    name=name,
                    shape=tuple(self.state[name].shape),
                    role=role(name, operation.kind),
                    axes=tuple(segments),
                    scale=self._powers_of_segments(name, axes[name], "scale"),
                    sign=self._powers_of_segments(name, axes[name], "sign"),
                )
            )
        tied = {
            other: name
            for other, value in self.module.named_parameters(remove_duplicate=False)
            for name in operation.names
            if other != name and value is self.state[name]
        }
        return Layer(
            kind=operation.kind,
            parameters=parameters,
            inputs=operation.inputs,
            activation=operation.activation,
            attributes=operation.attributes | ({"tied": tied} if tied else {}),
        )

    def _named(self, segment: tuple[Any, ...]) -> Segment:
        """Return a segment with the names of groups instead of their keys."""
        return tuple(factor if isinstance(factor, int) else self.groups[factor].name for factor in segment)


def _size(segment: tuple[Any, ...]) -> int:
    """Return the number of elements of a segment."""
    size = 1
    for factor in segment:
        size *= factor.size if isinstance(factor, Space) else factor
    return size


def _product(factors: tuple[Any, ...]) -> tuple[Any, ...]:
    """Multiply neighbouring fixed sizes, drop factors of 1, and return the remaining factors."""
    result: list[Any] = []
    for factor in factors:
        if isinstance(factor, int) and result and isinstance(result[-1], int):
            result[-1] *= factor
        elif factor != 1:
            result.append(factor)
    return tuple(result) or (1,)


def _merged(segments: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Join neighbouring fixed segments into one, and return all segments."""
    result: list[tuple[Any, ...]] = []
    for segment in segments:
        fixed = len(segment) == 1 and isinstance(segment[0], int)
        if fixed and result and len(result[-1]) == 1 and isinstance(result[-1][0], int):
            result[-1] = (result[-1][0] + segment[0],)
        else:
            result.append(segment)
    return result


def _spread(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the leaf of each element of a space, and the index of the element in the leaf.

    Returns:
        Two arrays of shape ``(size,)``. The first holds the id of the leaf, FIXED or SEVERAL for each
        element. The second holds the index in the leaf, and is meaningless where the first is FIXED or
        SEVERAL.
    """
    space = find(space)
    if space.is_leaf:
        leaf = FIXED if space.fixed or space.size == 1 else id(space)
        return np.full(space.size, leaf, dtype=np.int64), np.arange(space.size)
    if space.segments:
        parts = [_spread(part) for part in space.segments]
        return np.concatenate([leaf for leaf, _ in parts]), np.concatenate([index for _, index in parts])
    assert space.blocks is not None
    (outer, outer_at), (inner, inner_at) = (_spread(part) for part in space.blocks)
    if (inner == FIXED).all():
        return outer.repeat(len(inner)), outer_at.repeat(len(inner))
    if (outer == FIXED).all() and find(space.blocks[1]).nested is None:
        return np.tile(inner, len(outer)), np.tile(inner_at, len(outer))
    return np.full(space.size, SEVERAL), np.zeros(space.size, dtype=np.int64)


def _powers(space: Space) -> np.ndarray:
    """Return the power of each element along an axis of a parameter. An unknown power is returned as 0."""
    if space.power is not None or not space.segments:
        return np.full(space.size, space.power or 0)
    return np.concatenate([_powers(part) for part in space.segments])

"""From what was learned of every axis to groups, axes and layers: a trace in, an architecture out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import define, field
from torch import Tensor, nn

from sneframe.architecture.description import Architecture, Axis, Layer, NeuronGroup, Parameter, Segment
from sneframe.architecture.operations import Operation, attributes, kind_of, owner_path, role
from sneframe.architecture.space import Space, find, fix, leaves, unnest
from sneframe.architecture.trace import Trace

Key = tuple[int, int | None]  # a leaf, and the leaf that it is nested in

TRIVIAL, INTRICATE = -1, -2  # in the place of a leaf: nothing acts, or more than one leaf does


@define(eq=False)
class _Group:
    leaf: Space
    size: int
    parent: Key | None
    actions: list[str] = field(factory=lambda: ["permute"])
    name: str = ""


class Emission:
    """Turns the spaces of a trace into groups and axes."""

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor], trace: Trace) -> None:
        self.module = module
        self.state = state
        self.axes = trace.axes
        self.operations = trace.operations.found
        self.groups: dict[Key, _Group] = {}
        known = {name for operation in self.operations for name in operation.names}
        self.unused = tuple(name for name in state if name not in known)
        self.changed = False
        self.powers: dict[str, dict[str, list[np.ndarray]]] = {}

    def architecture(self) -> Architecture:
        """Return what the trace has found."""
        self._add_unused()
        while self._simplify():
            pass
        found: dict[str, list[list[tuple[Any, ...]]]] = {}
        for operation in self.operations:
            for name in operation.names:
                found[name] = self._axes(name)
        self._act()
        for number, group in enumerate(self.groups.values()):
            group.name = f"hidden{number}"
        layers = [self._layer(operation, found) for operation in self.operations]
        groups = [
            NeuronGroup(
                name=group.name,
                size=group.size,
                actions=tuple(group.actions),
                parent=self.groups[group.parent].name if group.parent else None,
            )
            for group in self.groups.values()
        ]
        return Architecture(layers=layers, groups=groups)

    # -- permutations ----------------------------------------------------------------------------------------

    def _add_unused(self) -> None:
        """Describe parameters that the forward pass never touched, as fixed."""
        for name in self.unused:
            for spaces in self.axes[name].values():
                for space in spaces:
                    fix(space)
            path = owner_path(name)
            beside = next((o for o in self.operations if any(owner_path(n) == path for n in o.names)), None)
            if beside is None:
                owner = dict(self.module.named_modules())[path]
                kind = kind_of(owner)
                beside = Operation(kind or "parameter", attributes=attributes(owner, kind) if kind else {})
                self.operations.append(beside)
            beside.names.append(name)
        if self.unused:
            shown = ", ".join(map(repr, self.unused[:4]))
            more = f" and {len(self.unused) - 4} more" if len(self.unused) > 4 else ""
            line = f"the forward pass does not use {shown}{more}; taken as fixed"
            warnings.warn(f"{type(self.module).__name__}: {line}", stacklevel=4)

    def _simplify(self) -> bool:
        """Fix or unnest what an architecture cannot express; whether anything was."""
        self.changed = False
        for spaces in self.axes.values():
            axes = [self._segments(space) for space in spaces["permute"]]
            for axis, segments in enumerate(axes):
                for segment in segments:
                    for place, factor in enumerate(segment):
                        nested = isinstance(factor, Space) and factor.nested is not None
                        if nested and self._parent(axes, axis, segment, place) is None:
                            unnest(factor)
                            self.changed = True
        return self._fix_lonely() or self.changed

    def _fix_lonely(self) -> bool:
        """Fix leaves on one axis of one parameter: nothing answers to them, as to the unused end of a table of masks."""
        met: dict[int, tuple[int, Space]] = {}
        for spaces in self.axes.values():
            for space in spaces["permute"]:
                for leaf in {id(leaf): leaf for leaf in leaves(space)}.values():
                    met[id(leaf)] = (met.get(id(leaf), (0, leaf))[0] + 1, leaf)
        lonely = [leaf for count, leaf in met.values() if count == 1 and not leaf.fixed and leaf.size > 1]
        for leaf in lonely:
            fix(leaf)
        return bool(lonely)

    def _segments(self, space: Space) -> list[tuple[Any, ...]]:
        """Return a space as segments of sizes and leaves."""
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
        self, axes: list[list[tuple[Any, ...]]], axis: int, segment: tuple[Any, ...], place: int
    ) -> Space | None:
        """Return the leaf that a factor is nested in, where it stands before it: in its segment, or on one axis before.

        Where it stands in two places, nothing says in which of its elements an entry is.
        """
        leaf = segment[place]
        within = {id(found) for found in leaves(leaf.nested)} if leaf.nested is not None else set()

        def outer(factors: Sequence[Any]) -> list[Space]:
            return [f for f in factors if isinstance(f, Space) and id(f) in within]

        found = outer(segment[:place])
        if not found and not outer(segment[place + 1 :]) and all(len(segments) == 1 for segments in axes):
            found = outer([factor for segments in axes[:axis] for factor in segments[0]])
        return found[0] if len(found) == 1 and found[0].nested is None else None

    def _axes(self, name: str) -> list[list[tuple[Any, ...]]]:
        """Return the axes of a parameter as segments of sizes and groups' keys; groups are met in order."""
        axes = [self._segments(space) for space in self.axes[name]["permute"]]
        found: list[list[tuple[Any, ...]]] = []
        for axis, segments in enumerate(axes):
            found.append([])
            for segment in segments:
                factors: list[Any] = []
                for place, factor in enumerate(segment):
                    if isinstance(factor, Space):
                        parent = self._parent(axes, axis, segment, place)
                        factors.append(self._key(factor, parent))
                    else:
                        factors.append(factor)
                found[-1].append(tuple(factors))
        return found

    def _key(self, leaf: Space, parent: Space | None) -> Key:
        outer = self._key(parent, None) if parent is not None else None
        key = (id(leaf), outer[0] if outer else None)
        self.groups.setdefault(key, _Group(leaf, leaf.size, outer))
        return key

    # -- scale and sign --------------------------------------------------------------------------------------

    def _act(self) -> None:
        """Find for each group the one scale and the one sign that all of its parameters answer to."""
        for action in ("scale", "sign"):
            uses: dict[int, list[tuple[str, int]]] = {}
            partners: dict[int, set[int]] = {}
            for name, spaces in self.axes.items():
                for axis, space in enumerate(spaces[action]):
                    acts, acts_at = _spread(space)
                    if (acts == INTRICATE).any():
                        partners.update({id(leaf): {INTRICATE} for leaf in leaves(space)})
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
                        same_place = bool((acts_at[here] == moves_at[here]).all())
                        fits = alike and same_place and bool((power[here] != 0).all())
                        partners.setdefault(leaf, set()).update(moves[here].tolist() if fits else [INTRICATE])
                        uses.setdefault(leaf, []).append((name, axis))
            best: dict[int, int] = {}
            for leaf, moved in partners.items():
                (group,) = moved if len(moved) == 1 else (INTRICATE,)
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

    def _answers(self, name: str, axes: list[list[tuple[Any, ...]]], action: str) -> list[list[int]]:
        """Return for every segment of every axis the power with which it answers; nothing where none does."""
        found: list[list[int]] = []
        for segments, powers in zip(axes, self.powers[action][name], strict=True):
            start, row = 0, []
            for segment in segments:
                size = 1
                for factor in segment:
                    size *= factor if isinstance(factor, int) else self.groups[factor].size
                row.append(abs(int(powers[start])) if action == "sign" else int(powers[start]))
                start += size
            found.append(row)
        return found if any(power for row in found for power in row) else []

    # -- layers ----------------------------------------------------------------------------------------------

    def _layer(self, operation: Operation, axes: Mapping[str, list[list[tuple[Any, ...]]]]) -> Layer:
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
                    scale=self._answers(name, axes[name], "scale"),
                    sign=self._answers(name, axes[name], "sign"),
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
            inputs=sorted(operation.inputs),
            activation=operation.activation,
            attributes=operation.attributes | ({"tied": tied} if tied else {}),
        )

    def _named(self, segment: tuple[Any, ...]) -> Segment:
        return tuple(factor if isinstance(factor, int) else self.groups[factor].name for factor in segment)


def _size(segment: tuple[Any, ...]) -> int:
    size = 1
    for factor in segment:
        size *= factor.size if isinstance(factor, Space) else factor
    return size


def _product(factors: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return factors without ones, neighbouring sizes multiplied."""
    found: list[Any] = []
    for factor in factors:
        if isinstance(factor, int) and found and isinstance(found[-1], int):
            found[-1] *= factor
        elif factor != 1:
            found.append(factor)
    return tuple(found) or (1,)


def _merged(segments: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return segments in which those that are fixed and follow each other are one."""
    found: list[tuple[Any, ...]] = []
    for segment in segments:
        fixed = len(segment) == 1 and isinstance(segment[0], int)
        if fixed and found and len(found[-1]) == 1 and isinstance(found[-1][0], int):
            found[-1] = (found[-1][0] + segment[0],)
        else:
            found.append(segment)
    return found


def _spread(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Return for every element of a space its leaf and its place in it, TRIVIAL or INTRICATE where there is no one leaf."""
    space = find(space)
    if space.is_leaf:
        leaf = TRIVIAL if space.fixed or space.size == 1 else id(space)
        return np.full(space.size, leaf, dtype=np.int64), np.arange(space.size)
    if space.segments:
        parts = [_spread(part) for part in space.segments]
        return np.concatenate([leaf for leaf, _ in parts]), np.concatenate([place for _, place in parts])
    assert space.blocks is not None
    (outer, outer_at), (inner, inner_at) = (_spread(part) for part in space.blocks)
    if (inner == TRIVIAL).all():
        return outer.repeat(len(inner)), outer_at.repeat(len(inner))
    if (outer == TRIVIAL).all() and find(space.blocks[1]).nested is None:
        return np.tile(inner, len(outer)), np.tile(inner_at, len(outer))
    return np.full(space.size, INTRICATE), np.zeros(space.size, dtype=np.int64)


def _powers(space: Space) -> np.ndarray:
    """Return for every element of a parameter's axis the power with which it answers to scale; 0 where none is known."""
    if space.power is not None or not space.segments:
        return np.full(space.size, space.power or 0)
    return np.concatenate([_powers(part) for part in space.segments])

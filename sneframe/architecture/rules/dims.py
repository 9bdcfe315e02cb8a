"""What rules do to axes: name them, join them, fix them, note how they answer to scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Dim, fix_dim, unify_dims, whole
from sneframe.architecture.space import Space, is_fixed

Dims = dict[str, list[Dim]]
Rule = Callable[[Call], list[Dims]]


def action_of(dims: Sequence[Dim]) -> str:
    """Return the action that axes are of."""
    return next((digit.space.action for dim in dims for digit in dim), "permute")


def free_dim(size: int, action: str) -> Dim:
    """Return an axis of which nothing is known, as along the copies of a broadcast."""
    return whole(Space(size, action, free=True))


def fixed_dim(size: int, action: str) -> Dim:
    """Return an axis along which nothing acts."""
    return whole(Space(size, action, fixed=True))


def in_place(dims: Sequence[Dim], axis: int, size: int) -> list[Dim]:
    """Return axes along one of which places count: it is fixed, and has this size afterwards."""
    fix_dim(dims[axis])
    return [*dims[:axis], fixed_dim(size, action_of(dims)), *dims[axis + 1 :]]


def without(dims: list[Dim], axis: int) -> list[Dim]:
    """Return the axes but one."""
    return [*dims[:axis], *dims[axis + 1 :]]


def aligned(dims: list[Dim], ndim: int) -> list[Dim]:
    """Return axes padded in front to so many, as broadcasting does."""
    return [()] * (ndim - len(dims)) + list(dims)


def joined(each: Sequence[list[Dim]]) -> list[Dim]:
    """Make axes of the same place the same, and return them; an axis of size 1 is broadcast."""
    found: list[Dim] = []
    for place in zip(*each, strict=True):
        present = [dim for dim in place if dim]
        for other in present[1:]:
            unify_dims(present[0], other)
        found.append(present[0] if present else ())
    return found


def summed(each: Sequence[list[Dim]]) -> list[Dim]:
    """Join axes under scale and sign; one on which a summand is broadcast is fixed, as that summand is."""
    for place in zip(*each, strict=True):
        if not all(place):
            fix_all(place)
    return joined(each)


def fix_all(dims: Sequence[Dim]) -> None:
    """Make the action trivial along all of these axes."""
    for dim in dims:
        fix_dim(dim)


def is_trivial(dims: Sequence[Dim]) -> bool:
    """Whether the action is trivial along all of these axes."""
    return all(is_fixed(digit.space) for dim in dims for digit in dim)


def mark(call: Call, values: Sequence[Any], action: str, power: int) -> None:
    """Note how the axes of parameters among these values answer to scale."""
    for value in values:
        label = call.labels.get(id(value))
        if label is not None and label.names:
            answer(label.dims[action], power)


def answer(dims: Sequence[Dim], power: int) -> None:
    """Note the power with which an axis answers; an axis that would have to answer in two ways is fixed."""
    for dim in dims:
        for digit in dim:
            if digit.space.power not in (None, power):
                fix_dim(dim)
            digit.space.power = power

"""Build, unify and fix axes for the rules, and set the powers of scales and signs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Dim, fix_dim, unify_dims, whole
from sneframe.architecture.space import Space, is_fixed

Dims = dict[str, list[Dim]]
Rule = Callable[[Call], list[Dims]]


def action_of(dims: Sequence[Dim]) -> str:
    """Return the action of these axes, or ``permute`` if all axes have size 1."""
    return next((digit.space.action for dim in dims for digit in dim), "permute")


def free_dim(size: int, action: str) -> Dim:
    """Return an axis without known constraints, such as the axis along which broadcasting copies elements."""
    return whole(Space(size, action, free=True))


def fixed_dim(size: int, action: str) -> Dim:
    """Return an axis whose elements are fixed."""
    return whole(Space(size, action, fixed=True))


def with_fixed(dims: Sequence[Dim], axis: int, size: int) -> list[Dim]:
    """Fix one axis, and return all axes with this axis replaced by a fixed axis of the given size."""
    fix_dim(dims[axis])
    return [*dims[:axis], fixed_dim(size, action_of(dims)), *dims[axis + 1 :]]


def without(dims: list[Dim], axis: int) -> list[Dim]:
    """Return all axes except the axis with number ``axis``."""
    return [*dims[:axis], *dims[axis + 1 :]]


def aligned(dims: list[Dim], ndim: int) -> list[Dim]:
    """Add axes of size 1 in front, as broadcasting does, and return ``ndim`` axes in total."""
    return [()] * (ndim - len(dims)) + list(dims)


def joined(each: Sequence[list[Dim]]) -> list[Dim]:
    """Unify the first axes of several tensors, then the second axes, and so on. Return the unified axes.

    An axis of size 1 is broadcast instead.
    """
    result: list[Dim] = []
    for axes in zip(*each, strict=True):
        present = [dim for dim in axes if dim]
        for other in present[1:]:
            unify_dims(present[0], other)
        result.append(present[0] if present else ())
    return result


def summed(each: Sequence[list[Dim]]) -> list[Dim]:
    """Unify the axes of the terms of a sum under scale or sign, and return the unified axes.

    If a term is broadcast along an axis, the axis is fixed.
    """
    for axes in zip(*each, strict=True):
        if not all(axes):
            fix_all(axes)
    return joined(each)


def fix_all(dims: Sequence[Dim]) -> None:
    """Fix several axes."""
    for dim in dims:
        fix_dim(dim)


def are_fixed(dims: Sequence[Dim]) -> bool:
    """Whether all of these axes are fixed."""
    return all(is_fixed(digit.space) for dim in dims for digit in dim)


def set_power_of_parameters(call: Call, values: Sequence[Any], action: str, power: int) -> None:
    """Set the power of all axes of the parameters among ``values``."""
    for value in values:
        label = call.labels.get(id(value))
        if label is not None and label.names:
            set_power(label.dims[action], power)


def set_power(dims: Sequence[Dim], power: int) -> None:
    """Set the power of axes under scale or sign. An axis that already has a different power is fixed."""
    for dim in dims:
        for digit in dim:
            if digit.space.power not in (None, power):
                fix_dim(dim)
            digit.space.power = power

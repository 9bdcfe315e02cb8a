"""Check the axes of a parameter against the shape of the parameter and the groups of the architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sneframe.architecture.layer import Factor, Parameter
from sneframe.errors import ArchitectureError, choices


def check_axes(parameter: Parameter, sizes: Mapping[str, int]) -> None:
    """Check the axes and the powers of a parameter against its shape and against the groups.

    The segments of an axis must add up to the size of the axis. An action either has one power for each
    segment of each axis, or no powers.

    Args:
        parameter: the parameter to check.
        sizes: the sizes of the groups, by name.

    Raises:
        ArchitectureError: the segments of an axis do not add up to the size of the axis, an axis names an
            unknown group, or the number of axes or of powers is wrong.
    """
    if len(parameter.axes) != len(parameter.shape):
        raise ArchitectureError(
            f"parameter {parameter.name!r}: {len(parameter.axes)} axes are described, but the shape "
            f"{parameter.shape} has {len(parameter.shape)}"
        )
    segments = tuple(len(axis) for axis in parameter.axes)
    for action, powers in parameter.powers.items():
        if tuple(len(axis) for axis in powers) != segments:
            raise ArchitectureError(
                f"parameter {parameter.name!r}: {action} must have one power for each segment of each axis, "
                f"but got {powers}"
            )
    for axis, linear in zip(parameter.axes, parameter.linear, strict=False):
        for segment, power in zip(axis, linear, strict=True):
            if power not in (-1, 0, 1) or (power and (len(segment) > 1 or isinstance(segment[0], int))):
                raise ArchitectureError(
                    f"parameter {parameter.name!r}: a power of linear must be -1, 0 or 1, and 0 for any "
                    f"segment but a single group, but got {power} for {segment}"
                )
    for number, (size, axis) in enumerate(zip(parameter.shape, parameter.axes, strict=True)):
        total = 0
        for segment in axis:
            for factor in segment:
                if isinstance(factor, str) and factor not in sizes:
                    raise ArchitectureError(
                        f"parameter {parameter.name!r}, axis {number}: unknown group {factor!r}, "
                        f"{choices(factor, sizes)}"
                    )
            total += math.prod(sizes[factor] if isinstance(factor, str) else factor for factor in segment)
        if total != size:
            raise ArchitectureError(
                f"parameter {parameter.name!r}, axis {number}: the segments {axis} add up to {total}, "
                f"but the size of the axis is {size}"
            )


def check_nesting(parameter: Parameter, parents: Mapping[str, str]) -> None:
    """Check that the parent of each nested group occurs exactly once before the nested group.

    The parent must be an earlier factor of the same segment, or a factor on an earlier axis. An earlier axis
    counts only if every axis of the parameter is a single segment.

    Args:
        parameter: the parameter to check.
        parents: the name of the parent of each nested group, by the name of the nested group.

    Raises:
        ArchitectureError: the parent of a nested group does not occur before the nested group, or occurs
            more than once.
    """
    plain = all(len(axis) == 1 for axis in parameter.axes)
    before: list[Factor] = []
    for number, axis in enumerate(parameter.axes):
        for segment in axis:
            for position, factor in enumerate(segment):
                parent = parents.get(factor) if isinstance(factor, str) else None
                if parent is None:
                    continue
                own = segment[:position].count(parent)
                elsewhere = before.count(parent) if plain and parent not in segment else 0
                if own + elsewhere != 1:
                    count = own + elsewhere
                    raise ArchitectureError(
                        f"parameter {parameter.name!r}, axis {number}: group {parent!r} occurs {count} times "
                        f"before its nested group {factor!r}, but must occur exactly once"
                    )
        before += [factor for segment in axis for factor in segment]

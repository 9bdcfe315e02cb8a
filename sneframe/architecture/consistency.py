"""Check that the axes of a parameter agree with its shape, and with the groups of its architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sneframe.architecture.layer import Factor, Parameter
from sneframe.errors import ArchitectureError, choices


def check_axes(parameter: Parameter, sizes: Mapping[str, int]) -> None:
    """Check that each axis of a parameter adds up to its size, and has one power for each segment.

    Args:
        parameter: the parameter to check.
        sizes: the sizes of the groups, by name.

    Raises:
        ArchitectureError: an axis that does not add up, an unknown group, or a wrong number of powers.
    """
    if len(parameter.axes) != len(parameter.shape):
        raise ArchitectureError(
            f"parameter {parameter.name!r}: {len(parameter.axes)} axes are described, but its shape "
            f"{parameter.shape} has {len(parameter.shape)}"
        )
    segments = tuple(len(axis) for axis in parameter.axes)
    for action, powers in parameter.powers.items():
        if tuple(len(axis) for axis in powers) != segments:
            raise ArchitectureError(
                f"parameter {parameter.name!r}: {action} must have one power for each segment of its axes, "
                f"got {powers}"
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
                f"parameter {parameter.name!r}, axis {number}: its segments {axis} add up to {total}, "
                f"but its size is {size}"
            )


def check_nesting(parameter: Parameter, parents: Mapping[str, str]) -> None:
    """Check that each nested group follows its parent: later in the same segment, or on a later axis.

    A parent on an earlier axis counts only if every axis of the parameter is a single segment.

    Args:
        parameter: the parameter to check.
        parents: the parent of each nested group, by name.

    Raises:
        ArchitectureError: a nested group does not follow its parent, or the parent occurs more than once
            before it.
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
                        f"parameter {parameter.name!r}, axis {number}: group {factor!r} is nested in "
                        f"{parent!r}, which must occur once before it, but occurs {count} times"
                    )
        before += [factor for segment in axis for factor in segment]

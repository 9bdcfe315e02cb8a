"""Whether what an architecture says of its parameters adds up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sneframe.errors import ArchitectureError, choices

if TYPE_CHECKING:
    from sneframe.architecture.description import Factor, Parameter


def check_axes(parameter: Parameter, sizes: Mapping[str, int]) -> None:
    """Check that the axes of a parameter add up, in groups of these sizes, and have one power for each segment.

    Raises:
        ArchitectureError: what does not.
    """
    if len(parameter.axes) != len(parameter.shape):
        raise ArchitectureError(
            f"parameter {parameter.name!r}: {len(parameter.axes)} axes are described, its shape {parameter.shape} has "
            f"{len(parameter.shape)}"
        )
    segments = tuple(len(axis) for axis in parameter.axes)
    for action, powers in parameter.powers.items():
        if tuple(len(axis) for axis in powers) != segments:
            raise ArchitectureError(
                f"parameter {parameter.name!r}: {action} must have one power for each segment of its axes, got {powers}"
            )
    for number, (size, axis) in enumerate(zip(parameter.shape, parameter.axes, strict=True)):
        total = 0
        for segment in axis:
            for factor in segment:
                if isinstance(factor, str) and factor not in sizes:
                    raise ArchitectureError(
                        f"parameter {parameter.name!r}, axis {number}: unknown group {factor!r}, {choices(factor, sizes)}"
                    )
            total += math.prod(sizes[factor] if isinstance(factor, str) else factor for factor in segment)
        if total != size:
            raise ArchitectureError(
                f"parameter {parameter.name!r}, axis {number}: its segments {axis} add up to {total}, its size is {size}"
            )


def check_nesting(parameter: Parameter, parents: Mapping[str, str]) -> None:
    """Check that a nested group stands behind its parent in its segment, or, of plain axes, behind one axis with it.

    Raises:
        ArchitectureError: one does not, or its parent stands in two places.
    """
    plain = all(len(axis) == 1 for axis in parameter.axes)
    before: list[Factor] = []
    for number, axis in enumerate(parameter.axes):
        for segment in axis:
            for place, factor in enumerate(segment):
                parent = parents.get(factor) if isinstance(factor, str) else None
                if parent is None:
                    continue
                own = segment[:place].count(parent)
                elsewhere = before.count(parent) if plain and parent not in segment else 0
                if own + elsewhere != 1:
                    how = "in several places" if own + elsewhere else "nowhere"
                    raise ArchitectureError(
                        f"parameter {parameter.name!r}, axis {number}: group {factor!r} acts within {parent!r}, which must "
                        f"stand before it once, and stands before it {how}"
                    )
        before += [factor for segment in axis for factor in segment]

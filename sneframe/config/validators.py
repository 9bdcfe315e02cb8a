"""Checks of options that attrs does not have; each raises a one-line error that names the option."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from attrs.validators import and_, ge, gt, le, lt

from sneframe.errors import PartError


def named(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Check that a given name or expression is not empty, as an unset shell variable is."""
    if value is not None and not value.strip():
        raise ValueError(f"'{attribute.name}' must not be empty; leave it out instead")


def check_names(where: str, names: Iterable[str]) -> None:
    """Check that each of several properties is named, and is named once.

    Args:
        where: the option that lists the names, for the error.
        names: names of the properties.

    Raises:
        ValueError: a name is empty, or is listed twice.
    """
    seen: set[str] = set()
    for name in names:
        if not name.strip():
            raise ValueError(f"{where}: the name of a property must not be empty")
        if name in seen:
            raise ValueError(f"{where}: the property {name!r} is named twice")
        seen.add(name)


def names(_: Any, attribute: attrs.Attribute[Any], value: Sequence[str]) -> None:
    """Check an option that lists properties; see :func:`check_names`."""
    check_names(attribute.name, value)


def finite(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    """Check that a number is neither infinite nor NaN; TOML can say both."""
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be finite, got {value}")


def check_heads(owner: str, width: int, heads: int) -> None:
    """Check that every attention head gets the same number of values.

    Raises:
        PartError: the heads do not divide the width; the error names the ``owner`` of the heads.
    """
    if width % heads:
        raise PartError(f"{owner}: heads must divide width, got heads = {heads} and width = {width}")


#: The range of a seed: TOML's whole numbers have 64 bits, one of them for the sign.
SEED = and_(ge(0), lt(2**63))
#: The range of a fraction that leaves something: above 0, at most 1.
FRACTION = and_(gt(0), le(1))

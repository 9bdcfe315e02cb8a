"""Checks of options that attrs does not have; each raises an error of one line that names the option."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from attrs.validators import and_, ge, gt, le, lt

from sneframe.errors import PartError


def named(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Check that a name or an expression, where one is given, is not empty, as that of an unset variable is."""
    if value is not None and not value.strip():
        raise ValueError(f"'{attribute.name}' must not be empty; leave it out instead")


def check_names(where: str, names: Iterable[str]) -> None:
    """Check that each of several properties is named, and is named once.

    Args:
        where: what names them, as the error says it.
        names: of the properties.

    Raises:
        ValueError: a name is empty, or comes twice.
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
    """Check that a number is neither infinite nor NaN, which TOML has too."""
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be finite, got {value}")


def check_heads(owner: str, width: int, heads: int) -> None:
    """Check that every head gets as many values.

    Raises:
        PartError: it does not, and whose heads they are.
    """
    if width % heads:
        raise PartError(f"{owner}: heads must divide width, got heads = {heads} and width = {width}")


#: What a seed can be: TOML's whole numbers have 64 bits, one of them for the sign.
SEED = and_(ge(0), lt(2**63))
#: A part of something that is there.
SHARE = and_(gt(0), le(1))

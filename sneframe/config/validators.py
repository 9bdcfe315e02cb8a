"""Define checks of options that are not in attrs. Each check raises a one-line error with the option."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from attrs.validators import and_, ge, gt, le, lt

from sneframe.errors import PartError


def named(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Check that a name or an expression is not empty. An unset shell variable makes an empty value."""
    if value is not None and not value.strip():
        raise ValueError(f"'{attribute.name}' must not be empty: give a value, or leave the key out")


def check_names(where: str, names: Iterable[str]) -> None:
    """Check that no name in a list of properties is empty or listed twice.

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
    """Check an option that lists names of properties, with :func:`check_names`."""
    check_names(attribute.name, value)


def finite(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    """Check that a number is neither infinite nor NaN. TOML allows both."""
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be finite, got {value}")


def check_heads(owner: str, width: int, heads: int) -> None:
    """Check that ``heads`` divides ``width``, so that all attention heads get equally many values.

    Raises:
        PartError: ``heads`` does not divide ``width``. The error begins with ``owner``, the name of the part.
    """
    if width % heads:
        raise PartError(f"{owner}: heads must divide width, got heads = {heads} and width = {width}")


#: Checks the range of a seed. An integer of TOML has 64 bits, of which one is the sign.
SEED = and_(ge(0), lt(2**63))
#: Checks the range of a fraction: above 0 and at most 1.
FRACTION = and_(gt(0), le(1))

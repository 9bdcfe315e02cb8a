"""Checks of options that attrs does not have; each raises an error of one line that names the option."""

from __future__ import annotations

import math
from typing import Any

import attrs
from attrs.validators import and_, ge, gt, le, lt

from sneframe.errors import PartError


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

"""Read numbers of bytes that people write with a unit, such as ``2GB``, and write them."""

from __future__ import annotations

import re
from typing import Any

import attrs

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
WRITTEN = re.compile(r"([\d.]+)\s*([a-z]*)", re.IGNORECASE)


def in_bytes(text: str) -> int:
    """Return the number of bytes of a size such as ``2GB`` or ``512MiB``. A number without a unit is bytes.

    Raises:
        ValueError: the text is not a size.
    """
    match = WRITTEN.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError(text)
        return int(float(match[1]) * UNITS[match[2].upper() or "B"])
    except (ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a size such as 2GB or 512MiB") from error


def shown(size: int) -> str:
    """Format a number of bytes, rounded up: ``1 B``, ``38 MiB``."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{-(-size // (1 << power)):,} {unit}"
    return f"{size} B"


def rounded_down(size: int) -> str:
    """Return a size of at most ``size`` bytes as text, with two or more digits, such as ``333MB``."""
    unit = next((unit for unit in ("GB", "MB", "KB") if size >= 10 * UNITS[unit]), "B")
    return f"{size // UNITS[unit]}{unit}"


def a_size(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Check that an option is a size of at least one byte, or None."""
    if value is None:
        return
    try:
        size = in_bytes(value)
    except ValueError as error:
        raise ValueError(
            f"'{attribute.name}' must be a size such as 2GB or 512MiB, but got {value!r}"
        ) from error
    if not size:
        raise ValueError(f"'{attribute.name}' must be at least one byte, but got {value!r}")

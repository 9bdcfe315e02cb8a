"""Format values as TOML on one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w


def inline(value: Any) -> str:
    """Format a value as TOML on one line.

    A mapping becomes an inline table. A table with a header line would end the table that contains the value.
    """
    if isinstance(value, Mapping):
        keys = {name: tomli_w.dumps({name: 0}).removesuffix(" = 0\n") for name in value}
        return f"{{ {', '.join(f'{keys[name]} = {inline(item)}' for name, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")

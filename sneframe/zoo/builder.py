"""What a plugin offers to make a zoo with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import field, frozen

from sneframe.engine import Engine


@frozen(kw_only=True)
class ZooBuilder:
    """One kind of zoo that can be made.

    Args:
        name: ``PLUGIN/NAME``; ``sneframe zoo build NAME`` finds it.
        config: a frozen, keyword-only attrs class; each field becomes an option of the command.
        build: called with a config, the path of the zoo to make, a function to call with ``(done, total)`` as it
            goes on, first with what is there already, and an engine for what can be done at the same time; the zoo does not
            depend on the engine. Returns when the zoo is complete; called again after a kill it goes on where it
            stopped and ends with the same zoo.
        help: one line.
    """

    name: str
    config: type[Any]
    build: Callable[[Any, Path, Callable[[int, int], None], Engine], None]
    help: str = field(default="")

"""Zoo builders: what a plugin registers so that `sneframe zoo build` can make its zoos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import field, frozen

from sneframe.engine import Engine


@frozen(kw_only=True)
class ZooBuilder:
    """A kind of zoo that can be built.

    Args:
        name: ``PLUGIN/NAME``; the command ``sneframe zoo build NAME`` finds the builder by it.
        config: a frozen, keyword-only attrs class; each field becomes an option of the command.
        build: a function that builds the zoo and returns when it is complete. It receives the config, the
            path of the zoo, a progress function to call with ``(done, total)`` (the first call counts the
            networks that exist already), and an engine that runs independent work in parallel. The zoo must
            not depend on the engine. When it is called again after a kill, it continues where it stopped and
            makes the same zoo.
        help: one line for the command line.
    """

    name: str
    config: type[Any]
    build: Callable[[Any, Path, Callable[[int, int], None], Engine], None]
    help: str = field(default="")

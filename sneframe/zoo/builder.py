"""Define ``ZooBuilder``. A plugin registers zoo builders, and ``sneframe zoo build`` runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import field, frozen

from sneframe.engine import Engine


@frozen(kw_only=True)
class ZooBuilder:
    """A builder of one kind of zoo, with a config class and a build function.

    Args:
        name: ``PLUGIN/NAME``, the name of the builder in the command ``sneframe zoo build NAME``.
        config: a frozen, keyword-only attrs class. Each field becomes an option of the command.
        build: a function that builds the zoo and returns when the zoo is complete. The function receives the
            config, the path of the zoo, a progress function to call with ``(done, total)`` (the first call
            counts the networks that exist already), and an engine that runs independent work in parallel. The
            zoo must not depend on the engine. If the function is called again after the process was killed,
            the function continues where it stopped, and the zoo is the same as without the interruption.
        help: one line that describes the builder in the help of the command line.
    """

    name: str
    config: type[Any]
    build: Callable[[Any, Path, Callable[[int, int], None], Engine], None]
    help: str = field(default="")

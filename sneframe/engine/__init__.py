"""Engines call a function for many items: in this process, in other local processes, or on a Ray cluster.

Results never depend on the engine, only on the function and the item. Zoo builders use an engine to train
blocks of networks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from sneframe.engine.engine import Engine
from sneframe.engine.process import ProcessEngine
from sneframe.engine.ray import RayEngine
from sneframe.engine.serial import SerialEngine
from sneframe.errors import ConfigError, choices

__all__ = ["NAMES", "Engine", "ProcessEngine", "RayEngine", "SerialEngine", "cores", "make_engine"]

_KINDS: Final[dict[str, Callable[[int], Engine]]] = {
    "serial": lambda _: SerialEngine(),
    "process": lambda workers: ProcessEngine(workers=workers),
    "ray": lambda workers: RayEngine(workers=workers),
}
NAMES: Final = tuple(_KINDS)  #: names of all engines


def make_engine(name: str, workers: int | None = None) -> Engine:
    """Return the engine ``name``.

    Args:
        name: one of :data:`NAMES`.
        workers: number of workers; by default one for each core that this process may use.

    Raises:
        ConfigError: there is no such engine, or ``workers`` is less than 1.
    """
    if name not in _KINDS:
        raise ConfigError(f"there is no engine {name!r}, {choices(name, NAMES)}")
    if workers is not None and workers < 1:
        raise ConfigError(f"an engine needs at least 1 worker, but got {workers}")
    return _KINDS[name](workers or cores())


def cores() -> int:
    """Return the number of cores that this process may use."""
    # A container or taskset may allow fewer cores than the machine has. macOS and Windows do not report this.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Engines call a function for many items: in this process, in other local processes, or on a Ray cluster.

Results never depend on the engine, only on the function and the item. Independent work goes through an
engine: cells of a comparison, blocks of a zoo, and files that are imported, embedded or predicted.
"""

from __future__ import annotations

from typing import Final

from sneframe.engine.engine import Engine, cores
from sneframe.engine.process import ProcessEngine
from sneframe.engine.ray import RayEngine
from sneframe.engine.serial import SerialEngine
from sneframe.errors import ConfigError, choices

__all__ = ["NAMES", "Engine", "ProcessEngine", "RayEngine", "SerialEngine", "cores", "make_engine"]

NAMES: Final = ("serial", "process", "ray")  #: names of all engines


def make_engine(name: str, workers: int | None = None, address: str | None = None) -> Engine:
    """Return the engine ``name``.

    Args:
        name: one of :data:`NAMES`.
        workers: number of workers; by default one for each core that this process may use, or one for each
            core of an existing Ray cluster.
        address: address of an existing Ray cluster, such as ``ray://host:10001``; by default that in
            ``RAY_ADDRESS``. Without any, the engine ``ray`` starts a cluster on this machine.

    Raises:
        ConfigError: there is no such engine, ``workers`` is less than 1, or ``address`` is given for an
            engine that has none.
        PluginError: Ray is needed, and not installed.
    """
    if name not in NAMES:
        raise ConfigError(f"there is no engine {name!r}, {choices(name, NAMES)}")
    if workers is not None and workers < 1:
        raise ConfigError(f"an engine needs at least 1 worker, but got {workers}")
    if name == "ray":
        return RayEngine(workers=workers, address=address)
    if address is not None:
        raise ConfigError(f"only the engine 'ray' has an address, but engine {name!r} got {address!r}")
    return SerialEngine() if name == "serial" else ProcessEngine(workers=workers or cores())

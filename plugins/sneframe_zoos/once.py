"""A zoo is made once: one that is there is left as it is, one that somebody else is making is waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sneframe import __version__
from sneframe.errors import ZooError
from sneframe.zoo import open_zoo
from sneframe_zoos.blocks import alone, difference

logger = logging.getLogger(__name__)


def made_by(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attribute ``builder`` of a zoo, by which :func:`holds` knows it again."""
    return {"name": name, "version": __version__, "config": dict(options)}


def once(
    path: Path, name: str, options: Mapping[str, Any], defaults: Mapping[str, Any], make: Callable[[], None]
) -> bool:
    """Make a zoo unless it is there; return whether it was made just now.

    Args:
        path: of the zoo.
        name: of the builder.
        options: JSON values that determine the zoo.
        defaults: of these, for a zoo that was made before an option was there.
        make: makes it.

    Raises:
        ZooError: the path holds something else.
        MachineError: the folder that it is to lie in cannot be written to.
    """
    if not holds(path, name, options, defaults):
        with alone(path):
            if not holds(path, name, options, defaults):  # made by the one that was waited for
                make()
                return True
    logger.warning("%s is complete, it is left as it is", path)
    return False


def holds(path: Path, name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Return whether the zoo of these options is there.

    Raises:
        ZooError: something else is there.
    """
    if not path.exists():
        return False
    attribute = open_zoo(path, unhealthy=True).attributes["builder"] or {}
    found = {**defaults, "builder": attribute.get("name"), **attribute.get("config", {})}
    key = {"builder": name, **options}
    if found != key:
        raise ZooError(f"{path} holds a zoo with {difference(found, key)}; remove it, or choose another path")
    return True

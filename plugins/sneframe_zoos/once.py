"""Build a zoo only if it does not exist. If another process is building the zoo, wait for that process."""

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
    """Return the value of a zoo's attribute ``builder``, by which :func:`holds` recognises the zoo."""
    return {"name": name, "version": __version__, "config": dict(options)}


def once(
    path: Path, name: str, options: Mapping[str, Any], defaults: Mapping[str, Any], make: Callable[[], None]
) -> bool:
    """Build a zoo unless it exists. Return whether this call built it.

    Args:
        path: path of the zoo.
        name: name of the builder.
        options: JSON values that determine the zoo.
        defaults: the default of each option, for options that an older zoo does not record.
        make: a function that builds the zoo.

    Raises:
        ZooError: ``path`` holds something other than this zoo.
        MachineError: the folder of the zoo cannot be written to.
    """
    if not holds(path, name, options, defaults):
        with alone(path):
            if not holds(path, name, options, defaults):  # another process may have built it meanwhile
                make()
                return True
    logger.warning("%s exists and is complete; it is kept", path)
    return False


def holds(path: Path, name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Return whether ``path`` holds the zoo that the builder ``name`` builds from ``options``.

    Raises:
        ZooError: ``path`` holds something other than this zoo, such as a zoo of other options.
    """
    if not path.exists():
        return False
    attribute = open_zoo(path, unhealthy=True).attributes["builder"] or {}
    stored = {**defaults, "builder": attribute.get("name"), **attribute.get("config", {})}
    wanted = {"builder": name, **options}
    if stored != wanted:
        raise ZooError(
            f"{path} holds a zoo with {difference(stored, wanted)}; remove that zoo, or choose another path"
        )
    return True

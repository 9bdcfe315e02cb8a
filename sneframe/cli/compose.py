"""Recipe, file and options of a command to one configuration, with errors that name the file where they are its."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sneframe.compose import compose as lay
from sneframe.config.schema import RunConfig
from sneframe.errors import SneframeError


def compose(plugin: str | None, file: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Return what :func:`sneframe.compose.compose` does; an error that the file makes begins with its path.

    Raises:
        ConfigError: nothing to start from, or an impossible configuration.
        PluginError: a plugin, recipe or part that is not there.
    """
    try:
        return lay(plugin, file, overrides)
    except SneframeError as error:
        fault = _fault(plugin, file)
        if fault is None or fault.startswith((f"{file}: ", "no such configuration file: ")):
            raise
        raise type(error)(f"{file}: {fault}") from error


def _fault(plugin: str | None, file: Path | None) -> str | None:
    """Return what is wrong with a file, and neither with the recipe that it is laid over nor with other options."""
    if file is None:
        return None
    try:
        if plugin is not None:
            lay(plugin, None, {})
    except SneframeError:
        return None
    try:
        lay(plugin, file, {})
    except SneframeError as error:
        return str(error)
    return None

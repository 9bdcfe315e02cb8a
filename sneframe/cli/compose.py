"""Compose one configuration from a command's recipe, file and options. Errors in the file name the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sneframe.compose import compose as lay
from sneframe.config.schema import RunConfig
from sneframe.errors import SneframeError


def compose(plugin: str | None, file: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Call :func:`sneframe.compose.compose`. An error that the file causes begins with the path of the file.

    Raises:
        ConfigError: neither a recipe nor a file is given, or the configuration is impossible.
        PluginError: there is no such plugin, recipe or part.
    """
    try:
        return lay(plugin, file, overrides)
    except SneframeError as error:
        fault = _fault(plugin, file)
        if fault is None or fault.startswith((f"{file}: ", "no such configuration file: ")):
            raise
        raise type(error)(f"{file}: {fault}") from error


def _fault(plugin: str | None, file: Path | None) -> str | None:
    """Return the error that the file alone causes, or None if the recipe or the options cause the error."""
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

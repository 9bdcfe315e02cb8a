"""Define command groups whose commands come from the builders or importers of plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import click


class Offers(click.Group):
    """A group with a command for each builder or importer. A command loads only the plugin of its name.

    Args:
        shipped: the plugin whose builders or importers are written NAME. Others are written PLUGIN/NAME.
        noun: the kind of object that plugins offer, in the words of the registry.
        make: makes the command from the name and the offered object.
        more: further arguments of ``click.Group``.
    """

    def __init__(
        self,
        *,
        shipped: str,
        noun: Literal["zoo", "importer"],
        make: Callable[[str, Any], click.Command],
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self._shipped, self._noun, self._make = shipped, noun, make

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names that the shipped plugin offers."""
        from sneframe.plugins import load

        return sorted(
            name.removeprefix(f"{self._shipped}/")
            for name in getattr(load([self._shipped]), f"{self._noun}s")
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load the plugin of a name and return the command for that name."""
        from sneframe.plugins import load

        name = cmd_name if "/" in cmd_name else f"{self._shipped}/{cmd_name}"
        return self._make(cmd_name, getattr(load([name.partition("/")[0]]), self._noun)(name))

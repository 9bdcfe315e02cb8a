"""Groups of commands that plugins offer by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import click


class Offers(click.Group):
    """Looks a command up by its name, loading the one plugin that the name says.

    Args:
        shipped: the plugin whose offers need no prefix; those of others are called PLUGIN/NAME.
        noun: what is offered, as a registry calls it.
        make: gives the command of a name and what is offered under it.
        more: of a group.
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
        """Return the offers of the shipped plugin."""
        from sneframe.plugins import load

        return sorted(
            name.removeprefix(f"{self._shipped}/")
            for name in getattr(load([self._shipped]), f"{self._noun}s")
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Make the command of one offer."""
        from sneframe.plugins import load

        name = cmd_name if "/" in cmd_name else f"{self._shipped}/{cmd_name}"
        return self._make(cmd_name, getattr(load([name.partition("/")[0]]), self._noun)(name))

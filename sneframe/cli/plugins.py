"""Define ``sneframe plugins``, which lists the installed plugins and what they offer."""

from __future__ import annotations

import click


@click.command()
@click.option("--load", is_flag=True, help="Import each plugin and show what it offers, or its error.")
def plugins(load: bool) -> None:  # noqa: FBT001  # click passes it by name
    """List the installed plugins."""
    from sneframe.cli.terminal import say
    from sneframe.plugins import installed

    found = installed().values()
    # These are plain lines, because a table would be cut off at the width of the terminal or of a pipe.
    rows = [("plugin", "distribution", "version", "module")]
    rows += [(plugin.name, plugin.distribution, plugin.version, plugin.module) for plugin in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for offer in _offers(row[0]) if load and row is not rows[0] else ():
            say(f"  {offer}")


def _offers(name: str) -> list[str]:
    from sneframe.errors import PluginError
    from sneframe.plugins import load

    try:
        registry = load([name])
    except PluginError as error:
        return [f"error: {error}"]
    parts = [f"{part.slot} {name}" for name, part in registry.parts.items()]
    zoos = [f"zoo {name}" for name in registry.zoos]
    importers = [f"importer {name}" for name in registry.importers]
    recipes = [f"recipe {name}" for name in registry.recipes]
    suites = [f"suite {name}" for name in registry.suites]
    return [*parts, *zoos, *importers, *recipes, *suites]

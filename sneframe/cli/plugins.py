"""``sneframe plugins``: what is installed, and what it offers."""

from __future__ import annotations

import click


@click.command()
@click.option("--load", is_flag=True, help="Import each plugin and show what it offers, or its error.")
def plugins(load: bool) -> None:  # noqa: FBT001  # click passes it by name
    """List the installed plugins."""
    from rich.console import Console
    from rich.table import Table

    from sneframe.plugins import installed

    found = installed()
    table = Table("plugin", "distribution", "version", "module", *(["offers"] if load else []))
    for plugin in found.values():
        cells = [plugin.name, plugin.distribution, plugin.version, plugin.module]
        table.add_row(*cells, *([_offers(plugin.name)] if load else []))
    Console().print(table, highlight=False, markup=False)


def _offers(name: str) -> str:
    from rich.markup import escape

    from sneframe.errors import PluginError
    from sneframe.plugins import load

    try:
        registry = load([name])
    except PluginError as error:
        return f"error: {escape(str(error))}"
    parts = [f"{part.slot} {name}" for name, part in registry.parts.items()]
    zoos = [f"zoo {name}" for name in registry.zoos]
    recipes = [f"recipe {name}" for name in registry.recipes]
    return "\n".join(escape(line) for line in (*parts, *zoos, *recipes))

"""Define ``sneframe config``, which prints a recipe's complete configuration, with all keys explained."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--plugin", help="A recipe, PLUGIN/NAME; PLUGIN alone means PLUGIN/default.")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="A TOML file: a complete configuration, or changes to the recipe.",
)
@click.option(
    "--set", "words", multiple=True, metavar="KEY=VALUE", help="Override one key, such as train.epochs=50."
)
def config(plugin: str | None, file: Path | None, words: tuple[str, ...]) -> None:
    """Print a complete configuration as TOML with all keys explained.

    Edit the output in a file, and pass the file to sneframe run --config.
    """
    from sneframe.cli.compose import compose
    from sneframe.config.schema import parse_set
    from sneframe.config.structure import to_commented_toml

    click.echo(to_commented_toml(compose(plugin, file, parse_set(words))), nl=False)

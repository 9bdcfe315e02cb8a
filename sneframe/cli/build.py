"""``sneframe zoo build NAME``: every builder's configuration becomes the options of its command."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

if TYPE_CHECKING:
    from sneframe.zoo.builder import ZooBuilder

SHIPPED = "zoos"  #: the plugin whose builders need no prefix


class Builders(click.Group):
    """Looks a builder up by its name, loading the one plugin that the name says."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the builders of the shipped plugin; those of others are called PLUGIN/NAME."""
        from sneframe.plugins import load

        return sorted(name.removeprefix(f"{SHIPPED}/") for name in load([SHIPPED]).zoos)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Make the command of one builder."""
        from sneframe.plugins import load

        name = cmd_name if "/" in cmd_name else f"{SHIPPED}/{cmd_name}"
        return _command(cmd_name, load([name.partition("/")[0]]).zoo(name))


@click.group(cls=Builders)
def build() -> None:
    """Make a zoo: train many networks, and keep their weights and properties."""


def _command(name: str, builder: ZooBuilder) -> click.Command:
    kinds = typing.get_type_hints(builder.config)
    options: list[click.Parameter] = [
        click.Option(
            [f"--{attribute.name.replace('_', '-')}"],
            type=_click_type(kinds[attribute.name]),
            default=attribute.default,
            show_default=True,
            help=attribute.metadata.get("help", ""),
        )
        for attribute in attrs.fields(builder.config)
    ]
    out = click.Option(
        ["--out"], type=click.Path(path_type=Path), required=True, help="Folder of the zoo to make."
    )

    def callback(out: Path, **values: Any) -> None:
        from sneframe.cli.terminal import Terminal
        from sneframe.errors import ConfigError, Interrupted
        from sneframe.progress import Reporter
        from sneframe.zoo.staging import check_place

        check_place(out)  # before hours of training, and before a builder keeps its blocks there
        try:
            config = builder.config(**values)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"zoo build {name}: {error.args[0] if error.args else error}") from error
        reporter = Reporter(Terminal())
        try:
            with reporter.bar(f"zoo build {name}") as advance:
                builder.build(config, out, advance)
        except KeyboardInterrupt as error:
            raise Interrupted(f"{out} is not complete; the same command goes on with it") from error
        reporter.say(f"zoo: {out}")

    return click.Command(name, callback=callback, params=[*options, out], help=builder.help)


def _click_type(kind: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        return CommaSeparated(typing.get_args(kind)[0])
    return kind


class CommaSeparated(click.ParamType[tuple[Any, ...]]):
    """``32,32`` as a tuple."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.name = f"{kind.__name__},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Read the words between commas."""
        if not isinstance(value, str):
            return tuple(value)
        try:
            return tuple(self.kind(word) for word in value.split(",") if word.strip())
        except ValueError:
            self.fail(f"{value!r} is not a comma-separated list of {self.kind.__name__}", param, ctx)

"""``sneframe zoo build NAME``: every builder's configuration becomes the options of its command."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import attrs
import click

from sneframe.engine import NAMES, make_engine
from sneframe.errors import PluginError

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
    options = [
        _option(builder.name, attribute, kinds[attribute.name])
        for attribute in attrs.fields(builder.config)
        if attribute.init
    ]
    own = [
        click.Option(
            ["--out"], type=click.Path(path_type=Path), required=True, help="Folder of the zoo to make."
        ),
        click.Option(
            ["--engine"],
            type=click.Choice(NAMES),
            default="process",
            show_default=True,
            help="Where blocks of networks are trained: here, in processes of this machine, or on a Ray cluster; the "
            "zoo is the same.",
        ),
        click.Option(
            ["--workers"], type=click.IntRange(min=1), help="Of the engine.  [default: one per core]"
        ),
    ]
    if taken := {str(option.name) for option in own} & {str(option.name) for option in options}:
        raise PluginError(
            f"zoo {builder.name!r}: an option cannot be called {sorted(taken)[0]!r}, the command has one of that name"
        )

    def callback(out: Path, engine: str, workers: int | None, **values: Any) -> None:
        from sneframe.cli.terminal import Terminal
        from sneframe.errors import ConfigError, Interrupted
        from sneframe.progress import Reporter
        from sneframe.zoo.staging import check_place

        check_place(out)  # before hours of training, and before a builder keeps its blocks there
        try:
            # What is not given is left to the class, which may make it of the other values.
            config = builder.config(**{key: value for key, value in values.items() if value is not None})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"zoo build {name}: {error.args[0] if error.args else error}") from error
        reporter = Reporter(Terminal())
        try:
            with reporter.bar(f"zoo build {name}", unit="networks") as advance:
                builder.build(config, out, advance, make_engine(engine, workers))
        except KeyboardInterrupt as error:
            raise Interrupted(f"{out} is not complete; the same command goes on with it") from error
        reporter.say(f"zoo: {out}")

    return click.Command(name, callback=callback, params=[*options, *own], help=builder.help)


def _option(builder: str, attribute: attrs.Attribute[Any], kind: Any) -> click.Option:
    """Return the option of one field."""
    name, default = str(attribute.alias), typing.cast("Any", attribute.default)
    word, what = name.replace("_", "-"), f"zoo {builder!r}: option {name!r}"
    more: dict[str, Any] = {}
    if type(default) is attrs.Factory:
        default = None if default.takes_self else default.factory()
    if default is attrs.NOTHING:
        more = {"required": True}
    elif default is not None:
        more = {"default": default, "show_default": True}
    return click.Option(
        [name, f"--{word}/--no-{word}" if _without_none(kind) is bool else f"--{word}"],
        type=_click_type(_without_none(kind), what),
        help=attribute.metadata.get("help", ""),
        **more,
    )


def _without_none(kind: Any) -> Any:
    """Return T for ``T | None``: an option that is not given is None."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        others = [each for each in typing.get_args(kind) if each is not type(None)]
        return others[0] if len(others) == 1 else kind
    return kind


def _click_type(kind: Any, what: str) -> Any:
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind in (bool, int, float, str):
        return kind
    if kind is Path:
        return click.Path(path_type=Path)
    if origin is Literal:
        return click.Choice(inner)
    if origin in (tuple, list, Sequence) and inner and inner[0] in (bool, int, float, str):
        return CommaSeparated(inner[0], list if origin is list else tuple)
    raise PluginError(
        f"{what} must be an int, float, str, bool, Path or Literal, a tuple or list of the first four, or one of "
        f"these or None, got {kind}"
    )


class CommaSeparated(click.ParamType[Sequence[Any]]):
    """``32,32`` as a tuple or a list.

    Args:
        kind: of what stands between the commas.
        make: the tuple or list.
    """

    def __init__(self, kind: type, make: type[tuple[Any, ...]] | type[list[Any]]) -> None:
        self.kind = kind
        self.make = make
        self.name = f"{kind.__name__},…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[Any]:
        """Read the words between commas."""
        if not isinstance(value, str):
            return self.make(value)
        read = click.types.convert_type(self.kind)
        try:
            return self.make(
                read.convert(word.strip(), param, ctx) for word in value.split(",") if word.strip()
            )
        except click.BadParameter:
            self.fail(f"{value!r} is not a comma-separated list of {self.kind.__name__}", param, ctx)

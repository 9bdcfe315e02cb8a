"""Create command-line options from the fields of a configuration class."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union

import attrs
import click

from sneframe.errors import ConfigError, PluginError


def options(what: str, config: type[Any], own: Sequence[click.Parameter]) -> list[click.Parameter]:
    """Return an option for each field of a class.

    Args:
        what: the name of the class's owner in errors, such as ``zoo 'zoos/demo'``.
        config: a frozen, keyword-only attrs class.
        own: the command's other options, whose names are taken.

    Raises:
        PluginError: a field has a type that options cannot have, or the name of another option.
    """
    kinds = typing.get_type_hints(config)
    found: list[click.Parameter] = [
        _option(what, each, kinds[each.name]) for each in attrs.fields(config) if each.init
    ]
    if taken := {str(each.name) for each in own} & {str(each.name) for each in found}:
        raise PluginError(
            f"{what}: no option can be named {sorted(taken)[0]!r}; the command has an option of that name"
        )
    return found


def configured(what: str, config: type[Any], values: dict[str, Any]) -> Any:
    """Create a configuration from options. Unset fields use the class's defaults, which may be computed.

    Raises:
        ConfigError: the class refuses a value.
    """
    try:
        return config(**{key: value for key, value in values.items() if value is not None})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{what}: {error.args[0] if error.args else error}") from error


def _option(what: str, attribute: attrs.Attribute[Any], kind: Any) -> click.Option:
    """Return the option for one field. ``what`` is the name of the owner of the class in errors."""
    name, default = str(attribute.alias), typing.cast("Any", attribute.default)
    word, owner = name.replace("_", "-"), f"{what}: option {name!r}"
    more: dict[str, Any] = {}
    if attribute.metadata.get("repeated"):
        help_text = attribute.metadata["help"]
        return click.Option([name, f"--{word}"], type=str, multiple=True, help=help_text)
    if type(default) is attrs.Factory:
        default = None if default.takes_self else default.factory()
    if default is attrs.NOTHING:
        more = {"required": True}
    elif default is not None:
        more = {"default": default, "show_default": True}
    return click.Option(
        [name, f"--{word}/--no-{word}" if _without_none(kind) is bool else f"--{word}"],
        type=_click_type(_without_none(kind), owner),
        help=attribute.metadata.get("help", ""),
        **more,
    )


def _without_none(kind: Any) -> Any:
    """Return the type T for ``T | None``. An option that is not given is None anyway."""
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
        f"{what} must have the type int, float, str, bool, Path or Literal, a tuple or list of the first "
        f"four, or any of these with None, but got {kind}"
    )


class CommaSeparated(click.ParamType[Sequence[Any]]):
    """Converts ``32,32`` to a tuple or a list.

    Args:
        kind: the type of the values between the commas.
        make: ``tuple`` or ``list``.
    """

    def __init__(self, kind: type, make: type[tuple[Any, ...]] | type[list[Any]]) -> None:
        self.kind = kind
        self.make = make
        self.name = f"{kind.__name__},…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[Any]:
        """Convert each value between the commas to ``kind``."""
        if not isinstance(value, str):
            return self.make(value)
        read = click.types.convert_type(self.kind)
        try:
            return self.make(
                read.convert(word.strip(), param, ctx) for word in value.split(",") if word.strip()
            )
        except click.BadParameter:
            self.fail(f"{value!r} is not a comma-separated list of {self.kind.__name__}", param, ctx)

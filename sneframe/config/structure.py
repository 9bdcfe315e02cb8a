"""Plain data and TOML to and from a :class:`~.schema.RunConfig`, strictly: one line says what is wrong, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

import attrs
import cattrs
import tomli_w
from cattrs.errors import BaseValidationError

from sneframe.config.schema import NONE, SLOTS, Choice, RunConfig
from sneframe.config.strict import first_line, may_be_none, refused, strict_converter
from sneframe.config.toml import inline
from sneframe.errors import ConfigError

if TYPE_CHECKING:
    from sneframe.plugins import Registry


def structure(data: Mapping[str, Any], registry: Registry) -> RunConfig:
    """Check a configuration and return it as a value.

    Raises:
        ConfigError: one line that says where, what was got, and what could be.
    """
    for slot in SLOTS:
        if slot != "invariance" and slot not in data:
            raise ConfigError(
                f"the configuration names no {slot}; start from a recipe with --plugin, `sneframe plugins --load` lists them"
            )
    try:
        return _converter(registry).structure(data, RunConfig)
    except BaseValidationError as error:
        raise ConfigError(first_line(error, "the configuration")) from error


def unstructure(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as plain data, complete: :func:`structure` makes the same one of it.

    Raises:
        ConfigError: a value that may be None is the word for it.
    """
    plain: dict[str, Any] = _plain(config)
    return plain | {"invariance": plain["invariance"] if config.invariance else {"part": NONE}}


def to_toml(config: RunConfig) -> str:
    """Return the complete configuration as TOML."""
    return tomli_w.dumps(unstructure(config))


def to_commented_toml(config: RunConfig) -> str:
    """Return the complete configuration as TOML in which every key is explained."""
    plain = unstructure(config)
    tables = [attribute for attribute in attrs.fields(RunConfig) if isinstance(plain[attribute.name], dict)]
    lines = [
        line
        for attribute in attrs.fields(RunConfig)
        if attribute not in tables
        for line in _commented(attribute, plain[attribute.name])
    ]
    for table in tables:
        value, shown = getattr(config, table.name), plain[table.name]
        lines += ["", f"[{table.name}]"]
        if table.name in SLOTS:
            lines.append(tomli_w.dumps({"part": shown["part"]}).rstrip())
            value = value.config if value else None
        if value is not None:
            lines += [
                line for each in attrs.fields(type(value)) for line in _commented(each, shown[each.name])
            ]
    return "\n".join(lines) + "\n"


def _commented(attribute: attrs.Attribute[Any], shown: Any) -> list[str]:
    help_text = attribute.metadata.get("help", "")
    return [f"# {help_text}"] * bool(help_text) + [f"{attribute.name} = {inline(shown)}"]


def _plain(value: Any) -> Any:
    if value is None:
        return NONE
    if isinstance(value, Choice):
        return {"part": value.part, **_plain(value.config)}
    if attrs.has(type(value)):
        found = {attribute.name: getattr(value, attribute.name) for attribute in attrs.fields(type(value))}
        for name in (name for name, item in found.items() if item == NONE):
            if may_be_none(get_type_hints(type(value))[name]):
                raise ConfigError(f"{name}: {NONE!r} is the word for no value, it cannot be one")
        value = found
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


# -- the converter ------------------------------------------------------------------------------------------------


def _converter(registry: Registry) -> cattrs.Converter:
    converter = strict_converter(table="a table", none=NONE, extra=False)

    def choice(data: Any, _: Any) -> Choice:
        if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
            raise refused("a table with part = 'PLUGIN/NAME'", data)
        part = registry.part(data["part"])
        options = {key: value for key, value in data.items() if key != "part"}
        return Choice(part=part.name, config=converter.structure(options, part.Config))

    def choice_or_none(data: Any, kind: Any) -> Choice | None:
        if not isinstance(data, Mapping):
            raise refused(f"a table with part = 'PLUGIN/NAME' or {NONE!r}", data)
        if data.get("part") != NONE:
            return choice(data, kind)
        if options := sorted(set(data) - {"part"}):
            raise TypeError(f"part = {NONE!r} has no options, got {options[0]!r}; name a part too")
        return None

    converter.register_structure_hook(Choice, choice)
    converter.register_structure_hook_func(lambda kind: kind == Choice | None, choice_or_none)
    return converter

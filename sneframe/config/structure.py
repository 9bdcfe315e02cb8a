"""Turn plain data into a :class:`~.schema.RunConfig`, and a RunConfig into plain data or TOML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    from sneframe.parts.part import Part

#: Converts plain data to the options of a part.
OPTIONS = strict_converter(table="a table", none=NONE, extra=False)


def structure(data: Mapping[str, Any], part: Callable[[str], type[Part]]) -> RunConfig:
    """Check a configuration in plain data, and return the configuration as a :class:`~.schema.RunConfig`.

    Args:
        data: the configuration as plain data, in which a part is given by its name.
        part: function that returns the class of a part from its name, such as :func:`sneframe.plugins.part`.

    Raises:
        ConfigError: a key is missing or unknown, or a value is wrong. The error names the key.
    """
    for slot in SLOTS:
        if slot != "invariance" and slot not in data:
            raise ConfigError(
                f"the configuration has no part for {slot!r}: start from a recipe with --plugin "
                f"(`sneframe plugins --load` lists the recipes)"
            )
    try:
        return _converter(part).structure(data, RunConfig)
    except BaseValidationError as error:
        raise ConfigError(first_line(error, "the configuration")) from error


def choose(part: type[Part], options: Mapping[str, Any]) -> Choice:
    """Check options for a part as strictly as the options in a file, and return both as a Choice.

    Raises:
        ConfigError: an option is missing or unknown, or a value is wrong. The error names part and option.
    """
    try:
        return Choice(part=part, config=OPTIONS.structure(plain(options), part.Config))
    except BaseValidationError as error:
        raise ConfigError(first_line(error, part.name, part.name)) from error


def unstructure(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as plain data with all keys. :func:`structure` inverts this function.

    Raises:
        ConfigError: an option that may be None has the string ``"none"`` as its value.
    """
    found: dict[str, Any] = plain(config)
    return found | {"invariance": found["invariance"] if config.invariance else {"part": NONE}}


def to_toml(config: RunConfig) -> str:
    """Return a configuration as TOML with all keys."""
    return tomli_w.dumps(unstructure(config))


def to_commented_toml(config: RunConfig) -> str:
    """Return a configuration as TOML with all keys, and with the help text of each key as a comment."""
    found = unstructure(config)
    tables = [attribute for attribute in attrs.fields(RunConfig) if isinstance(found[attribute.name], dict)]
    lines = [
        line
        for attribute in attrs.fields(RunConfig)
        if attribute not in tables
        for line in _commented(attribute, found[attribute.name])
    ]
    for table in tables:
        value, shown = getattr(config, table.name), found[table.name]
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


def plain(value: Any) -> Any:
    """Convert a value to plain data. attrs classes become tables, parts become names, and None ``"none"``.

    Raises:
        ConfigError: an option that may be None has the string ``"none"`` as its value.
    """
    if value is None:
        return NONE
    if isinstance(value, Choice):
        return {"part": value.part.name, **plain(value.config)}
    if attrs.has(type(value)):
        found = {attribute.name: getattr(value, attribute.name) for attribute in attrs.fields(type(value))}
        for name in (name for name, item in found.items() if item == NONE):
            if may_be_none(get_type_hints(type(value))[name]):
                raise ConfigError(
                    f"{name}: the value must not be the string {NONE!r}, because {NONE!r} means no value"
                )
        value = found
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


# -- the converter ----------------------------------------------------------------------------------------


def _converter(part: Callable[[str], type[Part]]) -> cattrs.Converter:
    converter = strict_converter(table="a table", none=NONE, extra=False)

    def choice(data: Any, _: Any) -> Choice:
        if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
            raise refused("a table with part = 'PLUGIN/NAME'", data)
        found = part(data["part"])
        options = {key: value for key, value in data.items() if key != "part"}
        return Choice(part=found, config=OPTIONS.structure(options, found.Config))

    def choice_or_none(data: Any, kind: Any) -> Choice | None:
        if not isinstance(data, Mapping):
            raise refused(f"a table with part = 'PLUGIN/NAME' or {NONE!r}", data)
        if data.get("part") != NONE:
            return choice(data, kind)
        if options := sorted(set(data) - {"part"}):
            raise TypeError(
                f"part = {NONE!r} takes no options, but got {options[0]!r}: name a part, or give no option"
            )
        return None

    converter.register_structure_hook_func(lambda kind: kind is Choice, choice)
    converter.register_structure_hook_func(lambda kind: kind == Choice | None, choice_or_none)
    return converter

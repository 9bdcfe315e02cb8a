"""Plain data and TOML to and from a :class:`~.schema.RunConfig`, strictly: one line says what is wrong, and where.

cattrs by default drops typos, turns 3.7 into 3 and "64" into 64; the one converter here does not.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
import tomli_w
from cattrs.errors import (
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)

from sneframe.config.schema import NONE, SLOTS, Choice, RunConfig
from sneframe.config.toml import inline
from sneframe.errors import ConfigError, choices

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
        raise ConfigError(_first_line(error, "")) from error


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
            if _may_be_none(get_type_hints(type(value))[name]):
                raise ConfigError(f"{name}: {NONE!r} is the word for no value, it cannot be one")
        value = found
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


# -- the converter ------------------------------------------------------------------------------------------------


def _converter(registry: Registry) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, words in ((bool, "true or false"), (str, "a string")):
        converter.register_structure_hook(kind, _exactly(kind, words))
    converter.register_structure_hook(int, _exactly(int, "a whole number"))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(_is_tuple, _tuple(converter))
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_func(_may_be_none, _optional(converter))
    converter.register_structure_hook_func(attrs.has, _table(converter))

    def choice(data: Any, _: Any) -> Choice:
        if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
            raise TypeError(f"must be a table with part = 'PLUGIN/NAME', got {data!r}")
        part = registry.part(data["part"])
        options = {key: value for key, value in data.items() if key != "part"}
        return Choice(part=part.name, config=converter.structure(options, part.Config))

    def choice_or_none(data: Any, kind: Any) -> Choice | None:
        if not isinstance(data, Mapping):
            raise TypeError(f"must be a table with part = 'PLUGIN/NAME' or {NONE!r}, got {data!r}")
        if data.get("part") != NONE:
            return choice(data, kind)
        if options := sorted(set(data) - {"part"}):
            raise TypeError(f"part = {NONE!r} has no options, got {options[0]!r}; name a part too")
        return None

    converter.register_structure_hook(Choice, choice)
    converter.register_structure_hook_func(lambda kind: kind == Choice | None, choice_or_none)
    return converter


def _exactly(kind: type, words: str) -> Any:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"must be {words}, got {value!r}")
        return value

    return check


def _may_be_none(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _optional(converter: cattrs.Converter) -> Any:
    def check(value: Any, kind: Any) -> Any:
        if isinstance(value, str) and value == NONE:
            return None
        inner = functools.reduce(operator.or_, (each for each in get_args(kind) if each is not NoneType))
        try:
            return converter.structure(value, inner)
        except TypeError as error:
            raise TypeError(f"{error} (no value: {NONE!r})") from error

    return check


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"must be a number, got {value!r}")
    return float(value)


def _tuple(converter: cattrs.Converter) -> Any:
    def check(value: Any, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, got {value!r}")
        return tuple(converter.structure(item, get_args(kind)[0]) for item in value)

    return check


def _table(converter: cattrs.Converter) -> Any:
    def check(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, got {value!r}")
        return converter.gen_structure_attrs_fromdict(kind)(value, kind)

    return check


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise TypeError(f"must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")
    return value


def _first_line(error: BaseException, path: str) -> str:
    """Walk down cattrs' tree of errors to the first leaf, and say it in one line with its path."""
    if isinstance(error, ClassValidationError):
        inner = error.exceptions[0]
        notes = [note for note in getattr(inner, "__notes__", ()) if hasattr(note, "name")]
        name = notes[-1].name if notes else ""
        return _first_line(inner, f"{path}.{name}".strip(".") if name else path)
    if isinstance(error, IterableValidationError):
        return _first_line(error.exceptions[0], path)
    if isinstance(error, ForbiddenExtraKeysError):
        key = sorted(error.extra_fields)[0]
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        where = f"{path}.{key}".strip(".")
        return f"unknown key {where!r}, {choices(key, known)}"
    if isinstance(error, KeyError):
        return f"{path or 'the configuration'}: {error.args[0]!r} is missing"
    # attrs' validators put the sentence first and the objects it speaks of behind it.
    said = error.args[0] if error.args and isinstance(error.args[0], str) else error
    return f"{path}: {said}".removeprefix(": ")

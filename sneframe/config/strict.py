"""Build cattrs converters that refuse values of a wrong type, and describe their errors in one line.

cattrs by default turns 3.7 into 3, "64" into 64 and "no" into True. The converters of this module refuse all
of these values. They read the configuration (:mod:`~sneframe.config.structure`) and the files of a run folder
(:mod:`sneframe.run_folder.json_files`).
"""

from __future__ import annotations

import functools
import operator
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from sneframe.errors import choices

#: Formats a value that was refused. A long value is cut.
SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = 120
SHOWN.maxlist = SHOWN.maxtuple = SHOWN.maxdict = 20


def strict_converter(*, table: str, none: Any, extra: bool) -> cattrs.Converter:
    """Return a converter from plain data to attrs classes that refuses values of a wrong type.

    Args:
        table: the name of a mapping in error messages, such as ``an object`` for JSON.
        none: the value that represents None. It is null in JSON. TOML has no null, so it is a string in TOML.
        extra: whether to ignore keys that a class does not have. If false, such keys are refused.
    """
    converter = cattrs.Converter(forbid_extra_keys=not extra, detailed_validation=True)
    for kind, words in ((bool, "true or false"), (str, "a string"), (int, "a whole number")):
        converter.register_structure_hook(kind, exactly(kind, words))
    converter.register_structure_hook(float, _number)

    def structured_tuple(value: Any, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise refused("a list", value)
        return tuple(item for _, item in _each(converter, enumerate(value), get_args(kind)[0]))

    def structured_mapping(value: Any, kind: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refused(table, value)
        return dict(_each(converter, value.items(), get_args(kind)[1]))

    def optional(value: Any, kind: Any) -> Any:
        if type(value) is type(none) and value == none:
            return None
        inner = functools.reduce(operator.or_, (each for each in get_args(kind) if each is not NoneType))
        try:
            return converter.structure(value, inner)
        except TypeError as error:
            raise error if none is None else TypeError(f"{error} (no value: {none!r})") from error

    def attrs_class(kind: Any) -> Callable[[Any, Any], Any]:
        structure = converter.gen_structure_attrs_fromdict(kind)

        def check(value: Any, kind: Any) -> Any:
            if not isinstance(value, Mapping):
                raise refused(table, value)
            return structure(value, kind)

        return check

    converter.register_structure_hook_func(_made_from(tuple), structured_tuple)
    converter.register_structure_hook_func(_made_from(Mapping), structured_mapping)
    converter.register_structure_hook_func(_made_from(Literal), _literal)
    converter.register_structure_hook_func(may_be_none, optional)
    converter.register_structure_hook_factory(attrs.has, attrs_class)
    return converter


def exactly(kind: type, words: str) -> Callable[[Any, Any], Any]:
    """Return a hook that accepts only values of exactly the type ``kind``.

    So a bool is refused as an int. ``words`` describes the type in the error.
    """

    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise refused(words, value)
        return value

    return check


def may_be_none(kind: Any) -> bool:
    """Return whether a type is a union with None."""
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def refused(wanted: str, value: object) -> TypeError:
    """Return the error for a value that is not ``wanted``, such as ``a string``."""
    return TypeError(f"must be {wanted}, got {SHOWN.repr(value)}")


def first_line(error: BaseException, whole: str, path: str = "") -> str:
    """Describe the first problem in the error of a converter as one line, ``KEY: PROBLEM``.

    Args:
        error: the error that a converter raised. It is a tree that contains every problem.
        whole: the name of the whole data, for a problem that has no key.
        path: the key of the data to which ``error`` belongs.
    """
    if isinstance(error, ClassValidationError | IterableValidationError):
        inner = error.exceptions[0]
        return first_line(inner, whole, ".".join(filter(None, (path, _place(inner)))))
    if isinstance(error, ForbiddenExtraKeysError):
        key = sorted(error.extra_fields)[0]
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        return f"unknown key {f'{path}.{key}'.strip('.')!r}, {choices(key, known)}"
    if isinstance(error, KeyError):
        return f"{path or whole} is missing"
    # In the arguments of an error of an attrs validator, the message comes first, and objects follow.
    said = error.args[0] if error.args and isinstance(error.args[0], str) else error
    return f"{path}: {said}".removeprefix(": ")


def _place(error: BaseException) -> str:
    """Return the field, key or index to which an error belongs, or an empty string if cattrs noted none."""
    for note in reversed(getattr(error, "__notes__", ())):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return str(note.index)
    return ""


def _each(
    converter: cattrs.Converter, items: Iterable[tuple[Any, Any]], kind: Any
) -> Iterator[tuple[Any, Any]]:
    """Convert the items of a list or a mapping, and yield each key or index with the converted item.

    If an item cannot be converted, the error notes the key or index of the item.
    """
    for place, item in items:
        try:
            yield place, converter.structure(item, kind)
        except Exception as error:
            error.add_note(IterableValidationNote(f"item {place}", place, kind))
            raise IterableValidationError(f"item {place}", [error], kind) from error


def _made_from(origin: Any) -> Callable[[Any], bool]:
    """Return a function that tells whether a type has this origin, as ``tuple[int, ...]`` has ``tuple``."""
    return lambda kind: get_origin(kind) is origin


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise refused("a number", value)
    return float(value)


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise refused(f"one of {', '.join(map(repr, get_args(kind)))}", value)
    return value

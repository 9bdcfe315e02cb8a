"""A cattrs converter that refuses values of a wrong type, and one line for what it refused and where.

cattrs by default turns 3.7 into 3, "64" into 64 and "no" into True. The converters made here refuse all of
these. They read the configuration (:mod:`~sneframe.config.structure`) and the files of a run folder
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

#: Shows a value that was refused; a long one is cut.
SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = 120
SHOWN.maxlist = SHOWN.maxtuple = SHOWN.maxdict = 20


def strict_converter(*, table: str, none: Any, extra: bool) -> cattrs.Converter:
    """Return a converter from plain data to attrs classes that refuses values of a wrong type.

    Args:
        table: what the format calls a mapping, with its article, such as ``an object`` in JSON.
        none: the value that means None: null in JSON, and a word in TOML, which has no null.
        extra: whether keys that a class does not know are ignored; otherwise they are refused.
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
    """Return a hook that takes values of exactly one type: no bool as an int, no int as a bool."""

    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise refused(words, value)
        return value

    return check


def may_be_none(kind: Any) -> bool:
    """Return whether a type is a union with None."""
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def refused(wanted: str, value: object) -> TypeError:
    """Return the error for a value that is not what is wanted."""
    return TypeError(f"must be {wanted}, got {SHOWN.repr(value)}")


def first_line(error: BaseException, whole: str, path: str = "") -> str:
    """Return the first problem as one line, ``KEY: PROBLEM``.

    Args:
        error: the error that a converter raised, a tree of all errors that it met.
        whole: the name of the data as a whole, for problems without a key.
        path: the key of the data to which the tree belongs.
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
    # The validators of attrs put the message first, and the objects that it is about after it.
    said = error.args[0] if error.args and isinstance(error.args[0], str) else error
    return f"{path}: {said}".removeprefix(": ")


def _place(error: BaseException) -> str:
    """Return the field, key or index at which an error was met; empty where cattrs noted none."""
    for note in reversed(getattr(error, "__notes__", ())):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return str(note.index)
    return ""


def _each(
    converter: cattrs.Converter, items: Iterable[tuple[Any, Any]], kind: Any
) -> Iterator[tuple[Any, Any]]:
    """Structure the items of a list or a mapping; an error notes the key or index of its item."""
    for place, item in items:
        try:
            yield place, converter.structure(item, kind)
        except Exception as error:
            error.add_note(IterableValidationNote(f"item {place}", place, kind))
            raise IterableValidationError(f"item {place}", [error], kind) from error


def _made_from(origin: Any) -> Callable[[Any], bool]:
    """Return a test for types that are made from ``origin``, as ``tuple[int, ...]`` is from ``tuple``."""
    return lambda kind: get_origin(kind) is origin


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise refused("a number", value)
    return float(value)


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise refused(f"one of {', '.join(map(repr, get_args(kind)))}", value)
    return value

"""A griffe extension that gives attrs classes the signature of the ``__init__`` that attrs writes for them.

griffe reads the source and runs nothing. Without this extension, the page on Python would show no signature
for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import griffe

#: The decorators that make an attrs class.
DECORATORS = ("attrs.frozen", "attrs.define")
#: The functions whose call stands where a field has its default, and the position of the default in the call.
FIELDS = {"field": None, "option": 0}


class AttrsClasses(griffe.Extension):
    """The extension, named in mkdocs.yml."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Add ``__init__`` to each attrs class of a package that has none."""
        for cls in classes(pkg):
            if decorator(cls) and "__init__" not in cls.members:
                parameters = griffe.Parameters(griffe.Parameter("self"), *signature(cls))
                cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def classes(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    """Yield the classes of a module or a class, at any depth."""
    for member in list(parent.members.values()):
        if member.is_alias:
            continue
        if member.is_class:
            yield member
        if member.is_class or member.is_module:
            yield from classes(member)


def decorator(cls: griffe.Class) -> griffe.Decorator | None:
    """Return the decorator that makes a class an attrs class, if there is one."""
    return next((each for each in cls.decorators if each.callable_path in DECORATORS), None)


def signature(cls: griffe.Class) -> Iterator[griffe.Parameter]:
    """Yield a parameter for each field, those of the base classes first."""
    keyword_only = "kw_only=True" in str(decorator(cls).value)
    kind = griffe.ParameterKind.keyword_only if keyword_only else griffe.ParameterKind.positional_or_keyword
    fields = {
        name: member
        for each in [*reversed(cls.mro()), cls]
        if decorator(each)
        for name, member in each.members.items()
        if not member.is_alias and is_field(member)
    }
    for name, member in fields.items():
        given = default(member.value)
        if "ClassVar" not in str(member.annotation) and given is not False:
            yield griffe.Parameter(name.lstrip("_"), annotation=member.annotation, kind=kind, default=given)


def is_field(member: griffe.Object) -> bool:
    """Return whether a member is an annotated attribute, and no property."""
    return member.is_attribute and member.annotation is not None and "property" not in member.labels


def default(value: Any) -> Any:
    """Return the default that a field's value states: None if there is none, False if it is no argument."""
    if not isinstance(value, griffe.ExprCall) or str(value.function) not in FIELDS:
        return value
    words = {each.name: each.value for each in value.arguments if isinstance(each, griffe.ExprKeyword)}
    if str(words.get("init")) == "False":
        return False
    place = FIELDS[str(value.function)]
    if place is not None and not isinstance(value.arguments[place], griffe.ExprKeyword):
        return value.arguments[place]
    return f"{words['factory']}()" if "factory" in words else words.get("default")

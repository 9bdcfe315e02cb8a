"""Define checks of options that attrs does not offer. Each check raises a one-line error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import cattrs
from attrs.validators import and_, ge, gt, le, lt

from sneframe.config.strict import first_line, refused, strict_converter
from sneframe.errors import PartError


def _type_checker() -> cattrs.Converter:
    """Return a converter that serves only as a check: it refuses values that do not have a given type."""
    converter = strict_converter(table="a mapping", none=None, extra=False)

    def instance(value: Any, kind: Any) -> Any:
        if not isinstance(value, kind):
            raise refused(f"a {kind.__name__}", value)
        return value

    converter.register_structure_hook_func(lambda kind: attrs.has(kind) or kind is Path, instance)
    return converter


_CHECKER = _type_checker()


def _types(config: type) -> dict[str, Any]:
    """Return the annotated type of each field.

    If an annotation cannot be resolved, for example because its class is defined inside a function, return an
    empty dict.
    """
    try:
        return get_type_hints(config)
    except NameError:
        return {}


def of_its_type(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value has the annotated type of its field.

    An int counts as a float. A bool does not count as an int. This check is for values that are set in
    Python. Values in a file get the same check when the file is read.
    """
    _check_type(value, _types(type(instance)).get(attribute.name, Any), attribute.name)


def check_types(config: Any, where: str) -> None:
    """Check that every value of an attrs instance has the annotated type of its field.

    Args:
        config: the instance.
        where: the name of the part whose options these are, for the error.

    Raises:
        TypeError: a value has another type.
    """
    for attribute in attrs.fields(type(config)):
        kind = _types(type(config)).get(attribute.name, Any)
        _check_type(getattr(config, attribute.name), kind, f"{where}.{attribute.name}")


def _check_type(value: Any, kind: Any, where: str) -> None:
    try:
        _CHECKER.structure(value, kind)
    except (cattrs.BaseValidationError, TypeError) as error:
        raise TypeError(first_line(error, where, where)) from error
    except cattrs.StructureHandlerNotFoundError:
        pass  # an option of a kind that no file can hold, such as a class of the plugin's own


def as_tuple(value: Any) -> Any:
    """Convert the value of an option to a tuple. A string is kept, so that the check of its type refuses it.

    ``tuple("frequency")`` would be a tuple of letters.
    """
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def named(_: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Check that a name or an expression is not empty. Unset shell variables become empty values."""
    if value is not None and not value.strip():
        raise ValueError(f"'{attribute.name}' must not be empty: give a value, or leave the key out")


def check_names(where: str, names: Iterable[str]) -> None:
    """Check that no name in a list of properties is empty or listed twice.

    Args:
        where: the option that lists the names, for the error.
        names: names of the properties.

    Raises:
        ValueError: a name is empty, or is listed twice.
    """
    seen: set[str] = set()
    for name in names:
        if not name.strip():
            raise ValueError(f"{where}: the name of a property must not be empty")
        if name in seen:
            raise ValueError(f"{where}: the property {name!r} is named twice")
        seen.add(name)


def names(_: Any, attribute: attrs.Attribute[Any], value: Sequence[str]) -> None:
    """Check an option that lists names of properties, with :func:`check_names`."""
    check_names(attribute.name, value)


def finite(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    """Check that a number is neither infinite nor NaN. TOML allows both."""
    if not math.isfinite(value):
        raise ValueError(f"'{attribute.name}' must be finite, but got {value}")


def check_heads(owner: str, width: int, heads: int) -> None:
    """Check that ``heads`` divides ``width``, so that all attention heads get equally many values.

    Raises:
        PartError: ``heads`` does not divide ``width``. The error begins with ``owner``, the name of the part.
    """
    if width % heads:
        raise PartError(f"{owner}: heads must divide width, but got heads = {heads} and width = {width}")


#: Checks the range of a seed. An integer of TOML has 64 bits, of which one is the sign.
SEED = and_(ge(0), lt(2**63))
#: Checks the range of a fraction: above 0 and at most 1.
FRACTION = and_(gt(0), le(1))

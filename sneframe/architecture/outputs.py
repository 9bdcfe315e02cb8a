"""Find every tensor and number in what a module's ``forward`` returns, however deeply it is nested.

A value that is missed here could depend on the order of the neurons without anybody noticing. So an object
that may hold something but cannot be opened is refused by name, and is never skipped.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Set, ValuesView
from datetime import date, time, timedelta
from enum import Enum
from numbers import Number
from pathlib import PurePath
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sneframe.errors import ArchitectureError

#: A value, and where it lies, such as ``output[0].logits``.
Place: TypeAlias = tuple[str, Any]

#: Values that hold neither a tensor nor a number that was computed.
PLAIN = (
    str,
    bytes,
    bytearray,
    type(None),
    type(Ellipsis),
    type(NotImplemented),
    type,
    types.ModuleType,
    types.GenericAlias,
    slice,
    range,
    Enum,
    PurePath,
    date,
    time,
    timedelta,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)
SEQUENCES = (tuple, list, deque, ValuesView, KeysView, ItemsView)
#: Code, and what can be read only once: nobody can see what lies inside.
CLOSED = (
    nn.Module,
    functools.partial,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.CodeType,
    types.FrameType,
)
HEAP_TYPE = 1 << 9  #: the flag of a class that is made while Python runs; one written in C mostly lacks it


def tensors(output: Any, of: str = "the module") -> list[tuple[str, Tensor]]:
    """Return every tensor in the output of a ``forward``, with its place, such as ``output[0].logits``.

    Tuples, lists, named tuples, mappings, dataclasses, attrs classes, distributions of torch and any other
    object with ``__dict__`` or ``__slots__`` are opened, at any depth. A tensor that lies in several places
    is returned once.

    Args:
        output: what the module returned.
        of: the name of the module, for the error.

    Raises:
        ArchitectureError: an object that cannot be opened, such as a generator, a function or a NumPy array.
    """
    return [(place, value) for place, value in leaves(output, of) if isinstance(value, Tensor)]


def leaves(output: Any, of: str = "the module") -> list[tuple[str, Any]]:
    """Return every tensor and every number in the output of a ``forward``; otherwise as :func:`tensors`."""
    found: list[Place] = []
    seen: dict[int, Any] = {}  # the values are kept, so that no identity is used twice
    waiting: list[Place] = [("output", output)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Number):
            found.append((place, value))
        elif not isinstance(value, PLAIN) and id(value) not in seen:
            seen[id(value)] = value
            if isinstance(value, Tensor):
                found.append((place, value))
            else:
                waiting.extend(reversed([*_opened(place, value, of)]))
    return found


def _opened(place: str, value: Any, of: str) -> Iterator[Place]:
    """Yield what lies directly inside a value."""
    if isinstance(value, CLOSED):
        raise _closed(place, value, of)
    if isinstance(value, weakref.ref):
        yield place, value()
        return
    if isinstance(value, Mapping):
        yield from _entries(place, value)
    elif isinstance(value, SEQUENCES):
        names = getattr(value, "_fields", None)
        for number, item in enumerate(value):
            yield f"{place}.{names[number]}" if names else f"{place}[{number}]", item
    elif isinstance(value, Set):
        if any(not isinstance(item, PLAIN) and not isinstance(item, Number) for item in value):
            raise _closed(place, value, of)
    elif not _written_in_python(value):
        raise _closed(place, value, of)
    for name, item in _attributes(value):
        yield f"{place}.{name}", item


def _entries(place: str, value: Mapping[Any, Any]) -> Iterator[Place]:
    """Yield what a mapping holds; an entry that is an attribute too, as in transformers, is called like one."""
    attributes = getattr(value, "__dict__", {})
    for key, item in value.items():
        as_attribute = isinstance(key, str) and attributes.get(key) is item
        yield f"{place}.{key}" if as_attribute else f"{place}[{key!r}]", item


def _attributes(value: Any) -> Iterable[tuple[str, Any]]:
    """Yield the attributes that an object stores: in its dictionary, in slots, and tensors that its classes hold."""
    yield from getattr(value, "__dict__", {}).items()
    for cls in type(value).__mro__:
        for name, item in vars(cls).items():
            held = (
                item.values()
                if isinstance(item, dict)
                else item
                if isinstance(item, list | tuple)
                else [item]
            )
            if any(isinstance(each, Tensor) for each in held):
                yield name, item
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            hidden = slot.startswith("__") and not slot.endswith("__")
            name = f"_{cls.__name__.lstrip('_')}{slot}" if hidden else slot
            if slot not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield slot, getattr(value, name)


def _written_in_python(value: Any) -> bool:
    """Whether all that an object holds lies in its attributes: it is no iterator, and no class of it is written in C."""
    if isinstance(value, Iterator):
        return False
    kept = hasattr(value, "__dict__") or any("__slots__" in cls.__dict__ for cls in type(value).__mro__)
    return kept and all(cls.__flags__ & HEAP_TYPE for cls in type(value).__mro__ if cls is not object)


def _closed(place: str, value: Any, of: str) -> ArchitectureError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return ArchitectureError(
        f"{of}: {place} is of type {kind}, in which no tensor can be looked for; return tensors, or objects "
        f"that hold tensors"
    )

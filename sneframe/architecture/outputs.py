"""Find every tensor and every number in the output of a ``forward``, at any depth of nesting.

If a value were missed here, nobody would notice that it depends on the order of the neurons. So an object
that may hold values but cannot be opened raises an error, and is never skipped.
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

#: The path of a value, such as ``output[0].logits``, and the value.
Item: TypeAlias = tuple[str, Any]

#: Types of values that hold no tensor and no computed number.
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
#: Types of objects with code. Such an object cannot be searched for tensors.
CLOSED = (
    nn.Module,
    functools.partial,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.CodeType,
    types.FrameType,
)
HEAP_TYPE = 1 << 9  #: the flag of classes written in Python; most classes written in C lack it


def tensors(output: Any, of: str = "the module") -> list[tuple[str, Tensor]]:
    """Return every tensor in the output of a ``forward``, with its path, such as ``output[0].logits``.

    Tuples, lists, named tuples, mappings, dataclasses, attrs classes, distributions of torch and any other
    object with ``__dict__`` or ``__slots__`` are opened, at any depth. A tensor that occurs several times is
    returned once.

    Args:
        output: the value that the module returned.
        of: the name of the module, for error messages.

    Raises:
        ArchitectureError: the output holds an object that cannot be opened, such as a generator, a function
            or a NumPy array.
    """
    return [(path, value) for path, value in leaves(output, of) if isinstance(value, Tensor)]


def leaves(output: Any, of: str = "the module") -> list[tuple[str, Any]]:
    """Return every tensor and every number in the output of a ``forward``, each with its path.

    :func:`tensors` describes the arguments and the error.
    """
    items: list[Item] = []
    seen: dict[int, Any] = {}  # keeps the values alive, so that no id is used twice
    waiting: list[Item] = [("output", output)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Number):
            items.append((path, value))
        elif not isinstance(value, PLAIN) and id(value) not in seen:
            seen[id(value)] = value
            if isinstance(value, Tensor):
                items.append((path, value))
            else:
                waiting.extend(reversed([*_opened(path, value, of)]))
    return items


def _opened(path: str, value: Any, of: str) -> Iterator[Item]:
    """Yield the values directly inside a value, each with its path."""
    if isinstance(value, CLOSED):
        raise _closed(path, value, of)
    if isinstance(value, weakref.ref):
        yield path, value()
        return
    if isinstance(value, Mapping):
        yield from _entries(path, value)
    elif isinstance(value, SEQUENCES):
        names = getattr(value, "_fields", None)
        for number, item in enumerate(value):
            yield f"{path}.{names[number]}" if names else f"{path}[{number}]", item
    elif isinstance(value, Set):
        if any(not isinstance(item, PLAIN) and not isinstance(item, Number) for item in value):
            raise _closed(path, value, of)
    elif not _written_in_python(value):
        raise _closed(path, value, of)
    for name, item in _attributes(value):
        yield f"{path}.{name}", item


def _entries(path: str, value: Mapping[Any, Any]) -> Iterator[Item]:
    """Yield the entries of a mapping, each with its path.

    If an entry is also an attribute, as in the outputs of transformers models, its path is that of the
    attribute.
    """
    attributes = getattr(value, "__dict__", {})
    for key, item in value.items():
        as_attribute = isinstance(key, str) and attributes.get(key) is item
        yield f"{path}.{key}" if as_attribute else f"{path}[{key!r}]", item


def _attributes(value: Any) -> Iterable[tuple[str, Any]]:
    """Yield the attributes of an object. Class attributes are included only if they hold tensors."""
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
    """Whether an object holds nothing but its attributes.

    This is assumed if the object has attributes, is not an iterator, and has no class that is written in C.
    """
    if isinstance(value, Iterator):
        return False
    kept = hasattr(value, "__dict__") or any("__slots__" in cls.__dict__ for cls in type(value).__mro__)
    return kept and all(cls.__flags__ & HEAP_TYPE for cls in type(value).__mro__ if cls is not object)


def _closed(path: str, value: Any, of: str) -> ArchitectureError:
    """Return the error for an object that cannot be opened."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return ArchitectureError(
        f"{of}: {path} is of type {kind}, which cannot be searched for tensors; forward must return "
        f"tensors, or objects that hold tensors"
    )

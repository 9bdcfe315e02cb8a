"""Convert what ``StubUnpickler`` returns (stubs and stored tensors) to tensors and plain values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sneframe.errors import counted
from sneframe.files.sizes import NESTED
from sneframe.files.stored import StoredTensor, Stub

PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None))
NUMPY = re.compile(r"numpy\.(?:core|_core)\.multiarray\.(scalar|_reconstruct)")
CODE = re.compile(r"[<>|=]?([biuf])[1248]|[SU]\d{1,6}")  #: types of numpy whose bytes are numbers or text
NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")
COLLECTIONS = ("torch.Size", "builtins.set", "builtins.frozenset")
SMALL = 4096  #: largest number of elements of an array that becomes a list
NAMED = 4  #: largest number of kinds of objects that a note names

LEFT_OUT = object()  #: stands for a value that is left out


class Plainer:
    """Converts stored tensors and stubs to tensors and plain values, and counts the left-out objects.

    Args:
        arrays: whether arrays of numpy become tensors. Otherwise small arrays become lists, and large arrays
            are left out.
    """

    def __init__(self, *, arrays: bool) -> None:
        self._arrays = arrays
        self._left: Counter[str] = Counter()
        self._seen: dict[int, tuple[Any, Any]] = {}

    def notes(self) -> tuple[str, ...]:
        """Return a note that says what was left out, or no note."""
        if not self._left:
            return ()
        names = sorted(self._left)
        more = f" and {len(names) - NAMED} other kinds" if len(names) > NAMED else ""
        number = counted(sum(self._left.values()), "object")
        return (f"left out {number}: {', '.join(names[:NAMED])}{more}",)

    def of(self, value: Any, depth: int = 0) -> Any:
        """Convert a value to tensors and plain values. Return ``LEFT_OUT`` if it cannot be converted.

        A value that holds itself, and values nested more than ``NESTED`` levels deep, are left out.
        """
        if isinstance(value, Tensor) or type(value) in PLAIN:
            return value
        if isinstance(value, torch.dtype | torch.device):
            return str(value).removeprefix("torch.")
        if id(value) not in self._seen:
            self._seen[id(value)] = value, LEFT_OUT
            self._seen[id(value)] = value, self._made(value, depth)
        return self._seen[id(value)][1]

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, StoredTensor):
            return value.read()
        if depth > NESTED:
            return self._leave("values in too many levels")
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(value, depth)
        if isinstance(value, Stub):
            return self._object(value, depth)
        a_class = isinstance(value, type) and issubclass(value, Stub)
        return self._leave(value.origin if a_class else type(value).__name__)

    def _leave(self, what: str) -> Any:
        self._left[what] += 1
        return LEFT_OUT

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        made = {name: self.of(each, depth + 1) for name, each in value.items()}
        return {name: each for name, each in made.items() if each is not LEFT_OUT and type(name) in PLAIN}

    def _list(self, value: Any, depth: int) -> list[Any]:
        made = [self.of(each, depth + 1) for each in value]
        return [each for each in made if each is not LEFT_OUT]

    def _object(self, value: Stub, depth: int) -> Any:
        if (inner := _wrapped(value)) is not LEFT_OUT:
            return self.of(inner, depth + 1)
        made = None
        if (found := NUMPY.fullmatch(value.origin)) is not None:
            made = _scalar(value) if found[1] == "scalar" else self._array(value)
        elif value.origin == "_codecs.encode":
            made = _bytes(value)
        return self._leave(value.origin) if made is None else made

    def _array(self, value: Stub) -> Any:
        if not isinstance(value.state, tuple) or len(value.state) != 5:
            return None
        _, shape, kind, fortran, content = value.state
        dtype, content = _dtype(kind), _bytes(content)
        if dtype is None or content is None or dtype.kind not in "biuf":
            return None
        array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
        if not self._arrays:
            return array.tolist() if array.size <= SMALL else None
        native = np.ascontiguousarray(array.astype(dtype.newbyteorder("="), copy=True))
        return torch.from_numpy(native).reshape(array.shape)


def stored_in(value: Any) -> Iterator[StoredTensor]:
    """Yield the tensors in nested mappings, lists and objects. No container is searched twice."""
    level, seen = [value], set()
    for _ in range(NESTED + 2):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, StoredTensor):
                yield each
            elif isinstance(each, Mapping | list | tuple | Stub) and id(each) not in seen:
                seen.add(id(each))
                parts = (each.items, each.values, each.state) if isinstance(each, Stub) else each
                inner.extend(parts.values() if isinstance(parts, Mapping) else parts)
        level = inner


def _wrapped(value: Stub) -> Any:
    """Return the mapping, list or plain value that an object wraps, or ``LEFT_OUT`` for other objects."""
    attributes = value.attributes()
    if value.origin in NAMESPACES:
        return attributes
    if value.origin.startswith("omegaconf."):
        return attributes.get("_content", attributes.get("_val", LEFT_OUT))
    if value.items or value.values:  # a subclass of dict or list
        return value.items or value.values
    return value.args[0] if value.origin in COLLECTIONS and len(value.args) == 1 else LEFT_OUT


def _scalar(value: Stub) -> Any:
    """Return the plain number or text of a scalar of numpy, or None."""
    if len(value.args) != 2:
        return None
    dtype, content = _dtype(value.args[0]), _bytes(value.args[1])
    if dtype is None or content is None or len(content) != dtype.itemsize:
        return None
    found = np.frombuffer(content, dtype)[0].item()
    return found if type(found) in PLAIN else None


def _dtype(value: Any) -> np.dtype[Any] | None:
    """Return the numpy type that a stub stands for, or None if its elements are not numbers or text."""
    if not isinstance(value, Stub) or not value.args or not isinstance(value.args[0], str):
        return None
    if value.origin != "numpy.dtype" or not CODE.fullmatch(value.args[0]):
        return None
    state = value.state
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    return np.dtype(value.args[0]).newbyteorder(">" if order == ">" else "<" if order == "<" else "=")


def _bytes(value: Any) -> bytes | None:
    """Return the bytes that a value stands for, or None. Protocol 2 pickles bytes as text and encoding."""
    if isinstance(value, Stub) and value.origin == "_codecs.encode" and len(value.args) == 2:
        text, encoding = value.args
        known = isinstance(text, str) and encoding in ("latin1", "latin-1")
        return text.encode("latin-1") if known else None
    if isinstance(value, str):  # text of Python 2 whose bytes happen to be UTF-8
        return value.encode("utf-8")
    return bytes(value) if isinstance(value, bytes | bytearray) else None

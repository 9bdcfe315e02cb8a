"""Read files that ``flax.serialization`` wrote. Neither Flax nor JAX is needed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.names import layered
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe_formats.kernel_order import in_torch_order
from sneframe_formats.mapped_tensors import mapped, tensor_at
from sneframe_formats.message_pack import DamagedMessage, Span, unpack

ARRAY, COMPLEX, SCALAR = 1, 2, 3  #: numbers of the MessagePack extension types that flax.serialization uses
CHUNKED = "__msgpack_chunked_array__"  #: the key that marks an array of more than 1 GiB, stored in chunks
DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    )
}
#: Keys of the state of an optimiser in a training state. It contains no weights of the network.
OPTIMISERS = ("opt_state", "optimizer", "optimizer_state", "param_states")
WEIGHTS, STATISTICS = "params", "batch_stats"  #: the collections of variables that belong to a network
#: A file with a training state or the variables of a network begins with one of these keys.
FIRST_KEYS = (WEIGHTS, STATISTICS, "step", "opt_state", "target")
SMALL = 64  #: largest number of MessagePack values that describe an array: its shape, type and data
MOST_AXES = 32  #: largest number of axes of an array
LONGEST = 1000  #: largest number of characters of a dotted name
MAPS = (*range(0x81, 0x90), 0xDE, 0xDF)  #: the first bytes of a MessagePack map that is not empty


@final
class FlaxReader(FileReader):
    """Reads a file of ``flax.serialization.to_bytes`` or ``msgpack_serialize``."""

    name = "formats/flax"
    help = "files of flax.serialization: parameters, variables and training states"
    endings = (".msgpack",)

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for a map whose first key is in ``FIRST_KEYS``, and any map in a ``.msgpack`` file."""
        head = candidate.head
        if not head or head[0] not in MAPS:
            return False
        start = {0xDE: 3, 0xDF: 5}.get(head[0], 1)
        keys = (bytes([0xA0 + len(key)]) + key.encode() for key in FIRST_KEYS)
        return self.claims(candidate.name) or head.startswith(tuple(keys), start)

    def read(self, path: Path) -> Content:
        """Read parameters and batch statistics. Their names and orders of axes become those of torch."""
        try:
            data = mapped(path)
            values, notes = _content(_decoded(unpack(data), data), data)
        except DamagedMessage as error:
            raise FileError(f"{path}: damaged, or not written by flax.serialization: {error}") from error
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        return Content(values=values, notes=notes)


@frozen
class FlaxArray:
    """An array in the file. :func:`_tensor` reads its values.

    Args:
        shape: the shape of the array.
        dtype: the type of the values.
        spans: where the values are in the file. An array in several chunks has a span for each chunk.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    spans: tuple[Span, ...]


# -- bytes → arrays ---------------------------------------------------------------------------------------


def _decoded(value: Any, data: mmap.mmap) -> Any:
    """Return a nested map or list in which ``FlaxArray`` and numbers replace extension types and chunks."""
    if isinstance(value, dict):
        found = {name: _decoded(each, data) for name, each in value.items()}
        return _joined(found) if CHUNKED in found else found
    if isinstance(value, list):
        return [_decoded(each, data) for each in value]
    if not isinstance(value, Span) or value.code is None:
        return value
    if value.code == COMPLEX:
        return complex(*_numbers(unpack(data, value.start, value.stop, most=SMALL)))
    if value.code not in (ARRAY, SCALAR):
        raise DamagedMessage(f"the extension type {value.code} is unknown")
    array = _array(unpack(data, value.start, value.stop, most=SMALL))
    return _tensor(array, data).item() if value.code == SCALAR and array.shape == () else array


def _array(parts: Any) -> FlaxArray:
    if not isinstance(parts, list) or len(parts) != 3 or not isinstance(parts[2], Span):
        raise DamagedMessage("an array is not stored as shape, type and values")
    shape, name, span = _shape(parts[0]), parts[1], parts[2]
    if not isinstance(name, str) or name not in DTYPES:
        raise DamagedMessage(f"an array has the type {str(name)[:40]!r}, which is not read")
    if (size := prod(shape) * DTYPES[name].itemsize) != span.stop - span.start:
        raise DamagedMessage(
            f"an array of shape {shape} takes {size} bytes, but has {span.stop - span.start}"
        )
    return FlaxArray(shape, DTYPES[name], (span,))


def _joined(parts: Mapping[str, Any]) -> FlaxArray:
    """Return an array that is stored in chunks. ``parts`` is the map that contains its shape and chunks."""
    shape, chunks = parts.get("shape"), parts.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict) or not chunks:
        raise DamagedMessage("an array in chunks lacks its shape or its chunks")
    ordered = [chunks.get(str(number)) for number in range(len(chunks))]
    arrays = [each for each in ordered if isinstance(each, FlaxArray)]
    own = _shape([shape.get(str(number)) for number in range(len(shape))])
    dtypes = {each.dtype for each in arrays}
    if len(arrays) < len(chunks) or len(dtypes) > 1 or sum(prod(a.shape) for a in arrays) != prod(own):
        raise DamagedMessage(f"the chunks of an array of shape {own} do not fit it")
    return FlaxArray(own, dtypes.pop(), tuple(span for array in arrays for span in array.spans))


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(each) is int and each >= 0 for each in value):
        raise DamagedMessage("the shape of an array is not a list of sizes")
    if len(value) > MOST_AXES or prod(max(1, each) for each in value) >= 1 << 62:
        raise DamagedMessage("the shape of an array is too large")
    return tuple(value)


def _numbers(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(n, int | float) for n in value):
        raise DamagedMessage("a complex number is not stored as two numbers")
    return value[0], value[1]


def _tensor(array: FlaxArray, data: mmap.mmap) -> Tensor:
    """Return the values of an array, mapped from the file if it has one chunk at an aligned position."""
    parts = [tensor_at(data, array.dtype, span.start, span.stop) for span in array.spans]
    return (torch.cat(parts) if len(parts) > 1 else parts[0]).reshape(array.shape)


# -- arrays → state dicts ---------------------------------------------------------------------------------


def _content(value: Any, data: mmap.mmap) -> tuple[Any, tuple[str, ...]]:
    """Return the contents of a decoded file, and notes about what was left out or changed.

    The contents are the tensors of a network by dotted name. For a training state, they are a dict that has
    such tensors as ``params``, and the plain values of the training state under their own keys.
    """
    if not isinstance(value, dict):
        raise FileError("the file holds no named arrays")
    notes: list[str] = []
    value = _collections(value)
    if not _is_state(value):
        return _network(value, data, notes), tuple(notes)
    found: dict[str, Any] = {}
    for name, each in value.items():
        if name in OPTIMISERS and not isinstance(each, int | float | str):
            notes.append(f"{name!r}, the state of an optimiser, was left out")
        elif name == WEIGHTS:
            found[name] = _network(_with_statistics(each, value.get(STATISTICS)), data, notes)
        elif isinstance(each, dict) and name != STATISTICS:
            if tensors := _network(each, data, []):
                found[name] = tensors
        elif isinstance(each, FlaxArray) and each.shape == ():
            found[name] = _tensor(each, data).item()
        elif isinstance(each, FlaxArray):
            notes.append(f"the array {name!r} was left out")
        elif not isinstance(each, dict | list | Span):
            found[name] = each
    return found, tuple(notes)


def _collections(value: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping whose top level has the collections of a network, such as ``params``."""
    if value.keys() >= {"target", "state"}:  # a training state of flax.optim, before Flax 0.6
        value = {WEIGHTS if name == "target" else name: v for name, v in value.items() if name != "state"}
    inner = [each for each in value.values() if _is_state(each)]
    if not _is_state(value) and len(inner) == 1:
        value = {name: each for name, each in value.items() if not isinstance(each, dict)} | inner[0]
    while _is_state(value) and _is_state(
        value[WEIGHTS]
    ):  # the parameters of a training state may again be collections
        value = value | value[WEIGHTS]
    return value


def _is_state(value: Any) -> bool:
    """Return whether a value is a mapping with parameters under the key ``params``."""
    return isinstance(value, dict) and isinstance(value.get(WEIGHTS), dict)


def _with_statistics(weights: Mapping[str, Any], statistics: Any) -> dict[str, Any]:
    """Return the parameters and the statistics of the batch norms in one dict, by dotted name."""
    flat, more = _flat_names(weights), _flat_names(statistics if isinstance(statistics, dict) else {})
    if twice := flat.keys() & more.keys():
        raise FileError(f"{min(twice)!r} is both in {WEIGHTS!r} and in {STATISTICS!r}")
    return flat | more


def _network(tree: Mapping[str, Any], data: mmap.mmap, notes: list[str]) -> dict[str, Any]:
    """Return the tensors and top-level numbers in nested mappings by dotted name. Append notes about changes.

    The names and the orders of axes of the tensors are those of torch.
    """
    flat = _flat_names(tree)
    arrays = {name: flat[name] for name in sorted(flat, key=layered) if isinstance(flat[name], FlaxArray)}
    rest = {name: each for name, each in flat.items() if "." not in name and isinstance(each, int | float)}
    tensors, changed = in_torch_order({name: _tensor(each, data) for name, each in arrays.items()})
    notes += changed
    return tensors | {name: each for name, each in rest.items() if name not in tensors}


def _flat_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays and plain values in nested mappings and lists by dotted name."""
    flat: dict[str, Any] = {}
    for name, each in _leaves(tree):
        if name in flat:
            raise FileError(f"the name {name!r} occurs twice")
        flat[name] = each
    return flat


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        each = (
            dict(zip(map(str, range(len(value))), value, strict=True)) if isinstance(value, list) else value
        )
        if len(prefix) + len(name) > LONGEST:
            raise FileError(f"a name has more than {LONGEST} characters")
        if isinstance(each, dict):
            yield from _leaves(each, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", each

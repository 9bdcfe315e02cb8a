"""Recognise ONNX files, and count the protobuf fields in them, without the package ``onnx``.

An ONNX file is a protobuf message. A message is a sequence of fields. Each field begins with a tag, which
encodes the number and the type of the field. In a hostile file, two bytes can encode an empty node that takes
a hundred times the memory when it is parsed. The fields are therefore counted before the file is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TypeAlias

from sneframe.errors import FileError

Buffer: TypeAlias = bytes | mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  #: the numbers of the types of fields
LARGEST = (1 << 31) - 1  #: size in bytes of the largest protobuf message
MOST = 2_000_000  #: largest number of fields in a file. Elements of packed lists do not count.
DEEPEST = 80  #: largest number of levels of nested messages. Protobuf itself reads 100.

#: The kinds of messages. ``ENTRY`` is a pair of strings or a version. ``INNER`` is the type of a sequence.
MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, VALUE, TYPE, ARRAY, INNER, SHAPE, AXIS, FUNCTION, ENTRY, OTHER = range(
    14
)
#: The fields of each kind of message that are messages themselves, with the kind of that message.
NESTED: dict[int, dict[int, int]] = {
    MODEL: {7: GRAPH, 8: ENTRY, 14: ENTRY, 20: OTHER, 25: FUNCTION, 26: OTHER},
    GRAPH: {1: NODE, 5: TENSOR, 11: VALUE, 12: VALUE, 13: VALUE, 14: OTHER, 15: OTHER, 16: ENTRY},
    NODE: {5: ATTRIBUTE, 9: ENTRY, 10: OTHER},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 14: TYPE, 15: TYPE, 22: OTHER, 23: OTHER},
    TENSOR: {3: OTHER, 13: ENTRY, 16: ENTRY},
    VALUE: {2: TYPE, 4: ENTRY},
    TYPE: {1: ARRAY, 4: INNER, 5: INNER, 8: ARRAY, 9: INNER},
    ARRAY: {2: SHAPE},
    INNER: {1: TYPE, 2: TYPE},
    SHAPE: {1: AXIS},
    AXIS: {},
    FUNCTION: {7: NODE, 9: ENTRY, 11: ATTRIBUTE, 12: VALUE, 14: ENTRY},
    ENTRY: {},
    OTHER: {},
}
#: The fields of each kind of message that are texts.
TEXTS: dict[int, tuple[int, ...]] = {
    MODEL: (2, 3, 4, 6),
    GRAPH: (2, 10),
    NODE: (1, 2, 3, 4, 6, 7, 8),
    ATTRIBUTE: (1, 13, 21),
    TENSOR: (8, 12),
    VALUE: (1, 3),
    AXIS: (2, 3),
    ENTRY: (1, 2),
}
#: The type of each field that may be at the beginning of a model, by the number of the field.
BEGINNING = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES}
VERSIONS = range(3, 100)  #: the possible versions of the format


def varint(data: Buffer, start: int, stop: int) -> tuple[int, int]:
    """Read a number of variable length at ``start``. Return the number and the position after it.

    Raises:
        ValueError: the number is cut off, or has more than ten bytes.
    """
    value = shift = 0
    while start < stop and shift < 70:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
        shift += 7
    raise ValueError


def fields(data: Buffer, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield four numbers for each field of a message: its number, its type, its start and its end.

    Raises:
        ValueError: a field is cut off, or has an unknown type.
    """
    while start < stop:
        tag, start = varint(data, start, stop)
        number, kind = tag >> 3, tag & 7
        begin = start
        if kind == VARINT:
            _, start = varint(data, start, stop)
        elif kind == BYTES:
            length, begin = varint(data, start, stop)
            start = begin + length
        elif kind in (FIXED32, FIXED64):
            start += 4 if kind == FIXED32 else 8
        else:
            raise ValueError
        if start > stop or not number:
            raise ValueError
        yield number, kind, begin, start


def looks_like(head: bytes, size: int) -> bool:  # noqa: PLR0911  # one line per reason
    """Return whether a file may be an ONNX model.

    A model begins with the version of the format, followed by other fields of :data:`BEGINNING` up to the
    graph. Each field must have the right type. Only fields 8 and 14 may occur several times.

    Args:
        head: the first bytes of the file.
        size: the size of the file in bytes.
    """
    if not head.startswith(b"\x08") or len(head) < 8:
        return False
    seen: dict[int, int] = {}
    start = 0
    while start < len(head) - 1:
        try:
            tag, start = varint(head, start, len(head))
            value, start = varint(head, start, len(head))
        except ValueError:
            return False
        number, kind = tag >> 3, tag & 7
        if BEGINNING.get(number) != kind or (number in seen and number not in (8, 14)):
            return False
        seen[number] = value
        if kind == BYTES and start + value > size:
            return False
        if number == 7:
            inner = head[start : start + 1]
            return seen.get(1, 0) in VERSIONS and (inner in (b"\x0a", b"\x12", b"\x2a", b"\x5a", b"\x62"))
        if kind == BYTES:
            if number in (2, 3, 4) and not head[start : start + value].decode(errors="replace").isprintable():
                return False
            start += value
    return False


def check_parts(path: Path) -> None:
    """Check the size of an ONNX file, the number of its protobuf fields, and how deep messages are nested.

    Raises:
        FileError: the file is damaged or too large, has too many fields, or is nested too deep.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise FileError(f"{path}: the file has {size} bytes, but a protobuf message has at most {LARGEST}")
    if not size:
        raise FileError(f"{path}: the file is empty")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        count = 0
        waiting = [(MODEL, 0, size, 0)]
        while waiting:
            kind, start, stop, depth = waiting.pop()
            if depth > DEEPEST:
                raise FileError(f"{path}: messages are nested more than {DEEPEST} levels deep")
            try:
                for number, wire, begin, end in fields(data, start, stop):
                    count += 1
                    if count > MOST:
                        raise FileError(f"{path}: the file has more than {MOST} parts")
                    if wire == BYTES and number in TEXTS.get(kind, ()):
                        data[begin:end].decode()
                    elif wire == BYTES and (inner := NESTED[kind].get(number)) is not None:
                        waiting.append((inner, begin, end, depth + 1))
            except ValueError as error:  # a field is cut off, or a text is not UTF-8
                raise FileError(f"{path}: damaged, or not an ONNX model") from error

"""Decode MessagePack, the binary format of ``flax.serialization``, from files that may be hostile.

The package ``msgpack`` allocates a list of the length that a file declares, once for each level of nesting.
The decoder in this module checks each declared length against the bytes that are left. It does not copy
binary data: it returns a :class:`Span`, which states where the data is in the file.
"""

from __future__ import annotations

import struct
from typing import Any, final

from attrs import frozen

from sneframe_formats.sliceable import Sliceable

DEEPEST = 64  #: largest number of levels of nesting. Parameters of Flax are nested about ten levels deep.
MOST = 1 << 18  #: largest number of values in a file
LONGEST = 1000  #: largest number of characters of a key
#: The ``struct`` format of each number of fixed size, by the first byte of its encoding.
NUMBERS = dict(
    zip((*range(0xCA, 0xD4),), (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True)
)
#: The constants by their first byte.
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
#: Values of variable size: a first byte, the kind of value, and the possible numbers of bytes of the size.
#: The first byte is that of the first possible number. Each further number has the next first byte.
SIZES = (
    *((0xC4, "bin", (1, 2, 4)), (0xC7, "ext", (1, 2, 4)), (0xD9, "str", (1, 2, 4))),
    *((0xDC, "array", (2, 4)), (0xDE, "map", (2, 4))),
)
SIZED = {first + n: (kind, length) for first, kind, each in SIZES for n, length in enumerate(each)}
#: The number of bytes of each extension of fixed size, by the first byte of its encoding.
FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


class DamagedMessage(ValueError):  # noqa: N818  # the caller turns it into a FileError
    """The data is not MessagePack, or exceeds a limit."""


@frozen
class Span:
    """The position of binary data in the file.

    Args:
        start: the position of the first byte.
        stop: the position after the last byte.
        code: the number of the extension type, or None for plain binary data.
    """

    start: int
    stop: int
    code: int | None = None


def unpack(data: Sliceable, start: int = 0, stop: int | None = None, *, most: int = MOST) -> Any:
    """Decode the bytes between two positions, which must be a single value.

    Binary data and extension types are returned as :class:`Span`.

    Args:
        data: the bytes of the file.
        start: the position of the first byte of the value.
        stop: the position after the value. None is the end of the data.
        most: the largest number of values, including those in maps and arrays.

    Raises:
        DamagedMessage: the bytes are not exactly one value, or exceed ``DEEPEST`` or ``most``.
    """
    walk = _Walk(data, start, len(data) if stop is None else stop, most)
    value = walk.value(0)
    if walk.position != walk.stop:
        raise DamagedMessage(f"{walk.stop - walk.position} bytes follow the end of the data")
    return value


@final
class _Walk:
    """Reads values one after another, from ``position`` to ``stop``."""

    def __init__(self, data: Sliceable, position: int, stop: int, most: int) -> None:
        self._data, self.position, self.stop, self._most = data, position, stop, most
        self._values = 0

    def value(self, depth: int) -> Any:  # noqa: PLR0911  # one line per kind
        """Return the value at the current position, and move the position behind the value."""
        self._values += 1
        if self._values > self._most:
            raise DamagedMessage(f"there are more than {self._most} values")
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in NUMBERS:
            return struct.unpack(NUMBERS[first], self._take(struct.calcsize(NUMBERS[first])))[0]
        if first in FIXED_EXTENSIONS:
            return self._extension(FIXED_EXTENSIONS[first])
        kind, size = self._sized(first)
        if kind == "ext":
            return self._extension(size)
        if kind == "bin":
            return self._span(size)
        if kind == "str":
            return self._text(size)
        if depth == DEEPEST:
            raise DamagedMessage(f"the data is nested more than {DEEPEST} levels deep")
        return self._map(size, depth + 1) if kind == "map" else self._array(size, depth + 1)

    def _sized(self, first: int) -> tuple[str, int]:
        """Return the kind of the value with this first byte, and its size or number of entries."""
        if first < 0x90:
            return "map", first & 0x0F
        if first < 0xA0:
            return "array", first & 0x0F
        if first < 0xC0:
            return "str", first & 0x1F
        if first not in SIZED:
            raise DamagedMessage(f"byte {first:#x} begins no value")
        kind, length = SIZED[first]
        return kind, int.from_bytes(self._take(length), "big")

    def _array(self, size: int, depth: int) -> list[Any]:
        self._check(size)
        return [self.value(depth) for _ in range(size)]

    def _map(self, size: int, depth: int) -> dict[str, Any]:
        self._check(2 * size)
        found: dict[str, Any] = {}
        for _ in range(size):
            key = self.value(depth)
            if not isinstance(key, str):
                raise DamagedMessage(f"a key must be a string, but got the type {type(key).__name__}")
            if len(key) > LONGEST:
                raise DamagedMessage(f"a key has {len(key)} characters, but at most {LONGEST} are allowed")
            if key in found:
                raise DamagedMessage(f"the key {key!r} occurs twice")
            found[key] = self.value(depth)
        return found

    def _extension(self, size: int) -> Span:
        return self._span(size, code=int.from_bytes(self._take(1), "big", signed=True))

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise DamagedMessage("a string is not UTF-8") from error

    def _span(self, size: int, code: int | None = None) -> Span:
        self._check(size)
        start, self.position = self.position, self.position + size
        return Span(start, self.position, code)

    def _take(self, size: int) -> bytes:
        self._check(size)
        start, self.position = self.position, self.position + size
        return self._data[start : self.position]

    def _check(self, size: int) -> None:
        """Check that ``size`` bytes are left. Each entry of a map or array takes at least one byte."""
        if size > self.stop - self.position:
            raise DamagedMessage(f"{size} bytes are declared, but {self.stop - self.position} are left")

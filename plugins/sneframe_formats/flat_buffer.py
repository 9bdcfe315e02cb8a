"""Read FlatBuffers, the binary format of TFLite, from files that may be hostile.

The package ``flatbuffers`` follows any offset, and copies a string of any length. The tables in this module
check each offset, size and number of entries against the size of the file.
"""

from __future__ import annotations

import struct
from typing import final

from sneframe_formats.sliceable import Sliceable

MOST = 1 << 14  #: largest number of tables in a vector. The largest networks have some thousand operators.
LONGEST = 1000  #: largest number of bytes in a string, and of numbers in a vector of numbers


class DamagedBuffer(ValueError):  # noqa: N818  # the caller turns it into a FileError
    """An offset, size or number of entries is not within the file."""


@final
class FlatTable:
    """A table of a FlatBuffer. Its fields are numbered in the order of the schema, and any may be missing.

    Args:
        data: the bytes of the file.
        position: the position of the table in the file, in bytes.
    """

    def __init__(self, data: Sliceable, position: int) -> None:
        self._data, self._position = data, position
        self._fields = position - self._number("<i", position)
        self._size = self._number("<H", self._fields)

    @classmethod
    def root(cls, data: Sliceable) -> FlatTable:
        """Return the root table, to which the first four bytes of a file point."""
        return cls(data, _number(data, "<I", 0))

    def number(self, field: int, form: str, default: float = 0) -> float:
        """Return the number in a field, or ``default`` without the field. ``form`` is a ``struct`` format."""
        place = self._place(field)
        return default if place is None else self._number(form, place)

    def integer(self, field: int, form: str, default: int = 0) -> int:
        """Return the integer in a field, or ``default`` without it. ``form`` is a ``struct`` format."""
        return int(self.number(field, form, default))

    def text(self, field: int) -> str:
        """Return the string in a field, or an empty string without the field. Invalid UTF-8 is replaced."""
        start, size = self._vector(field, 1)
        if size > LONGEST:
            raise DamagedBuffer(f"a name has {size} bytes, but at most {LONGEST} are allowed")
        return self._data[start : start + size].decode(errors="replace")

    def numbers(self, field: int) -> tuple[int, ...]:
        """Return the vector of 32-bit integers in a field. The vector is empty if the field is missing."""
        start, size = self._vector(field, 4)
        if size > LONGEST:
            raise DamagedBuffer(f"a list has {size} numbers, but at most {LONGEST} are allowed")
        return struct.unpack(f"<{size}i", self._data[start : start + 4 * size])

    def span(self, field: int, width: int = 1) -> tuple[int, int]:
        """Return two positions in the file: that of the first byte of a vector, and that after its last byte.

        Both are 0 if the field is missing.

        Args:
            field: the number of the field.
            width: the number of bytes of each entry of the vector.
        """
        start, size = self._vector(field, width)
        return start, start + width * size

    def table(self, field: int) -> FlatTable | None:
        """Return the table in a field of this table, or None if the field is missing."""
        place = self._place(field)
        return None if place is None else FlatTable(self._data, place + self._number("<I", place))

    def tables(self, field: int) -> list[FlatTable]:
        """Return the vector of tables in a field. The vector is empty if the field is missing."""
        start, size = self._vector(field, 4)
        if size > MOST:
            raise DamagedBuffer(f"a list has {size} entries, but at most {MOST} are allowed")
        places = range(start, start + 4 * size, 4)
        return [FlatTable(self._data, place + self._number("<I", place)) for place in places]

    def _place(self, field: int) -> int | None:
        """Return the position of a field in the file, or None if the field is missing."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = int(self._number("<H", self._fields + entry))
        return self._position + offset if offset else None

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """Return the position of the first entry of a vector, and the number of entries.

        Both are 0 if the field is missing.
        """
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._number("<I", place)
        size = self._number("<I", start)
        if start + 4 + size * width > len(self._data):
            raise DamagedBuffer(f"a list at byte {start} has {size} entries, more than the file can hold")
        return start + 4, size

    def _number(self, form: str, place: int) -> int:
        return _number(self._data, form, place)


def _number(data: Sliceable, form: str, place: int) -> int:
    size = struct.calcsize(form)
    if not 0 <= place <= len(data) - size:
        raise DamagedBuffer(f"byte {place} is needed, but the file has {len(data)}")
    found: int = struct.unpack(form, data[place : place + size])[0]
    return found

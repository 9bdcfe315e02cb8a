"""Read the header of a GGUF file. The file may be hostile.

The reader of the package ``gguf`` trusts the counts and sizes in the header. The functions in this module
check each count and size against the size of the file. Then they check that the data of all tensors is in the
file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, final

from attrs import frozen

from sneframe_formats.sliceable import Sliceable

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32  #: the data of a tensor begins at a multiple of this number, unless the header says otherwise
AXES = 4  #: largest number of axes of a tensor in ggml
NESTED = 4  #: largest number of levels of nested arrays in the metadata
MOST = 1 << 22  #: largest number of strings in arrays. The longest vocabularies have about 2^20 entries.
ENTRIES = 1 << 16  #: largest number of keys of metadata, and of tensors
LONGEST = 1000  #: largest number of bytes of the name of a tensor, or of a key
STRING, ARRAY = 8, 9  #: the numbers of two types of metadata
#: The ``struct`` format of each scalar type of metadata, by the number of the type.
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}


@frozen
class GgufType:
    """A type of values that a tensor can have.

    Args:
        name: the name of the type in ggml.
        block: the number of values of a block, which are stored together. It is 1 if they are not quantised.
        size: the number of bytes of a block.
    """

    name: str
    block: int
    size: int


#: The types of tensors by their numbers. Types with blocks of several values are quantised.
KINDS: Mapping[int, GgufType] = {
    number: GgufType(*each)
    for number, each in {
        0: ("F32", 1, 4),
        1: ("F16", 1, 2),
        28: ("F64", 1, 8),
        30: ("BF16", 1, 2),
        24: ("I8", 1, 1),
        25: ("I16", 1, 2),
        26: ("I32", 1, 4),
        27: ("I64", 1, 8),
        2: ("Q4_0", 32, 18),
        3: ("Q4_1", 32, 20),
        6: ("Q5_0", 32, 22),
        7: ("Q5_1", 32, 24),
        8: ("Q8_0", 32, 34),
        9: ("Q8_1", 32, 40),
        10: ("Q2_K", 256, 84),
        11: ("Q3_K", 256, 110),
        12: ("Q4_K", 256, 144),
        13: ("Q5_K", 256, 176),
        14: ("Q6_K", 256, 210),
        15: ("Q8_K", 256, 292),
        16: ("IQ2_XXS", 256, 66),
        17: ("IQ2_XS", 256, 74),
        18: ("IQ3_XXS", 256, 98),
        19: ("IQ1_S", 256, 50),
        20: ("IQ4_NL", 32, 18),
        21: ("IQ3_S", 256, 110),
        22: ("IQ2_S", 256, 82),
        23: ("IQ4_XS", 256, 136),
        29: ("IQ1_M", 256, 56),
        34: ("TQ1_0", 256, 54),
        35: ("TQ2_0", 256, 66),
        39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36),
        41: ("Q1_0", 128, 18),
    }.items()
}


class DamagedHeader(ValueError):  # noqa: N818  # the caller turns it into a FileError
    """The header is damaged, states wrong sizes, or has a version or type that is not supported."""


@frozen
class GgufTensor:
    """A tensor in the file.

    Args:
        number: the number that ggml gives to the type of the values.
        shape: the shape in torch's order. Values that are neighbours on the last axis are neighbours in the
            file.
        start: the position of its first byte in the file.
        stop: the position after its last byte.
    """

    number: int
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def kind(self) -> GgufType:
        """The type of the values."""
        return KINDS[self.number]


@frozen
class GgufHeader:
    """The header of a GGUF file.

    Args:
        metadata: the scalars and strings in the metadata, by key.
        tensors: the tensors by name, in the order of the file.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]


def read_header(data: Sliceable) -> GgufHeader:
    """Read the header, and check that all tensors are in the file.

    Raises:
        DamagedHeader: the header is damaged, states wrong sizes, or has a version or type that is not
            supported.
    """
    walk = _Walk(data)
    if walk.take(len(MAGIC)) != MAGIC:
        raise DamagedHeader("the file does not begin with GGUF")
    version = walk.number("<I")
    if version & 0xFFFF == 0:
        raise DamagedHeader("the file is big-endian, and only little-endian files are read")
    if version not in VERSIONS:
        raise DamagedHeader(f"the GGUF version must be {VERSIONS[0]} or {VERSIONS[1]}, but got {version}")
    tensors, entries = walk.number("<Q"), walk.number("<Q")
    metadata: dict[str, Any] = {}
    for _ in range(walk.counted(_checked(entries), least=13)):
        key = walk.name()
        if key in metadata:
            raise DamagedHeader(f"the key {key!r} occurs twice")
        metadata[key] = walk.value(walk.number("<I"))
    infos: dict[str, tuple[int, tuple[int, ...], int]] = {}
    for _ in range(walk.counted(_checked(tensors), least=24)):
        name = walk.name()
        if name in infos:
            raise DamagedHeader(f"the tensor {name!r} occurs twice")
        infos[name] = walk.tensor(name)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise DamagedHeader(f"the alignment must be a power of two, but got {alignment!r}")
    begin = -(-walk.position // alignment) * alignment
    placed = {name: _placed(name, info, begin, len(data)) for name, info in infos.items()}
    if (needed := sum(each.stop - each.start for each in placed.values())) > len(data):
        raise DamagedHeader(f"the tensors would take {needed} bytes, but the file has {len(data)}")
    plain = {key: value for key, value in metadata.items() if value is not None}
    return GgufHeader(plain, placed)


def _checked(number: int) -> int:
    if number > ENTRIES:
        raise DamagedHeader(f"the header declares {number} entries, but at most {ENTRIES} are allowed")
    return number


def _placed(name: str, info: tuple[int, tuple[int, ...], int], begin: int, size: int) -> GgufTensor:
    number, shape, offset = info
    kind, start = KINDS[number], begin + offset
    if kind.block > 1 and (not shape or shape[-1] % kind.block):
        raise DamagedHeader(
            f"the last axis of {name!r} must be a multiple of {kind.block} for the type {kind.name}, "
            f"but got the shape {shape}"
        )
    stop = start + prod(shape) // kind.block * kind.size
    if stop > size:
        raise DamagedHeader(f"{name!r} ends at byte {stop}, but the file has {size}")
    return GgufTensor(number, shape, start, stop)


@final
class _Walk:
    """Reads the values of a header one after another."""

    def __init__(self, data: Sliceable) -> None:
        self._data, self.position, self._left = data, 0, MOST

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes, and move the position behind them."""
        if size > len(self._data) - self.position:
            left = len(self._data) - self.position
            raise DamagedHeader(
                f"the header declares {size} bytes at byte {self.position}, but {left} are left"
            )
        start, self.position = self.position, self.position + size
        return self._data[start : self.position]

    def number(self, form: str) -> Any:
        """Return the next number. ``form`` is its ``struct`` format."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def counted(self, number: int, least: int) -> int:
        """Check a number of entries against ``MOST`` and the bytes that are left, and return the number.

        Args:
            number: the number that the header declares.
            least: the smallest number of bytes that an entry can take.
        """
        self._left -= number
        if self._left < 0:
            raise DamagedHeader(f"the header has more than {MOST} entries")
        if number * least > len(self._data) - self.position:
            raise DamagedHeader(f"the header declares {number} entries, more than the file can hold")
        return number

    def name(self) -> str:
        """Return the next string, which is a key or the name of a tensor."""
        size = self.number("<Q")
        if size > LONGEST:
            raise DamagedHeader(f"a name has {size} bytes, but at most {LONGEST} are allowed")
        return self._text(self.take(size))

    def value(self, kind: int, depth: int = 0) -> Any:
        """Return the next value of metadata. An array or a long string is skipped, and None is returned."""
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == STRING:
            text = self.take(self.number("<Q"))
            return self._text(text) if len(text) <= LONGEST else None
        if kind != ARRAY:
            raise DamagedHeader(f"the metadata type {kind} is unknown")
        if depth == NESTED:
            raise DamagedHeader(f"an array is nested more than {NESTED} levels deep")
        inner, number = self.number("<I"), self.number("<Q")
        if inner in SCALARS:
            self.take(number * struct.calcsize(SCALARS[inner]))
        else:
            for _ in range(self.counted(number, least=8 if inner == STRING else 12)):
                self._skip(inner, depth + 1)
        return None

    def _skip(self, kind: int, depth: int) -> None:
        if kind == STRING:
            self.take(self.number("<Q"))
        else:
            self.value(kind, depth)

    def tensor(self, name: str) -> tuple[int, tuple[int, ...], int]:
        """Return the description of the next tensor: the number of its type, its shape and its offset."""
        axes = self.number("<I")
        if axes > AXES:
            raise DamagedHeader(f"{name!r} has {axes} axes, but at most {AXES} are allowed")
        dims: Sequence[int] = [self.number("<Q") for _ in range(axes)]
        kind, offset = self.number("<I"), self.number("<Q")
        if prod(max(1, each) for each in dims) >= 1 << 62:
            raise DamagedHeader(f"the shape of {name!r} is too large")
        if kind not in KINDS:
            raise DamagedHeader(f"{name!r} has the type {kind}, which is unknown")
        return kind, tuple(reversed(dims)), offset

    @staticmethod
    def _text(content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise DamagedHeader("a string is not UTF-8") from error

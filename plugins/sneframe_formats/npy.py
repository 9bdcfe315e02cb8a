"""Read arrays in the format ``.npy``. Nothing is unpickled, and sizes are checked before they are used."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.errors import FileError
from sneframe_formats.mapped import Bytes

MAGIC = b"\x93NUMPY"
HEADER = 10_000  #: largest size in bytes of a header, as in numpy
START = HEADER + 12  #: number of bytes that hold any allowed header
AXES = 64  #: largest number of axes, as in numpy
STRING = 1 << 16  #: largest size in bytes of a string that is read
LARGEST = 1 << 48  #: largest size in bytes of an array, in which axes of length 0 count as length 1
TYPE = re.compile(r"[<>|=]?(?:f[248]|[iu][1248]|b1|[US]\d{1,9})")  #: types of numbers, booleans and strings


@frozen(kw_only=True)
class NpyHeader:
    """The header of an array.

    Args:
        dtype: the type of the elements.
        shape: the shape.
        fortran: whether the elements are stored in Fortran order, in which the first index changes fastest.
        start: the position of the elements in the file, in bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        """The number of bytes that the elements take."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self, read: Callable[[], bytes], mapped: tuple[Bytes, int] | None) -> Tensor | str | None:
        """Read the array.

        Args:
            read: a function that returns the bytes of the elements.
            mapped: the file in memory and the position of the elements in it, or None. The tensor shares this
                memory if the elements are aligned and have the byte order of the machine.

        Returns:
            A tensor for numbers. A string for an array without axes that contains a short string. None for
            any other array of strings.
        """
        if self.dtype.kind in "US":
            if self.shape or self.nbytes > STRING:
                return None
            value = np.frombuffer(read(), self.dtype, 1).item() if self.nbytes else ""
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if not self.nbytes:
            return torch.from_numpy(np.empty(self.shape, self.dtype.newbyteorder("=")))
        if mapped is not None and self.dtype.isnative and mapped[1] % self.dtype.itemsize == 0:
            whole, offset = mapped
            return torch.from_numpy(self._shaped(whole[offset : offset + self.nbytes].view(self.dtype)))
        flat = np.frombuffer(read(), self.dtype)
        return torch.from_numpy(self._shaped(flat.astype(self.dtype.newbyteorder("="))))

    def _shaped(self, flat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return flat.reshape(self.shape[::-1]).T if self.fortran else flat.reshape(self.shape)


def read_header(start: bytes, size: int, what: str) -> NpyHeader:
    """Read the header of an array.

    Args:
        start: the first ``START`` bytes of the array's file, or the whole file if it is smaller.
        size: the size of the array's file in bytes.
        what: the path of the file and the name of the array, for errors.

    Raises:
        FileError: the header is damaged, the elements are neither numbers nor strings, or the file does not
            have the size that the header declares.
    """
    if not start.startswith(MAGIC) or len(start) < 12 or start[6] not in (1, 2, 3):
        raise FileError(f"{what}: damaged, or not an array of numpy")
    long = start[6] > 1
    begin = 12 if long else 10
    length = int.from_bytes(start[8:begin], "little")
    if length > HEADER or begin + length > len(start):
        raise FileError(f"{what}: the header of {length} bytes is damaged")
    try:
        found = ast.literal_eval(start[begin : begin + length].decode("latin1").strip())
        descr, fortran, shape = found["descr"], found["fortran_order"], found["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise FileError(f"{what}: the header is damaged") from error
    if (
        not isinstance(fortran, bool)
        or not isinstance(shape, tuple)
        or len(shape) > AXES
        or not all(type(n) is int and 0 <= n < LARGEST for n in shape)
    ):
        raise FileError(f"{what}: the header is damaged")
    header = NpyHeader(dtype=_dtype(descr, what), shape=shape, fortran=fortran, start=begin + length)
    if prod(n or 1 for n in shape) * max(header.dtype.itemsize, 1) > LARGEST:
        raise FileError(f"{what}: the header declares the shape {shape}, which is too large")
    if header.nbytes != size - header.start:
        raise FileError(
            f"{what}: the header declares {header.nbytes} bytes of elements, but there are "
            f"{size - header.start}"
        )
    return header


def _dtype(descr: Any, what: str) -> np.dtype[Any]:
    if isinstance(descr, str) and TYPE.fullmatch(descr):
        return np.dtype(descr)
    if not isinstance(descr, str):
        raise FileError(f"{what}: the elements are records; save each field as an array of numbers")
    if descr.lstrip("<>|=").startswith("O"):
        raise FileError(f"{what}: the elements are Python objects, which are never loaded; save numbers")
    if re.fullmatch(r"[<>|=]?V[12]", descr):
        raise FileError(
            f"{what}: the elements have the type {descr!r}, as numpy saves bfloat16 and the types of 8 bits; "
            "save the array as float32"
        )
    raise FileError(f"{what}: the elements have the type {descr!r:.40}; save them as float32")

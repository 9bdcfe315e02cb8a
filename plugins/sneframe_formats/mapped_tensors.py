"""Map a file into memory, and return parts of it as tensors."""

from __future__ import annotations

import mmap
from pathlib import Path

import torch
from torch import Tensor


def mapped(path: Path) -> mmap.mmap:
    """Map a file into memory. A change of the bytes in memory does not change the file."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def tensor_at(data: mmap.mmap, dtype: torch.dtype, start: int, stop: int) -> Tensor:
    """Return the bytes between two positions as a tensor with one axis.

    The number of bytes must be a multiple of the size of a value. The values are mapped from the file if
    ``start`` is a multiple of this size, and copied otherwise.
    """
    if start == stop:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize == 0:
        return torch.frombuffer(data, dtype=dtype, count=(stop - start) // dtype.itemsize, offset=start)
    return torch.frombuffer(bytearray(data[start:stop]), dtype=dtype)

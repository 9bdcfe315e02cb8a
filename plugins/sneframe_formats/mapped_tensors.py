"""Map the tensors of a file into memory."""

from __future__ import annotations

import mmap
from pathlib import Path

import torch
from torch import Tensor


def mapped(path: Path) -> mmap.mmap:
    """Map a file into memory. What is written to the memory does not reach the file."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def tensor_at(data: mmap.mmap, dtype: torch.dtype, start: int, stop: int) -> Tensor:
    """Return the values between two positions as a flat tensor, whose size must fit the type.

    The values stay in the file if their position is a multiple of the size of one value. Otherwise they are
    copied.
    """
    if start == stop:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize == 0:
        return torch.frombuffer(data, dtype=dtype, count=(stop - start) // dtype.itemsize, offset=start)
    return torch.frombuffer(bytearray(data[start:stop]), dtype=dtype)

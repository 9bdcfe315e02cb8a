"""Check the sizes that a file declares, before memory is allocated for them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from sneframe.errors import FileError

SHARED = 16  #: largest ratio of the bytes of all tensors to the bytes of the file. Tensors may share bytes.
NESTED = 32  #: number of levels of nested mappings and lists that are searched for tensors


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested mappings and lists. Each mapping or list is searched once."""
    level, seen = [value], set()
    for _ in range(NESTED + 1):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, Tensor):
                yield each
            elif isinstance(each, Mapping | list | tuple) and id(each) not in seen:
                seen.add(id(each))
                inner.extend(each.values() if isinstance(each, Mapping) else each)
        level = inner


def check_sizes(tensors: Iterable[Tensor], path: Path, size: int) -> None:
    """Check that the tensors of a file do not claim far more bytes than the file has.

    A view that ``Tensor.expand`` made can claim such a size, because its elements share memory.

    Args:
        tensors: the tensors.
        path: the path of the file, for errors.
        size: the size of the file in bytes.

    Raises:
        FileError: the tensors would take more than ``SHARED`` times the size of the file.
    """
    check_declared((tensor.numel() * tensor.element_size() for tensor in tensors), path, size)


def check_declared(sizes: Iterable[int], path: Path, size: int) -> None:
    """Check that ``sizes``, the bytes of each tensor, fit the file as :func:`check_sizes` requires."""
    if (declared := sum(sizes)) > SHARED * size:
        raise FileError(f"{path}: the tensors would take {declared} bytes, but the file has {size}")


def size_of(file: Path | IO[bytes]) -> int:
    """Return the size of a file in bytes. An open file is set back to its start."""
    if isinstance(file, Path):
        return file.stat().st_size
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size

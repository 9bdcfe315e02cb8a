"""Cache decoded weights in memory-mapped files, for zoos that do not fit into memory."""

from __future__ import annotations

import ctypes
import hashlib
import io
import mmap
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from sneframe.zoo.staging import machine_errors

if TYPE_CHECKING:
    from torch import Tensor

GAP = 1 << 16  #: rows that are at most so many bytes apart are read together with what is between them


def half_of_free_memory() -> int:
    """Return half of the free memory of the machine, in bytes."""
    import psutil  # type: ignore[import-untyped]  # psutil ships no type stubs

    return int(psutil.virtual_memory().available) // 2


def default_folder() -> Path:
    """Return the folder for decoded weights in the user's cache folder."""
    import platformdirs

    return platformdirs.user_cache_path("sneframe") / "zoos"


def mapped(folder: Path, rows: np.ndarray, width: int, blocks: Iterable[tuple[int, np.ndarray]]) -> Tensor:
    """Return the weights of networks as a memory-mapped float32 tensor ``(n, width)``.

    If the file of the tensor is missing or incomplete, the file is written first.

    Args:
        folder: the cache folder for one architecture of one zoo. Its path contains the digest of the zoo and
            the id of the architecture.
        rows: row numbers of the networks, shape ``(n,)``. The name of the file is a hash of the row numbers.
        width: the number of weights of a network, P.
        blocks: the weights in the order of ``rows``, as pairs of a start index and an array ``(n_i, width)``
            float32. The iterable is consumed only if the file must be written.

    Raises:
        MachineError: the file cannot be written or read.
    """
    import torch

    header = _npy_header((len(rows), width))
    file = folder / f"{hashlib.sha256(rows.astype('<i8').tobytes()).hexdigest()[:16]}.npy"
    with machine_errors(file):
        if not (file.is_file() and file.stat().st_size == len(header) + 4 * len(rows) * width):
            _write(file, header, blocks)
        with warnings.catch_warnings():
            # torch warns that the file is read-only. Nothing changes weights in place, so this is safe.
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(np.load(file, mmap_mode="r"))


def expect(weights: Tensor, rows: np.ndarray) -> None:
    """Ask the system to read some rows of a mapped tensor from the disk, and do not wait for them.

    The rows are then read in long stretches, many at a time. On a system that cannot be asked, this does
    nothing.

    Args:
        weights: a tensor ``(n, width)`` that :func:`mapped` returned.
        rows: ascending row numbers.
    """
    width = weights[0].nbytes
    if sys.platform != "linux" or not width or not hasattr(libc := ctypes.CDLL(None), "madvise"):
        return
    cuts = np.flatnonzero(np.diff(rows) * width > GAP) + 1
    for some in np.split(rows, cuts):
        start = weights.data_ptr() + int(some[0]) * width
        within = start % mmap.PAGESIZE  # an address must be that of a page
        length = (int(some[-1]) - int(some[0]) + 1) * width + within
        address = ctypes.c_void_p(start - within)
        libc.madvise(address, ctypes.c_size_t(length), mmap.MADV_WILLNEED)


def _write(file: Path, header: bytes, blocks: Iterable[tuple[int, np.ndarray]]) -> None:
    # The file is written with plain writes, so that a full disk raises an error. Writing through a memory map
    # to a full disk would kill the process.
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".tmp-{uuid4().hex}")
    try:
        with temporary.open("wb") as out:
            out.write(header)
            for _, block in blocks:
                out.write(np.ascontiguousarray(block, dtype="<f4").data)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _npy_header(shape: tuple[int, int]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()

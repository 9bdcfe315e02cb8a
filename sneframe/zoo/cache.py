"""Cache decoded weights in memory-mapped files, for zoos that do not fit into memory."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from attrs import frozen

from sneframe.errors import MachineError
from sneframe.zoo.staging import machine_errors

if TYPE_CHECKING:
    from torch import Tensor

GAP = 1 << 16  #: rows with at most so many bytes between them are expected together


def half_of_free_memory() -> int:
    """Return half of the free memory of the machine, in bytes."""
    import psutil  # type: ignore[import-untyped]  # psutil ships no type stubs

    return int(psutil.virtual_memory().available) // 2


def default_folder() -> Path:
    """Return the folder for decoded weights in the user's cache folder."""
    import platformdirs

    return platformdirs.user_cache_path("sneframe") / "zoos"


def file_of(folder: Path, rows: np.ndarray) -> Path:
    """Return the path of the decoded file of networks; see :func:`mapped`."""
    return folder / f"{hashlib.sha256(rows.astype('<i8').tobytes()).hexdigest()[:16]}.npy"


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
    file = file_of(folder, rows)
    with machine_errors(file):
        if not (file.is_file() and file.stat().st_size == len(header) + 4 * len(rows) * width):
            _write(file, header, blocks)
        with warnings.catch_warnings():
            # torch warns that the file is read-only. Nothing changes weights in place, so this is safe.
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(np.load(file, mmap_mode="r"))


@frozen
class DecodedFile:
    """Reads rows of a file that :func:`mapped` wrote into memory, without mapping the file.

    This takes less time than copying mapped rows, because it causes no page faults.

    Args:
        path: path of the file.
        width: the number of weights of a network, P.
    """

    path: Path
    width: int

    def expect(self, rows: np.ndarray) -> None:
        """Ask the system to read rows from the disk, and do not wait for them.

        The disk then has many requests at a time. On a system that cannot be asked, this does nothing.

        Args:
            rows: ascending row numbers.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        with machine_errors(self.path), self.path.open("rb", buffering=0) as file:
            start = _start_of_rows(file)
            for some in _stretches(rows, 1 + GAP // max(1, 4 * self.width)):
                first, end = (start + 4 * self.width * int(row) for row in (some[0], some[-1] + 1))
                os.posix_fadvise(file.fileno(), first, end - first, os.POSIX_FADV_WILLNEED)

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read rows into an array.

        Args:
            rows: ascending row numbers ``(n,)``.
            out: a contiguous array ``(n, width)`` float32.

        Raises:
            MachineError: the file cannot be read, or ends too early.
        """
        done = 0
        with machine_errors(self.path), self.path.open("rb", buffering=0) as file:
            start = _start_of_rows(file)
            for some in _stretches(rows, 1):
                file.seek(start + 4 * self.width * int(some[0]))
                left = out[done : done + len(some)].reshape(-1).data.cast("B")
                done += len(some)
                while len(left):
                    if not (size := file.readinto(left)):
                        raise MachineError(
                            f"{self.path}: the file ends too early; remove it, and it is made again"
                        )
                    left = left[size:]


def _stretches(rows: np.ndarray, step: int) -> list[np.ndarray]:
    """Divide ascending numbers where one exceeds the number before it by more than ``step``."""
    return np.split(rows, np.flatnonzero(np.diff(rows) > step) + 1)


def _start_of_rows(file: FileIO) -> int:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()


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

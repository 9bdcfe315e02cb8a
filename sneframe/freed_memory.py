"""Keep the memory that a process frees. Training allocates the same tensors in every step."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  #: numbers of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, and use it again. Without glibc, this does nothing.

    By default, glibc returns large blocks to the system at once. A step that allocates the same megabytes
    again and again then spends half of its time on pages that the system has to clear.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    for option, value in (
        (M_MMAP_THRESHOLD, 1 << 30),
        (M_TRIM_THRESHOLD, (1 << 31) - 1),
        (M_TOP_PAD, 1 << 26),
    ):
        libc.mallopt(option, value)

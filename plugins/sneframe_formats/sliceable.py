"""Define the type of the bytes that the decoders of binary formats read."""

from __future__ import annotations

from typing import Protocol


class Sliceable(Protocol):
    """Bytes that can be sliced, such as ``bytes`` or a memory-mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> bytes: ...

"""Return parts of a file as bytes or tensors. A file on the disk is mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.sizes import size_of

AHEAD = 1 << 14  #: smallest number of bytes that ``Reading`` reads at once


class FileBytes:
    """The bytes of a file.

    Args:
        file: the path of the file, which is mapped into memory, or an open file, which is read into memory.
    """

    def __init__(self, file: Path | IO[bytes]) -> None:
        self.size = size_of(file)
        if isinstance(file, Path) and not _is_utf8(file):  # torch maps only files whose names are valid UTF-8
            self._bytes = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
        elif isinstance(file, Path):
            # Unlike Python's mmap, torch.from_file keeps no file open.
            self._bytes = torch.from_file(str(file), shared=False, size=self.size, dtype=torch.uint8)
        else:
            self._bytes = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
            file.seek(0)

    def read(self, start: int, count: int) -> bytes:
        """Return ``count`` bytes from position ``start``, or fewer if the file ends before."""
        return self._bytes[start : min(start + count, self.size)].numpy().tobytes()

    def elements(self, start: int, count: int, dtype: torch.dtype) -> Tensor:
        """Return ``count`` bytes from position ``start`` as a vector of elements of type ``dtype``.

        The bytes are copied only if ``start`` is not a multiple of the size of an element.

        Raises:
            FileError: the file ends before these bytes do.
        """
        if start < 0 or count < 0 or start + count > self.size:
            raise FileError("damaged: the file ends inside a tensor")
        if not count:
            return torch.empty(0, dtype=dtype)
        part = self._bytes[start : start + count]
        return (part.clone() if start % dtype.itemsize else part).view(dtype)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


class Reading:
    """Reads the bytes of a file in order. A read past the end returns only the bytes that are left.

    Args:
        source: the bytes of the file.
        start: the position of the first byte to read.
        end: the position after the last byte to read. By default, the end of the file.
    """

    def __init__(self, source: FileBytes, start: int = 0, end: int | None = None) -> None:
        self.source, self.place, self.end = source, start, source.size if end is None else end
        self._ahead, self._from = b"", 0  # bytes that were read ahead, and their position in the file

    def read(self, count: int = -1) -> bytes:
        """Return the next ``count`` bytes, or fewer at the end. A negative ``count`` reads up to the end."""
        left = max(self.end - self.place, 0)
        count = left if count < 0 else min(count, left)
        first = self.place - self._from
        if not 0 <= first <= len(self._ahead) - count:
            self._ahead, self._from, first = self.source.read(self.place, max(count, AHEAD)), self.place, 0
        self.place += count
        return self._ahead[first : first + count]

    def readline(self) -> bytes:
        """Return the next line with its newline character. The last line may have none."""
        parts: list[bytes] = []
        while more := self.read(min(64 << len(parts), AHEAD)):
            line, newline, rest = more.partition(b"\n")
            parts.append(line + newline)
            self.place -= len(rest)
            if newline:
                break
        return b"".join(parts)

    def number(self, size: int = 8) -> int:
        """Return the next ``size`` bytes as a signed integer, whose lowest byte comes first.

        Raises:
            EOFError: the file ends inside the integer.
        """
        content = self.read(size)
        if len(content) < size:
            raise EOFError
        return int.from_bytes(content, "little", signed=True)

    def skip(self, size: int) -> int:
        """Skip the next ``size`` bytes, and return the position of the first of them.

        Raises:
            EOFError: ``size`` is negative, or fewer than ``size`` bytes are left.
        """
        start = self.place
        if size < 0 or start + size > self.end:
            raise EOFError
        self.place += size
        return start

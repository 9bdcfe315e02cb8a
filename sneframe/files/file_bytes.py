"""Show parts of a file as tensors. A file on the disk is mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.sizes import size_of

AHEAD = 1 << 14  #: number of bytes that are read ahead


class FileBytes:
    """The bytes of a file.

    Args:
        file: the path of the file, which is mapped into memory, or an open file, which is read into memory.
    """

    def __init__(self, file: Path | IO[bytes]) -> None:
        self.size = size_of(file)
        if isinstance(file, Path) and not _is_utf8(file):  # torch cannot map a file of such a name
            self._bytes = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
        elif isinstance(file, Path):
            # Unlike a map of Python, a map of torch keeps no file open.
            self._bytes = torch.from_file(str(file), shared=False, size=self.size, dtype=torch.uint8)
        else:
            self._bytes = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
            file.seek(0)

    def read(self, start: int, count: int) -> bytes:
        """Return a number of bytes, or fewer at the end of the file."""
        return self._bytes[start : min(start + count, self.size)].numpy().tobytes()

    def elements(self, start: int, count: int, dtype: torch.dtype) -> Tensor:
        """Return a number of bytes as a vector of elements of a type.

        The vector is copied only if the bytes do not begin at a multiple of the size of an element.

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
    """Reads a file from its start to its end. A read past the end gives fewer bytes, and takes no memory.

    Args:
        source: the bytes of the file.
        start: where to begin.
        end: where the readable part ends. By default, at the end of the file.
    """

    def __init__(self, source: FileBytes, start: int = 0, end: int | None = None) -> None:
        self.source, self.place, self.end = source, start, source.size if end is None else end
        self._ahead, self._from = b"", 0  # bytes that were read ahead, and where they begin

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes, and go past them."""
        left = max(self.end - self.place, 0)
        count = left if count < 0 else min(count, left)
        first = self.place - self._from
        if not 0 <= first <= len(self._ahead) - count:
            self._ahead, self._from, first = self.source.read(self.place, max(count, AHEAD)), self.place, 0
        self.place += count
        return self._ahead[first : first + count]

    def readline(self) -> bytes:
        """Return the bytes up to the next end of a line, and go past them."""
        parts: list[bytes] = []
        while more := self.read(min(64 << len(parts), AHEAD)):
            line, newline, rest = more.partition(b"\n")
            parts.append(line + newline)
            self.place -= len(rest)
            if newline:
                break
        return b"".join(parts)

    def number(self, size: int = 8) -> int:
        """Return the next signed integer.

        Raises:
            EOFError: the file ends inside the integer.
        """
        content = self.read(size)
        if len(content) < size:
            raise EOFError
        return int.from_bytes(content, "little", signed=True)

    def skip(self, size: int) -> int:
        """Go past a number of bytes. Return where they begin.

        Raises:
            EOFError: the file ends before these bytes do.
        """
        start = self.place
        if size < 0 or start + size > self.end:
            raise EOFError
        self.place += size
        return start

"""Read the files that torch 0.1.10 to 1.5 wrote.

Such a file begins with five pickles: a magic number, the version of the format, a description of the system,
the saved object, and the list of the keys of the storages. The storages follow. Each storage is the number of
its elements, and the elements.
"""

from __future__ import annotations

import pickle  # only to write a number
from pathlib import Path
from typing import IO, Any

import torch

from sneframe.files.file_bytes import FileBytes, Reading
from sneframe.files.stored import Storage
from sneframe.files.unpickler import StubUnpickler, damage_named

MAGIC = 0x1950A86A20F9469CFC6C
#: The possible first bytes of such a file: the magic number, pickled with protocol 2, 3, 4 or 5.
LEGACY = tuple(pickle.dumps(MAGIC, protocol) for protocol in range(2, 6))
VERSION = 1001


def read_stream(file: Path | IO[bytes], path: Path) -> Any:
    """Read a file that torch 0.1.10 to 1.5 wrote. Objects become stubs, and tensors are read on demand.

    Args:
        file: the file, as a path or open.
        path: the path of the file, for errors.

    Raises:
        UnusualTensorError: the file has tensors that only torch can build.
        FileError: the file is damaged, or names a function that acts on the system.
    """
    with damage_named(path):
        source = FileBytes(file)
        reading = Reading(source)
        StubUnpickler(reading, path).load()
        version = StubUnpickler(reading, path).load()
        StubUnpickler(reading, path).load()
        if version != VERSION:
            raise ValueError("an unknown version of the format")
        known: dict[str, Storage] = {}
        starts: dict[str, int] = {}

        def storage(dtype: torch.dtype, key: str, length: int) -> Storage:
            size = length * dtype.itemsize
            found = Storage(lambda: source.elements(starts[key], size, dtype), dtype, length)
            first = known.setdefault(key, found)
            if first.nbytes != size:
                raise ValueError("a storage has two sizes")
            return found

        value = StubUnpickler(reading, path, storage).result(path)
        for each in StubUnpickler(reading, path).load():
            key = str(each)
            if reading.number() != known[key].length:
                raise ValueError("a storage does not have the size that the pickle states")
            starts[key] = reading.skip(known[key].nbytes)
        if known.keys() - starts.keys():
            raise ValueError("a storage is missing")
        return value

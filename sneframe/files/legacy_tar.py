"""Read the files that torch before 0.1.10 wrote. They are tar archives with three members.

- ``storages`` begins with a pickle of the number of storages. Each storage is a pickle of its key, location
  and type, then its number of elements, then the elements. The last pickle lists the storages that are parts
  of other storages.
- ``tensors`` begins with a pickle of the number of tensors. Each tensor is a pickle of its key, the key of
  its storage and its type, then its number of axes, four bytes without meaning, its shape, its strides and
  its offset.
- ``pickle`` holds the saved object. In this object, each tensor is replaced by its key.
"""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path
from typing import IO, Any

from sneframe.errors import FileError
from sneframe.files.file_bytes import FileBytes, Reading
from sneframe.files.stored import Storage, StoredTensor
from sneframe.files.unpickler import StubUnpickler, damage_named, part_of, storage_type, stored

MEMBERS = ("storages", "tensors", "pickle")
KNOWN = ("sys_info", *MEMBERS)
MOST = 16  #: largest number of members; torch wrote four
AXES = 64  #: largest number of axes of a tensor
MARK = slice(257, 262)  #: the bytes of a tar archive that hold the word ``ustar``


def is_tar(head: bytes, file: Path | IO[bytes]) -> bool:
    """Return whether a file is a tar archive whose first member has a name that torch used.

    Args:
        head: the first 512 bytes of the file.
        file: the file, as a path or open. An open file is set back to its start.
    """
    if head[MARK] != b"ustar":
        return False
    try:
        with _opened(file) as archive:
            first = archive.next()
            return first is not None and first.name in KNOWN
    except (tarfile.TarError, ValueError, EOFError, RecursionError):
        return False
    finally:
        if not isinstance(file, Path):
            file.seek(0)


def read_tar(file: Path | IO[bytes], path: Path) -> Any:
    """Read a file that torch before 0.1.10 wrote. Objects become stubs, and tensors are read on demand.

    Args:
        file: the file, as a path or open.
        path: the path of the file, for errors.

    Raises:
        FileError: the file is damaged, or names a function that acts on the system.
    """
    with damage_named(path):
        source = FileBytes(file)
        members = _members(file, source)
        objects = _storages(members["storages"], path)
        tensors = _tensors(members["tensors"], path, objects)

        def persistent(pid: Any) -> Any:
            return pid[0] if isinstance(pid, tuple) else tensors.get(int(pid)) or objects[int(pid)]

        return StubUnpickler(members["pickle"], path, persistent=persistent).result(path)


def _opened(file: Path | IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(file, "r:") if isinstance(file, Path) else tarfile.open(fileobj=file, mode="r:")


def _members(file: Path | IO[bytes], source: FileBytes) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    with _opened(file) as archive:
        for _ in range(MOST):
            if (member := archive.next()) is None:
                break
            end = member.offset_data + member.size
            if member.name in found or not member.isreg() or member.issparse() or end > source.size:
                raise FileError("damaged: not an archive that torch wrote")
            found[member.name] = Reading(source, member.offset_data, end)
    if missing := [name for name in MEMBERS if name not in found]:
        raise FileError(f"damaged: the archive has no member {missing[0]!r}")
    return found


def _count(reading: Reading, path: Path) -> int:
    number = StubUnpickler(reading, path).load()
    if type(number) is not int:
        raise TypeError
    return number


def _storages(reading: Reading, path: Path) -> dict[int, Storage]:
    found: dict[int, Storage] = {}
    for _ in range(_count(reading, path)):
        key, _, kind = StubUnpickler(reading, path).load()
        dtype, length = storage_type(kind), reading.number()
        size = length * dtype.itemsize
        read = partial(reading.source.elements, reading.skip(size), size, dtype)
        found[int(key)] = Storage(read, dtype, length)
    for target, root, offset, length in StubUnpickler(reading, path).load() or ():
        found[int(target)] = part_of(found[int(root)], offset, length)
    return found


def _tensors(reading: Reading, path: Path, storages: dict[int, Storage]) -> dict[int, StoredTensor]:
    found: dict[int, StoredTensor] = {}
    for _ in range(_count(reading, path)):
        key, storage, _ = StubUnpickler(reading, path).load()
        axes = reading.number(4)
        reading.number(4)
        if not 0 <= axes <= AXES:
            raise ValueError("a tensor has too many axes")
        shape, stride = ([reading.number() for _ in range(axes)] for _ in range(2))
        found[int(key)] = stored(storages[int(storage)], reading.number(), shape, stride)
    return found

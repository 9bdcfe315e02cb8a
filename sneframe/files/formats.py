"""One file of one format in, what it holds out: tensors by name, or whatever a checkpoint keeps; nothing is executed.

What a file says of itself is checked before memory is taken by it: a header that claims more weights than the file has
bytes and an archive that grows when it is unpacked are refused, each with one line.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.archive import check_archive, member
from sneframe.files.stub import StoredTensor, Stub, read_stubbed

POLICY = "policy.pth"  #: the one member of a Stable-Baselines3 archive that is read
SHARED = 16  #: how often the weights of a file may stand in it under several names, all in all
NESTED = 32  #: levels of values in values that are looked through
OBJECT = re.compile(r"GLOBAL ([\w.]+)|class ([\w]+(?:\.[\w]+)+)")  #: what torch says of an object


class ObjectError(FileError):
    """A file that holds Python objects, which torch does not load."""


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a file of safetensors, whose tensors are mapped; layers in the order of their numbers.

    Raises:
        FileError: it is damaged, or none.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=layered)  # the file keeps no order of its own
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FileError(f"{path}: damaged, or no safetensors file ({_line(error)})") from error


def layered(name: str) -> tuple[list[tuple[int, str]], bool, str]:
    """Return what sorts names as layers stand: ``2.weight`` before ``10.weight``, a weight before its bias."""
    stem, _, last = name.rpartition(".")
    words = [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", stem) if word]
    return words, last != "weight", last


def read_zip_or_pickle(path: Path) -> Any:
    """Read a file of ``torch.save``, of the archive that it writes today or the pickle that it wrote before.

    Raises:
        FileError: it is damaged, or holds objects that act on the system.
    """
    if not zipfile.is_zipfile(path):
        return _loaded(path, path, mmap=False)
    with path.open("rb") as file:
        check_archive(file, path)
    try:
        return _loaded(path, path, mmap=True)
    except ObjectError as refused:
        return _beside_objects(path, refused)


def _beside_objects(path: Path, refused: ObjectError) -> Any:
    """Read the tensors and plain values of a file that holds objects too, without making any of these.

    A trainer's checkpoint keeps scores as numpy numbers, settings as a namespace, hyper-parameters as classes beside the
    weights. Each is left out. A pickle that calls the system, or that is one object as a whole, is refused.
    """
    found = read_stubbed(path, path, refuse_system=True)
    if isinstance(found, Stub) or not isinstance(found, Mapping):
        raise refused
    _check_said((value.nbytes for value in _stored(found)), path, _size(path))
    return _plain(found)


def _stored(value: Any, depth: int = 0) -> Iterator[StoredTensor]:
    if isinstance(value, StoredTensor):
        yield value
    elif isinstance(value, Mapping | list | tuple) and depth < NESTED:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _stored(each, depth + 1)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return values with their tensors read, and without stubs."""
    if isinstance(value, StoredTensor):
        return value.read()
    if isinstance(value, Mapping) and depth < NESTED:
        return {n: _plain(v, depth + 1) for n, v in value.items() if not isinstance(v, Stub)}
    if isinstance(value, list | tuple) and depth < NESTED:
        return [_plain(each, depth + 1) for each in value if not isinstance(each, Stub)]
    return value


def read_policy(path: Path) -> Any:
    """Read the policy of a Stable-Baselines3 archive, and no other member."""
    try:
        with zipfile.ZipFile(path) as archive:
            if POLICY not in archive.namelist():
                raise FileError(f"{path}: no archive of Stable-Baselines3, {POLICY} is not in it")
            content = member(archive, POLICY, path)
    except zipfile.BadZipFile as error:
        raise FileError(f"{path}: damaged archive ({_line(error)})") from error
    if zipfile.is_zipfile(content):
        check_archive(content, path)
    content.seek(0)
    found = _loaded(content, path, mmap=False)
    check_sizes(_tensors(found), path, len(content.getbuffer()))
    return found


def _loaded(file: Path | IO[bytes], path: Path, *, mmap: bool) -> Any:
    """Load tensors and nothing else: once without their values, to see how much they take, and then with them."""
    try:
        with torch.serialization.skip_data():
            check_sizes(_tensors(_weights_only(file, mmap=False)), path, _size(file))
        if not isinstance(file, Path):
            file.seek(0)
        return _weights_only(file, mmap=mmap)
    except FileError:
        raise
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        kind = ObjectError if OBJECT.search(str(error)) else FileError
        raise kind(f"{path}: {_reason(str(error))}") from error


def _weights_only(file: Path | IO[bytes], *, mmap: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are then refused
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)


def _reason(said: str) -> str:
    """Say in a line why torch refused a file."""
    if found := OBJECT.search(said):
        name = found[1] or found[2]
        what = f"holds a Python object, {name}, and objects are never loaded"
        return f"{what}; save module.state_dict()" if name.startswith("torch.nn") else what
    return "damaged, or not written by torch.save"


# -- sizes -----------------------------------------------------------------------------------------------------------


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple) and depth < NESTED:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(each, depth + 1)


def check_sizes(tensors: Iterable[Tensor], path: Path, size: int) -> None:
    """Check that tensors are not views of a few bytes that say they are many."""
    _check_said((tensor.numel() * tensor.element_size() for tensor in tensors), path, size)


def _check_said(sizes: Iterable[int], path: Path, size: int) -> None:
    if (said := sum(sizes)) > SHARED * size:
        raise FileError(f"{path}: its tensors would take {said} bytes, the file has {size}")


def _size(file: Path | IO[bytes]) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

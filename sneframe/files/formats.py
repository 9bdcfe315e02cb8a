"""Read safetensors files, ``torch.save`` files and Stable-Baselines3 archives.

No code in a file is ever executed. The sizes that a file declares are checked before memory is allocated. A
file is refused if its tensors would take many times the bytes of the file, or if an archive would unpack to
many times its size.
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
from sneframe.files.archive import check_archive, read_entry
from sneframe.files.stub import StoredTensor, Stub, read_stubbed

POLICY = "policy.pth"  #: the only entry of a Stable-Baselines3 archive that is read
SHARED = 16  #: largest ratio of the bytes of all tensors to the bytes of the file: tensors may share storage
NESTED = 32  #: number of levels of nested mappings and lists that are searched for tensors
#: Matches the name of a class in an error message of torch.
OBJECT = re.compile(r"GLOBAL ([\w.]+)|class ([\w]+(?:\.[\w]+)+)")


class ObjectError(FileError):
    """The file holds Python objects. Such objects are never loaded."""


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a safetensors file. The tensors are memory-mapped, and sorted by the layer numbers in their names.

    Raises:
        FileError: the file is damaged, or is not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=layered)  # safetensors does not preserve the order of the tensors
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FileError(f"{path}: damaged, or not a safetensors file ({_line(error)})") from error


def layered(name: str) -> tuple[list[tuple[int, str]], bool, str]:
    """Return a sort key for the name of a tensor.

    The key sorts ``2.weight`` before ``10.weight``, and the weight of a layer before the bias.
    """
    stem, _, last = name.rpartition(".")
    words = [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", stem) if word]
    return words, last != "weight", last


def read_zip_or_pickle(path: Path) -> Any:
    """Read a file of ``torch.save``: a zip archive, or a plain pickle of a torch version before 1.6.

    Raises:
        FileError: the file is damaged, or names a function that acts on the system.
        ObjectError: the file holds Python objects, and its tensors cannot be read without these objects. The
            reason is that the file is a plain pickle, or that its content is not a mapping.
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
    """Read the tensors and plain values of a file that also holds Python objects. No object is built.

    Trainers save scores as numpy numbers, settings as namespaces, and hyper-parameters as classes beside the
    weights. Such objects are left out of the result. A pickle is refused if it names a function that acts on
    the system, or if its content is not a mapping.

    Args:
        path: the zip archive.
        refused: the error to raise if the content of the pickle is not a mapping.

    Raises:
        FileError: the pickle names a function that acts on the system.
        ObjectError: the content of the pickle is not a mapping.
    """
    found = read_stubbed(path, path, refuse_system=True)
    if isinstance(found, Stub) or not isinstance(found, Mapping):
        raise refused
    _check_declared((value.nbytes for value in _stored(found)), path, _size(path))
    return _plain(found)


def _stored(value: Any, depth: int = 0) -> Iterator[StoredTensor]:
    if isinstance(value, StoredTensor):
        yield value
    elif isinstance(value, Mapping | list | tuple) and depth < NESTED:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _stored(each, depth + 1)


def _plain(value: Any, depth: int = 0) -> Any:
    """Replace each :class:`StoredTensor` in nested mappings and lists by its tensor, and remove each stub."""
    if isinstance(value, StoredTensor):
        return value.read()
    if isinstance(value, Mapping) and depth < NESTED:
        return {n: _plain(v, depth + 1) for n, v in value.items() if not isinstance(v, Stub)}
    if isinstance(value, list | tuple) and depth < NESTED:
        return [_plain(each, depth + 1) for each in value if not isinstance(each, Stub)]
    return value


def read_policy(path: Path) -> Any:
    """Read the entry ``policy.pth`` of a Stable-Baselines3 archive, and no other entry.

    Raises:
        FileError: the archive or the entry is damaged, or the archive has no such entry.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if POLICY not in archive.namelist():
                raise FileError(f"{path}: not an archive of Stable-Baselines3: {POLICY} is missing")
            content = read_entry(archive, POLICY, path)
    except zipfile.BadZipFile as error:
        raise FileError(f"{path}: damaged archive ({_line(error)})") from error
    if zipfile.is_zipfile(content):
        check_archive(content, path)
    content.seek(0)
    found = _loaded(content, path, mmap=False)
    check_sizes(_tensors(found), path, len(content.getbuffer()))
    return found


def _loaded(file: Path | IO[bytes], path: Path, *, mmap: bool) -> Any:
    """Load the tensors and plain values of a file.

    A first pass checks the sizes of the tensors without reading their data.
    """
    try:
        with torch.serialization.skip_data():
            check_sizes(_tensors(_weights_only(file, mmap=False)), path, _size(file))
        if not isinstance(file, Path):
            file.seek(0)
        return _weights_only(file, mmap=mmap)
    except FileError:
        raise
    except Exception as error:  # torch raises many kinds of errors for a file that it did not write
        kind = ObjectError if OBJECT.search(str(error)) else FileError
        raise kind(f"{path}: {_reason(str(error))}") from error


def _weights_only(file: Path | IO[bytes], *, mmap: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about files that it then refuses
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)


def _reason(message: str) -> str:
    """Return one line that says in our words what an error message of torch means."""
    if found := OBJECT.search(message):
        name = found[1] or found[2]
        what = f"holds a Python object, {name}, and objects are never loaded"
        return f"{what}; save module.state_dict()" if name.startswith("torch.nn") else what
    return "damaged, or not written by torch.save"


# -- sizes ----------------------------------------------------------------------------------------------


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple) and depth < NESTED:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(each, depth + 1)


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
    _check_declared((tensor.numel() * tensor.element_size() for tensor in tensors), path, size)


def _check_declared(sizes: Iterable[int], path: Path, size: int) -> None:
    if (declared := sum(sizes)) > SHARED * size:
        raise FileError(f"{path}: the tensors would take {declared} bytes, but the file has {size}")


def _size(file: Path | IO[bytes]) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

"""Read files of ``torch.save``: zip archives, and the plain pickles of torch before 1.6.

No code in a file is ever executed. A file is refused if its tensors would take many times the bytes of the
file.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, final

import torch

from sneframe.errors import FileError
from sneframe.files.archive import check_archive
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.sizes import NESTED, check_declared, check_sizes, size_of, tensors_in
from sneframe.files.stub import StoredTensor, Stub, read_stubbed

#: The first bytes of a file that torch before 1.6 wrote: the magic number, pickled.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Matches the name of a class in an error message of torch.
OBJECT = re.compile(r"GLOBAL ([\w.]+)|class ([\w]+(?:\.[\w]+)+)")


class ObjectError(FileError):
    """The file holds Python objects. Such objects are never loaded."""


@final
class TorchReader(FileReader):
    """Reads a file of ``torch.save``, whatever the ending of its name."""

    name = "sneframe/torch"
    help = "files of torch.save: state dicts and the checkpoints of trainers"
    endings = (".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar")

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise the entry ``data.pkl`` of an archive without code, or torch's old magic number."""
        entries = candidate.entries
        return candidate.head.startswith(LEGACY) or (
            any(name.endswith("/data.pkl") and name.count("/") == 1 for name in entries)
            and not any("/code/" in name for name in entries)
        )

    def read(self, path: Path) -> Content:
        """Read the tensors and plain values of a file, without the objects beside them."""
        values = read_zip_or_pickle(path)
        check_sizes(tensors_in(values), path, size_of(path))
        return Content(values=values)


def read_zip_or_pickle(path: Path) -> Any:
    """Read a file of ``torch.save``: a zip archive, or a plain pickle of a torch version before 1.6.

    Raises:
        FileError: the file is damaged, or names a function that acts on the system.
        ObjectError: the file holds Python objects, and its tensors cannot be read without these objects. The
            reason is that the file is a plain pickle, or that its content is not a mapping.
    """
    if not zipfile.is_zipfile(path):
        return weights_only(path, path, mmap=False)
    with path.open("rb") as file:
        check_archive(file, path)
    try:
        return weights_only(path, path, mmap=True)
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
    check_declared((value.nbytes for value in _stored(found)), path, size_of(path))
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


def weights_only(file: Path | IO[bytes], path: Path, *, mmap: bool) -> Any:
    """Load the tensors and plain values of a file.

    A first pass checks the sizes of the tensors without reading their data.
    """
    try:
        with torch.serialization.skip_data():
            check_sizes(tensors_in(_load(file, mmap=False)), path, size_of(file))
        if not isinstance(file, Path):
            file.seek(0)
        return _load(file, mmap=mmap)
    except FileError:
        raise
    except Exception as error:  # torch raises many kinds of errors for a file that it did not write
        kind = ObjectError if OBJECT.search(str(error)) else FileError
        raise kind(f"{path}: {_reason(str(error))}") from error


def _load(file: Path | IO[bytes], *, mmap: bool) -> Any:
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

"""Read files of ``torch.save``: zip archives, and the formats of torch before 1.6.

No code in a file is ever executed. A file is refused if its tensors would take many times the bytes of the
file.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, final

import torch

from sneframe.errors import FileError
from sneframe.files.legacy_stream import LEGACY, read_stream
from sneframe.files.legacy_tar import is_tar, read_tar
from sneframe.files.names import AVERAGES, KEYS
from sneframe.files.plain import Plainer, stored_in
from sneframe.files.reader import HEAD, Candidate, Content, FileReader
from sneframe.files.sizes import check_declared, check_sizes, size_of, tensors_in
from sneframe.files.stub import Stub, read_stubbed
from sneframe.files.unpickler import UnusualTensorError, damage_named

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
        """Recognise the entry ``data.pkl`` of an archive without code, or torch's old formats."""
        entries = candidate.entries
        return (
            candidate.head.startswith(LEGACY)
            or is_tar(candidate.head, candidate.path)
            or (
                any(name.endswith("/data.pkl") and name.count("/") == 1 for name in entries)
                and not any("/code/" in name for name in entries)
            )
        )

    def read(self, path: Path) -> Content:
        """Read the tensors and plain values of a file, without the objects beside them."""
        return read_torch_file(path, path)


def read_zip_or_pickle(path: Path) -> Any:
    """Return the tensors and plain values of a file of ``torch.save``; see :func:`read_torch_file`."""
    return read_torch_file(path, path).values


def read_torch_file(file: Path | IO[bytes], path: Path) -> Content:
    """Read a file of ``torch.save``: a zip archive, or one of the formats of torch before 1.6.

    Trainers save scores as numpy numbers, settings as namespaces, and hyper-parameters as classes beside the
    weights. Numbers and settings become plain values. Other objects are left out, and the notes name them. No
    object is ever built.

    Args:
        file: the file, as a path or open.
        path: the path of the file, for errors.

    Raises:
        ObjectError: the content of the file is a single object, or the network in it is one.
        FileError: the file is damaged, or names a function that acts on the system.
    """
    try:
        found = _stubbed(file, path)
    except UnusualTensorError as unusual:
        values = weights_only(file, path, mmap=isinstance(file, Path), what=str(unusual))
        check_sizes(tensors_in(values), path, size_of(file))
        return Content(values=values)
    if _is_object(found) and not (isinstance(found, Stub) and found.items and not _is_module(found)):
        raise ObjectError(f"{path}: {_refused(found)}")
    with damage_named(path):
        stored = list(stored_in(found))
        check_declared((each.nbytes for each in stored), path, size_of(file))
        plainer = Plainer(arrays=not stored)
        values = plainer.of(found)
        _check_network(found, values, path)
        check_sizes(tensors_in(values), path, size_of(file))
        return Content(values=values, notes=plainer.notes())


def _stubbed(file: Path | IO[bytes], path: Path) -> Any:
    with damage_named(path):
        head = Candidate(file).head if isinstance(file, Path) else file.read(HEAD)
        if not isinstance(file, Path):
            file.seek(0)
        if head.startswith(LEGACY):
            return read_stream(file, path)
        if is_tar(head, file):
            return read_tar(file, path)
        if zipfile.is_zipfile(file):
            return read_stubbed(file, path, refuse_system=True)
        raise FileError("damaged, or not written by torch.save")


def _is_object(value: Any) -> bool:
    return isinstance(value, Stub) or (isinstance(value, type) and issubclass(value, Stub))


def _is_module(value: Any) -> bool:
    return isinstance(value, Stub) and (
        "_modules" in value.attributes() or value.origin.startswith("torch.nn.")
    )


def _refused(value: Any) -> str:
    what = f"holds a Python object, {value.origin}, and objects are never loaded"
    return f"{what}; save module.state_dict()" if _is_module(value) else what


def _check_network(found: Any, values: Any, path: Path) -> None:
    """Check that the network is not a pickled module.

    Such a module is left out, and other tensors in the file would then be taken for the network.

    Raises:
        ObjectError: a usual key of the network holds a module, and no usual key holds a state dict.
    """
    if not isinstance(found, Mapping) or any(isinstance(values.get(key), Mapping) for key in KEYS):
        return
    for key in (*KEYS, *AVERAGES):
        if key in found and _is_module(found[key]):
            raise ObjectError(f"{path}: {key!r} {_refused(found[key])}")


def weights_only(file: Path | IO[bytes], path: Path, *, mmap: bool, what: str) -> Any:
    """Load the tensors and plain values of a file with torch itself, which can build unusual tensors.

    A first pass checks the sizes of the tensors without reading their data.

    Args:
        file: the file, as a path or open. The unpickler of this project has read it without an error.
        path: the path of the file, for errors.
        mmap: whether the tensors are mapped into memory. Torch maps only zip archives.
        what: the beginning of the error message if torch cannot read the file.

    Raises:
        ObjectError: the file holds Python objects, too.
        FileError: torch cannot read the file.
    """
    mmap = mmap and zipfile.is_zipfile(file)
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with torch.serialization.skip_data():
            check_sizes(tensors_in(_load(file, mmap=False)), path, size_of(file))
        if not isinstance(file, Path):
            file.seek(0)
        return _load(file, mmap=mmap)
    except FileError:
        raise
    except Exception as error:  # torch raises many kinds of errors for a file that it did not write
        if (found := OBJECT.search(str(error))) is not None:
            what = f"{what} beside a Python object, {found[1] or found[2]}, and objects are never loaded"
            raise ObjectError(what) from error
        raise FileError(f"{what}, which torch does not read") from error


def _load(file: Path | IO[bytes], *, mmap: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about files that it then refuses
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)

"""Read the parameters and buffers in TorchScript archives. The code in an archive is never run."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

from attrs import define, field
from torch import Tensor

from sneframe.errors import FileError, one_line
from sneframe.files.archive import SMALL, read_entry
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.sizes import check_declared
from sneframe.files.stub import StoredTensor, Stub, read_stubbed
from sneframe_formats.torchscript_pickle import check_pickle

DATA, CONSTANTS = (
    "data",
    "constants",
)  #: names of the pickles of attributes and of constants, and of their folders
LEVELS = 100  #: largest number of levels of nested modules
VALUES = 1_000_000  #: largest number of attributes of all modules
SCRIPTED = "__torch__."  #: the start of the names of all scripted classes
#: Matches the lists of the names of parameters and buffers in the code of a module.
DECLARED = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[([^\]\n]*)\]\n  __buffers__ = \[([^\]\n]*)\]",
    re.MULTILINE,
)


@final
class TorchScriptReader(FileReader):
    """Reads an archive of ``torch.jit.save``. The computation is not known, because no code is run."""

    name = "formats/torchscript"
    help = "TorchScript archives: the weights of scripted and traced modules"
    endings = (".jit", ".torchscript", ".ptl")

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for an archive with ``data.pkl`` and code."""
        return any("/code/" in name for name in candidate.entries) and any(
            name.endswith(f"/{DATA}.pkl") and name.count("/") == 1 for name in candidate.entries
        )

    def read(self, path: Path) -> Content:
        """Read the parameters and buffers of a module. For a frozen module, read its constants."""
        try:
            with zipfile.ZipFile(path) as archive:
                return _read(archive, path)
        except (
            *(zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OverflowError),
            *(zlib.error, struct.error),
        ) as error:
            raise FileError(f"{path}: damaged archive ({one_line(error)})") from error
        except OSError as error:
            raise FileError(f"{path}: {error.strerror or error}") from error


def _read(archive: zipfile.ZipFile, path: Path) -> Content:
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise FileError(f"{path}: damaged archive (two entries have the same name)")
    root = next((n for n in names if n.count("/") == 1 and n.endswith(f"/{DATA}.pkl")), None)
    if root is None or not any("/code/" in name for name in names):
        raise FileError(f"{path}: not a TorchScript archive: {DATA}.pkl or the code is missing")
    root = root.removesuffix(f"{DATA}.pkl")
    order = f"{root}byteorder"
    if order in names and read_entry(archive, order, path).getvalue() != b"little":
        raise FileError(f"{path}: the tensors have the byte order of another machine; save them on this one")
    module = _unpickled(archive, root, DATA, path)
    if not isinstance(module, Stub) or not module.origin.startswith(SCRIPTED):
        raise FileError(f"{path}: {DATA}.pkl holds no module")
    walk = Walk(path=path, declared=_declared(archive, root, path))
    stored = dict(walk.tensors(module))
    notes = walk.notes()
    constants: Mapping[str, StoredTensor] = {}
    if f"{root}{CONSTANTS}.pkl" in names:
        constants = _constants(_unpickled(archive, root, CONSTANTS, path))
    if constants and _size(constants) >= _size(stored):
        stored |= constants
        notes += (
            "the module was frozen, so the names of its weights are lost; the new names number the weights "
            "in the order of the graph",
        )
    elif constants:
        count = f"{len(constants)} constant{'s' * (len(constants) > 1)} of the graph"
        notes += (f"{count} left out, because constants have no names",)
    if not stored:
        raise FileError(f"{path}: the module holds no weights")
    sizes = {each.key: each.nbytes for each in stored.values()}
    check_declared(sizes.values(), path, path.stat().st_size)
    return Content(values=_tensors(stored, path), notes=notes)


def _unpickled(archive: zipfile.ZipFile, root: str, name: str, path: Path) -> Any:
    check_pickle(read_entry(archive, f"{root}{name}.pkl", path).getvalue(), path, f"{name}.pkl")
    return read_stubbed(path, path, refuse_system=True, script=name)


# -- names ------------------------------------------------------------------------------------------------


@define
class Walk:
    """Walks through the modules of an archive, and collects their tensors.

    Args:
        path: the path of the archive, for errors.
        declared: the names of the parameters and buffers of a module, by the name of its class.
    """

    path: Path
    declared: Mapping[str, frozenset[str]]
    _left_out: list[str] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    def tensors(self, module: Stub, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, StoredTensor]]:
        """Yield the dotted names and tensors of the parameters and buffers of a module and its submodules.

        Raises:
            FileError: the modules are nested too deep, have too many attributes, or have invalid attributes.
        """
        if depth > LEVELS:
            raise FileError(f"{self.path}: the modules are nested more than {LEVELS} levels deep")
        declared = self.declared.get(module.origin)
        if not isinstance(module.state, dict):
            self._leave_out(module.state, prefix.removesuffix("."))
            return
        attributes = module.state
        for name, value in attributes.items():
            self._visit()
            if not isinstance(name, str) or not name or "." in name:
                raise FileError(f"{self.path}: a module has an attribute with the invalid name {name!r:.40}")
            if isinstance(value, StoredTensor) and (declared is None or name in declared):
                yield f"{prefix}{name}", value
            elif not _is_module(value):
                self._leave_out(value, f"{prefix}{name}")
        for name, value in attributes.items():
            if _is_module(value):
                yield from self.tensors(value, f"{prefix}{name}.", depth + 1)

    def notes(self) -> tuple[str, ...]:
        """Return a note about the tensors that were left out, or no notes if there are none."""
        if not self._left_out:
            return ()
        names = ", ".join(map(repr, self._left_out[:3])) + (", …" if len(self._left_out) > 3 else "")
        return (f"tensors that are neither parameters nor buffers were left out: {names}",)

    def _visit(self) -> None:
        self._count += 1
        if self._count > VALUES:
            raise FileError(f"{self.path}: the modules have more than {VALUES} attributes")

    def _leave_out(self, value: Any, name: str) -> None:
        if self._holds_tensor(value):
            self._left_out.append(name)

    def _holds_tensor(self, value: Any, depth: int = 0) -> bool:
        self._visit()
        if isinstance(value, StoredTensor):
            return True
        if isinstance(value, Stub):
            value = [value.args, value.state]
        if isinstance(value, Mapping):
            value = list(value.values())
        if not isinstance(value, list | tuple) or depth > LEVELS:
            return False
        return any(self._holds_tensor(each, depth + 1) for each in value)


def _is_module(value: Any) -> bool:
    return isinstance(value, Stub) and value.origin.startswith(SCRIPTED)


def _declared(archive: zipfile.ZipFile, root: str, path: Path) -> dict[str, frozenset[str]]:
    """Return the names of the parameters and buffers of each class, by the name of the class.

    The code is searched for these names as text, and never run.
    """
    found: dict[str, frozenset[str]] = {}
    code = f"{root}code/"
    entries = [each for each in archive.infolist() if each.filename.startswith(code)]
    entries = [each for each in entries if each.filename.endswith(".py")]
    if (size := sum(each.file_size for each in entries)) > SMALL:
        raise FileError(f"{path}: the code would grow to {size} bytes when it is unpacked")
    for entry in entries:
        text = read_entry(archive, entry.filename, path).getvalue().decode("utf-8", "replace")
        module = entry.filename.removeprefix(code).removesuffix(".py").replace("/", ".")
        for name, *lists in DECLARED.findall(text):
            found[f"{module}.{name}"] = frozenset(re.findall(r'"([^"]*)"', " ".join(lists)))
    return found


def _constants(found: Any) -> dict[str, StoredTensor]:
    """Return the constants of a graph that may be weights, by their names in the code.

    Scalars, integers and tensors without elements are left out, because they are not weights.
    """
    if not isinstance(found, tuple | list):
        return {}
    return {
        f"CONSTANTS.c{number}": each
        for number, each in enumerate(found)
        if isinstance(each, StoredTensor) and each.shape and each.nbytes and each.dtype.is_floating_point
    }


def _size(stored: Mapping[str, StoredTensor]) -> int:
    return sum(each.nbytes for each in stored.values() if each.dtype.is_floating_point)


# -- tensors ----------------------------------------------------------------------------------------------


def _tensors(stored: Mapping[str, StoredTensor], path: Path) -> dict[str, Tensor]:
    """Read the tensors from the file. Names of tied tensors have the same tensor object."""
    known: dict[Hashable, Tensor] = {}
    for name, each in stored.items():
        if each.key not in known:
            try:
                known[each.key] = each.read()
            except FileError as error:
                raise FileError(f"{path}: {name}: {error}") from error
    return {name: known[each.key] for name, each in stored.items()}

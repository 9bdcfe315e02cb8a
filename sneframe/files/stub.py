"""Read ``torch.save`` files that name classes of other projects. No such class is imported or called.

Some published zoos pickled objects of their own classes beside the weights. Each object becomes a
:class:`Stub`, which only records the arguments of the call that would build the object. Each tensor becomes a
:class:`StoredTensor`, which reads the values from the archive on demand.
"""

from __future__ import annotations

import io
import pickle  # only for the subclass below, which never imports the class or function that a name refers to
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # the module pickle imports these tables, too
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, Self

import torch
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.archive import check_archive

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
#: Modules whose functions act on the system. A file that names such a function is treated as an attack.
SYSTEM = frozenset(
    {
        *(
            "os",
            "posix",
            "nt",
            "sys",
            "subprocess",
            "multiprocessing",
            "threading",
            "signal",
            "shutil",
            "tempfile",
        ),
        *(
            "importlib",
            "runpy",
            "pip",
            "code",
            "codeop",
            "pickle",
            "marshal",
            "ctypes",
            "pty",
            "webbrowser",
            "io",
        ),
        *("socket", "asyncio", "urllib", "requests", "http", "ftplib", "smtplib"),
    }
)
BUILTINS = ("builtins",)
HARMLESS = frozenset(
    {
        *("set", "frozenset", "complex", "bytearray", "slice", "range", "object", "list", "dict", "tuple"),
        *("int", "float", "str", "bytes", "bool", "type"),
    }
)
REBUILT = ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter")


class Stub:
    """A stand-in for a pickled object whose class is not imported.

    Attributes:
        origin: ``module.name`` of the class or function that the pickle calls to build the object.
        args: the arguments of that call.
        state: the pickled state. For most objects, this is a dict of the attributes by name.
        items: the items of the object, if the object was a mapping.
        values: the elements of the object, if the object was a list.
    """

    origin = ""
    args: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    values: list[Any]

    def __new__(cls, *args: Any) -> Self:
        """Store the arguments in the new stub."""
        # This code is not in __init__, because a pickle may skip __init__.
        made = super().__new__(cls)
        made.args, made.state, made.items, made.values = args, None, {}, []
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Append a value to the recorded values."""
        self.values.append(value)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes by name, or an empty dict if the state is not a dict."""
        return dict(self.state) if isinstance(self.state, dict) else {}


class StoredTensor:
    """A tensor in an archive. The values are read from the archive by :meth:`read`."""

    __slots__ = ("_offset", "_storage", "_stride", "shape")

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self._storage, self._offset, self._stride = storage, offset, stride
        self.shape = shape

    @property
    def dtype(self) -> torch.dtype:
        """The type of the elements."""
        return self._storage.dtype

    @property
    def entry(self) -> str:
        """The name of the entry of the archive that holds the storage of the tensor."""
        return self._storage.entry

    @property
    def key(self) -> Hashable:
        """A key that two tensors have in common if they have the same elements in the same storage."""
        return self.entry, self.dtype, self._offset, self.shape, self._stride

    @property
    def nbytes(self) -> int:
        """The number of bytes that the tensor's values take."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> Tensor:
        """Return the tensor with the values from the archive.

        Raises:
            FileError: the tensor does not fit into its storage.
        """
        content = self._storage.read()
        whole = (
            torch.frombuffer(bytearray(content), dtype=self.dtype)
            if content
            else torch.empty(0, dtype=self.dtype)
        )
        return self.view(whole).clone()

    def view(self, whole: Tensor) -> Tensor:
        """Return the tensor as a view of its storage.

        Args:
            whole: the storage, as a tensor of one axis.

        Raises:
            FileError: the tensor does not fit into its storage.
        """
        if prod(self.shape) > len(whole) or any(n < 0 for n in (self._offset, *self.shape, *self._stride)):
            raise FileError(
                f"a tensor of shape {self.shape} does not fit into its storage of {len(whole)} elements"
            )
        try:
            return whole.as_strided(self.shape, self._stride, self._offset)
        except RuntimeError as error:
            raise FileError(f"a tensor of shape {self.shape} does not fit into its storage") from error


def read_all(values: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Read the floating-point tensors in a mapping. Other values are left out.

    Raises:
        FileError: the mapping has no floating-point tensor.
    """
    read = {str(name): value.read() for name, value in values.items() if isinstance(value, StoredTensor)}
    tensors = {name: value for name, value in read.items() if value.is_floating_point()}
    if not tensors:
        raise FileError("holds no floating-point tensor")
    return tensors


def read_stubbed(
    file: Path | IO[bytes], path: Path, *, refuse_system: bool = False, script: str | None = None
) -> Any:
    """Read a file of ``torch.save``. Objects that are neither plain values nor tensors become stubs.

    Args:
        file: a zip archive, as torch has written since version 1.6, as a path or an open file. An open file
            must stay open until the tensors have been read.
        path: the path of the archive, for errors.
        refuse_system: whether to refuse a file that names a function that acts on the system. If false, a
            call of such a function becomes a stub, too.
        script: the pickle to read if the archive is TorchScript: ``data`` or ``constants``.

    Raises:
        FileError: the file is missing, damaged or refused.
    """
    try:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                check_archive(opened, path, script=script is not None)
        else:
            check_archive(file, path, script=script is not None)
        archive, folder = _Archive(file), script or "data"
        root = next((n for n in archive.names() if n.count("/") == 1 and n.endswith(f"/{folder}.pkl")), None)
        if root is None:
            raise FileError(f"{path}: not an archive of torch.save: {folder}.pkl is missing")
        content, inner = io.BytesIO(archive.read(root)), f"{root.removesuffix('.pkl')}/"
        return _Unpickler(content, archive, inner, path if refuse_system else None).load()
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle may raise any kind of error
        raise FileError(f"{path}: damaged ({type(error).__name__})") from error


class _Archive:
    """Reads the entries of a zip archive.

    The last entry that was read is cached, because many tensors may share one storage.
    """

    def __init__(self, file: Path | IO[bytes]) -> None:
        self._file = file
        self._last: tuple[str, bytes] = ("", b"")

    def names(self) -> list[str]:
        with zipfile.ZipFile(self._file) as archive:
            return archive.namelist()

    def read(self, name: str) -> bytes:
        if self._last[0] != name:
            with zipfile.ZipFile(self._file) as archive:
                self._last = (name, archive.read(name))
        return self._last[1]


class _Unpickler(pickle.Unpickler):
    """An unpickler that imports nothing. It returns stubs, and a ``StoredTensor`` for each tensor."""

    def __init__(self, file: Any, archive: _Archive, root: str, refusing: Path | None) -> None:
        super().__init__(file, encoding="utf-8")
        self._archive, self._root, self._refusing = archive, root, refusing

    def find_class(self, module: str, name: str) -> Any:
        # Old pickle protocols write the names of Python 2, in which `commands.Popen` may mean
        # `subprocess.Popen`.
        module, name = NAME_MAPPING.get((module, name), (module, name))
        module = IMPORT_MAPPING.get(module, module)
        acts = module.partition(".")[0] in SYSTEM or (module in BUILTINS and name not in HARMLESS)
        if acts and self._refusing is not None:
            origin = name if module in BUILTINS else f"{module}.{name}"
            raise FileError(
                f"{self._refusing}: holds a Python object, {origin}, and objects are never loaded"
            )
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in DTYPES:
            return _Kind(DTYPES[name])
        if module == "torch._utils" and name in REBUILT:
            return _rebuilt if name != "_rebuild_parameter" else _parameter
        return type("Stub", (Stub,), {"origin": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, _ = pid
        return _Storage(self._archive, f"{self._root}{key}", kind.dtype)


class _Kind:
    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Storage:
    __slots__ = ("_archive", "dtype", "entry")

    def __init__(self, archive: _Archive, entry: str, dtype: torch.dtype) -> None:
        self._archive, self.entry, self.dtype = archive, entry, dtype

    def read(self) -> bytes:
        return self._archive.read(self.entry)


def _rebuilt(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> StoredTensor:
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(value: StoredTensor, *_: Any) -> StoredTensor:
    return value

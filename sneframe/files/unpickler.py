"""Unpickle without importing anything: objects become stubs, and tensors are read on demand."""

from __future__ import annotations

import pickle  # only for the subclass below, which never imports the class or function that a name refers to
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # the module pickle imports these tables, too
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from sneframe.errors import FileError, printable
from sneframe.files.stored import Storage, StoredTensor, Stub

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
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
#: Types of the same size as the elements of quantised tensors. Only torch reads such tensors.
QUANTISED = {
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
    "QUInt4x2Storage": torch.uint8,
    "QUInt2x4Storage": torch.uint8,
}
STORAGES = ("torch", "torch.cuda", "torch.storage")  #: the modules that define storage classes
#: Modules whose functions act on the system. A file that names such a function is treated as an attack.
SYSTEM = frozenset(
    {
        *("os", "posix", "nt", "sys", "subprocess", "multiprocessing", "threading", "signal", "shutil"),
        *("importlib", "runpy", "pip", "code", "codeop", "pickle", "marshal", "ctypes", "pty", "webbrowser"),
        *("socket", "asyncio", "urllib", "requests", "http", "ftplib", "smtplib", "tempfile", "io"),
    }
)
BUILTINS = ("builtins",)
#: Builtin names that ordinary objects need. Pickles call ``getattr`` to name nested classes.
HARMLESS = frozenset(
    {
        *("set", "frozenset", "complex", "bytearray", "slice", "range", "object", "list", "dict", "tuple"),
        *("int", "float", "str", "bytes", "bool", "type", "getattr"),
    }
)
TENSORS = ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_tensor_v3")
PARAMETERS = (
    *(("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state")),
    *(("torch.nn.parameter", "Parameter"), ("torch.nn.parameter", "Buffer")),
    *(("torch.autograd.variable", "Variable"), ("torch.autograd", "Variable")),
)
NAMES = 10_000  #: largest number of names of classes and functions in a pickle
DEPTH = 500  #: largest depth of nested tuples; Python crashes when it hashes much deeper tuples
LARGEST = 1 << 62  #: each size, offset or stride must be smaller than this

StorageOf = Callable[[torch.dtype, str, int], Storage]


class UnusualTensorError(FileError):
    """The file has tensors that only torch itself can build, such as quantised or sparse tensors."""


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn any error into a FileError that begins with the path of the file."""
    try:
        yield
    except FileError as error:
        if str(error).startswith(printable(f"{path}: ")):
            raise
        raise FileError(f"{path}: {error}") from error
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle may raise any kind of error
        raise FileError(f"{path}: damaged ({type(error).__name__})") from error


# A pickle stores values in numbered places, called the memo. The unpickler in C allocates memory up to the
# largest number that a file names. The unpickler in Python uses a dict.
class StubUnpickler(pickle._Unpickler):
    """An unpickler that imports nothing. It returns stubs, and a ``StoredTensor`` for each tensor.

    Args:
        file: the pickle, from which exactly one value is read.
        refusing: the path of the file, which is refused if it names a function that acts on the system. If
            None, such a function becomes a stub, too.
        storage: a function that returns a storage, given its element type, its key and its number of
            elements.
        persistent: a function that returns the object for a persistent id. It replaces ``storage``.
    """

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(
        self,
        file: Any,
        refusing: Path | None = None,
        storage: StorageOf | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file, encoding="utf-8")
        self._refusing, self._storage, self._persistent = refusing, storage, persistent
        self._names: dict[tuple[str, str], Any] = {}
        self._nested: dict[int, tuple[tuple[Any, ...], int]] = {}
        self.unusual = ""

    def result(self, path: Path) -> Any:
        """Return the value of the pickle.

        Raises:
            UnusualTensorError: the pickle has tensors that only torch can build.
        """
        found = self.load()
        if self.unusual:
            raise UnusualTensorError(f"{path}: holds {self.unusual}")
        return found

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a class or function. Nothing is imported."""
        if (module, name) not in self._names:
            if len(self._names) >= NAMES:
                raise ValueError("a pickle names very many classes")
            self._names[module, name] = self._stand_in(module, name)
        return self._names[module, name]

    def _stand_in(self, module: str, name: str) -> Any:
        # Old pickle protocols write the names of Python 2, in which `commands.Popen` may mean
        # `subprocess.Popen`.
        module, name = NAME_MAPPING.get((module, name), (module, name))
        module = IMPORT_MAPPING.get(module, module)
        origin = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}")[:200]
        acts = module.partition(".")[0] in SYSTEM or (module in BUILTINS and name not in HARMLESS)
        if acts and self._refusing is not None:
            origin = origin.removeprefix("builtins.")
            raise FileError(
                f"{self._refusing}: holds a Python object, {origin}, and objects are never loaded"
            )
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (found := self._of_torch(module, name)) is not None:
            return found
        made: Any = type("Stub", (Stub,), {"origin": origin})
        return _Nested(self, made) if (module, name) == ("builtins", "getattr") else made

    def _of_torch(self, module: str, name: str) -> Any:
        """Return a stand-in for what torch uses to build tensors, or None for anything else."""
        found: Any = None
        if module in STORAGES and name in DTYPES | QUANTISED:
            found = _Kind((DTYPES | QUANTISED)[name])
            self.unusual = self.unusual or ("a quantised tensor" if name in QUANTISED else "")
        elif module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            found = dtype
        elif module == "torch._utils" and name in TENSORS:
            found = _Rebuild(self)
        elif (module, name) in PARAMETERS:
            found = _Unwrap()
        elif (module, name) == ("torch._tensor", "_rebuild_from_type_v2"):
            found = _FromType()
        elif module in ("torch._utils", "torch._tensor") and name.startswith("_rebuild_"):
            quantised = name == "_rebuild_qtensor"
            self.unusual = "a quantised tensor" if quantised else f"a tensor of an unusual kind ({name})"
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage or other object that a persistent id in the pickle means."""
        if self._persistent is not None:
            return self._persistent(pid)
        if self._storage is None:
            raise pickle.UnpicklingError
        if pid[0] == "module":  # the class of a module, with its source
            return pid[1]
        _, kind, key, _, length, *view = pid
        if pid[0] != "storage" or not _all_sizes((length,)):
            raise ValueError("not a storage")
        found = self._storage(storage_type(kind), str(key), length)
        if view and view[0] is not None:
            _, start, count = view[0]
            found = part_of(found, start, count)
        return found

    def _decode_string(self, value: bytes) -> Any:
        """Decode a string of Python 2, which may be text or bytes."""
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value

    def _tuple(self, found: tuple[Any, ...]) -> None:
        depth = 1 + max(
            (self._nested.get(id(each), (each, 1))[1] for each in found if type(each) is tuple), default=0
        )
        if depth > 1:
            self._nested[id(found)] = (found, depth)
        if depth > DEPTH:
            raise ValueError("the tuples are nested too deeply")


def _checking(load: Any) -> Any:
    def loaded(self: Any) -> None:
        load(self)
        self._tuple(self.stack[-1])

    return loaded


for _code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    StubUnpickler.dispatch[_code[0]] = _checking(pickle._Unpickler.dispatch[_code[0]])


def part_of(storage: Storage, start: int, count: int) -> Storage:
    """Return a storage of ``count`` elements of another storage, from position ``start``."""
    if not _all_sizes((start, count)) or start + count > storage.length:
        raise ValueError("a view leaves its storage")
    return Storage(lambda: storage.read()[start : start + count], storage.dtype, count)


def storage_type(kind: Any) -> torch.dtype:
    """Return the element type of a storage class that a pickle names."""
    if not isinstance(kind, _Kind):
        raise ValueError("not the class of a storage")
    return kind.dtype


def _all_sizes(values: Any) -> bool:
    return all(type(each) is int and 0 <= each < LARGEST for each in values)


def stored(storage: Any, offset: Any, shape: Any, stride: Any) -> StoredTensor:
    """Return a tensor in a file. Raise ValueError if the arguments cannot be those of a tensor."""
    shape, stride = (
        tuple(each.args[0]) if isinstance(each, Stub) else tuple(each) for each in (shape, stride)
    )
    if (
        not isinstance(storage, Storage)
        or len(shape) != len(stride)
        or not _all_sizes((offset, *shape, *stride))
    ):
        raise ValueError("not a tensor")
    return StoredTensor(storage, offset, shape, stride)


class _Kind:
    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Rebuild:
    """Stands for the functions of torch that build a tensor."""

    __slots__ = ("_unpickler",)

    def __init__(self, unpickler: StubUnpickler) -> None:
        self._unpickler = unpickler

    def __call__(self, storage: Any, offset: Any, shape: Any, stride: Any, *more: Any) -> StoredTensor:
        """Return the tensor. Note a conjugated or negated tensor as unusual: only torch builds it."""
        if any(isinstance(each, dict) and any(each.values()) for each in more[2:]):
            self._unpickler.unusual = "a tensor that is stored conjugated or with changed signs"
        dtype = next((each for each in more if isinstance(each, torch.dtype)), None)
        if dtype is not None and isinstance(storage, Storage):
            storage = _as(storage, dtype)
        return stored(storage, offset, shape, stride)


def _as(storage: Storage, dtype: torch.dtype) -> Storage:
    def read() -> torch.Tensor:
        whole = storage.read()
        return (whole.clone() if whole.storage_offset() % dtype.itemsize else whole).view(dtype)

    return Storage(read, dtype, storage.nbytes // dtype.itemsize)


class _Nested:
    """Stands for ``getattr``, with which old protocols name a class in a class. No attribute is looked up."""

    __slots__ = ("_stub", "_unpickler")

    def __init__(self, unpickler: StubUnpickler, stub: type[Stub]) -> None:
        self._unpickler, self._stub = unpickler, stub

    def __call__(self, outer: Any, name: Any) -> Any:
        """Return a stand-in for the inner class, or a stub for an attribute of an object."""
        if isinstance(outer, type) and issubclass(outer, Stub) and isinstance(name, str):
            return self._unpickler.find_class(outer.origin, name)
        return self._stub(outer, name)


class _Unwrap:
    """Stands for the functions that build a parameter from a tensor."""

    __slots__ = ()

    def __call__(self, value: Any, *_: Any) -> Any:
        return value


class _FromType:
    """Stands for the function that builds a tensor and gives it attributes."""

    __slots__ = ()

    def __call__(self, build: Any, _kind: Any, args: Any, _state: Any) -> Any:
        return build(*args)

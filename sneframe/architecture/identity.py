"""Compute the fingerprint of a module.

Two modules with the same fingerprint compute the same function of their weights. So the symmetry of a zoo of
thousands of networks is derived and verified only once for each fingerprint.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: The names of the attributes that every ``nn.Module`` has, such as ``_parameters`` and ``_buffers``. The
#: parameters, buffers, submodules and hooks are read separately.
OWN = frozenset(vars(nn.Module()))
HOOKS = tuple(name for name in sorted(OWN) if name.endswith("_hooks") and "state_dict" not in name)
#: The name of the buffer that counts training batches. No output depends on this buffer.
COUNTER = "num_batches_tracked"
#: The folders of installed packages and of Python itself. A class from these folders is identified by its
#: name.
INSTALLED = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")}
)
#: Attributes of a class that do not affect what its objects compute.
SILENT = frozenset(vars(type("_", (), {}))) | {
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__firstlineno__"),
    *(
        "__static_attributes__",
        "__orig_bases__",
        "__parameters__",
        "__classcell__",
        "__slots__",
        "__qualname__",
    ),
    *("__abstractmethods__", "_abc_impl", "__match_args__", "__type_params__"),
}
NAMED = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
PLAIN = (
    str,
    bytes,
    bool,
    int,
    float,
    complex,
    type(None),
    type(...),
    torch.dtype,
    torch.device,
    torch.layout,
)
DEEPEST = 40  #: largest depth of nested values


class _Unknown(Exception):  # noqa: N818  # not an error: the fingerprint is then None
    """Raised for a value that cannot be described as text."""


def fingerprint(module: nn.Module) -> str | None:
    """Return a hash of everything that decides what a module computes, except its weights.

    Modules that may compute different functions of the same weights have different hashes. The hash covers
    the module and all of its submodules: their classes and settings; their hooks; the shapes of parameters
    and of saved floating-point buffers, and which of these tensors are tied; and the content of all other
    tensors. For a class or function that is not installed, or that cannot be found by its name, the hash also
    covers its code, the values that the code reads from its surroundings, and default arguments.

    Returns:
        A SHA-256 in hexadecimal, or None if the module holds an object that cannot be described as text.
    """
    known = {id(each): f"module {name!r}" for name, each in module.named_modules()}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        known[id(tensor)] = f"tensor {name!r}"  # a tied tensor is listed once, under its first name
    reading = _Reading(known)
    lines = []
    try:
        for name, each in module.named_modules():
            lines.append(f"{name}: {reading.text(type(each))}")
            lines += [
                f"  {key} = {reading.text(value)}" for key, value in vars(each).items() if key not in OWN
            ]
            lines += [
                f"  {key}: {reading.text(list(vars(each)[key].values()))}"
                for key in HOOKS
                if vars(each).get(key)
            ]
            for key, parameter in each._parameters.items():
                if parameter is not None:
                    lines.append(f"  {key}: {tuple(parameter.shape)} {known[id(parameter)]}")
            for key, buffer in each._buffers.items():
                if buffer is not None and key != COUNTER:
                    saved = key not in each._non_persistent_buffers_set and buffer.is_floating_point()
                    content = tuple(buffer.shape) if saved else reading.tensor(buffer)
                    lines.append(f"  {key}: {content} {known[id(buffer)]}")
    except (_Unknown, RecursionError):
        return None
    return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()


class _Reading:
    """Turns values into text. A compound value that occurs again becomes the number of its first occurrence.

    Args:
        known: the texts of modules, parameters and buffers, by the id of the object. The content of these
            objects is read separately.
    """

    def __init__(self, known: Mapping[int, str]) -> None:
        self._known = known
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # keeps the values alive, so that no id is used twice
        self._depth = 0

    def text(self, value: Any) -> str:
        """Return the text of a value. Raise _Unknown if the value cannot be described as text."""
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if type(value) in PLAIN or isinstance(value, torch.Size | np.generic | slice | range):
            return repr(value)
        if id(value) in self._known:
            return self._known[id(value)]
        if isinstance(value, NAMED):
            # A bound method also depends on its object. If that object is a module or a class, it is part of
            # the name.
            own = getattr(value, "__self__", None)
            bound = "" if own is None or isinstance(own, types.ModuleType | type) else self.text(own)
            return f"{value.__module__ if hasattr(value, '__module__') else ''}.{value.__qualname__} {bound}"
        if id(value) in self._numbers:
            return f"#{self._numbers[id(value)]}"
        self._numbers[id(value)] = len(self._numbers)
        self._kept.append(value)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Unknown
        try:
            return self._compound(value)
        finally:
            self._depth -= 1

    def _compound(self, value: Any) -> str:  # noqa: PLR0911  # one line per kind
        """Return the text of a tensor, an array, a collection, a class, a callable or any other object."""
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise _Unknown
            return f"array {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        if type(value) in (tuple, list):
            return f"[{', '.join(map(self.text, value))}]"
        if type(value) in (set, frozenset):
            return f"{{{', '.join(sorted(map(self.text, value)))}}}"
        if isinstance(value, Mapping):
            pairs = [f"{self.text(key)}: {self.text(each)}" for key, each in value.items()]
            return f"{self.text(type(value))} {{{', '.join(pairs)}}}"
        if isinstance(value, type):
            return self._class(value)
        return self._callable(value)

    def _callable(self, value: Any) -> str:  # noqa: PLR0911  # one line per kind
        """Return the text of a function, a method, a torch operation, a Python module or any other object."""
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return f"{self.text(value.__func__)} of {self.text(value.__self__)}"
        if isinstance(value, functools.partial):
            return f"partial {self.text((value.func, value.args, value.keywords))}"
        if isinstance(value, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
            return str(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, weakref.ref):
            return f"reference {self.text(value())}"
        return self._object(value)

    def tensor(self, value: Tensor) -> str:
        """Return the dtype, the shape and a hash of the content of a tensor.

        Raises:
            _Unknown: the tensor is on the meta device, is quantized, or is not strided.
        """
        if value.is_meta or value.layout != torch.strided or value.is_quantized:
            raise _Unknown
        flat = value.detach().cpu().contiguous().reshape(-1)
        content = hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()
        return f"tensor {value.dtype} {tuple(value.shape)} {content}"

    def _function(self, function: types.FunctionType) -> str:
        """Return the name of an installed function.

        For any other function, return the name, the code and the values that the code reads.
        """
        name = f"{function.__module__}.{function.__qualname__}"
        if _is_installed(function):
            return name
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(self.text(cell.cell_contents))
            except ValueError:  # the cell has no value yet
                cells.append("empty")
        around = self._globals(function.__code__, function.__globals__)
        defaults = self.text((function.__defaults__ or (), function.__kwdefaults__ or {}))
        return f"{name} {self._code(function.__code__)} {cells} {around} {defaults}"

    def _code(self, code: types.CodeType) -> str:
        """Return compiled code as text."""
        constants = [
            self._code(each) if isinstance(each, types.CodeType) else self.text(each)
            for each in code.co_consts
        ]
        return f"{code.co_code.hex()} {constants} {code.co_names} {code.co_freevars} {code.co_varnames}"

    def _globals(self, code: types.CodeType, names: Mapping[str, Any]) -> str:
        """Return as text the global values that code reads.

        If a global value is a Python module that is not installed, include the values that the code reads
        from this module.
        """
        used = set(_names(code))
        texts = []
        for name in sorted(used & names.keys()):
            value = names[name]
            texts.append(f"{name} {self.text(value)}")
            if isinstance(value, types.ModuleType) and not _lies_installed(value):
                own = vars(value)
                texts += [f"{name}.{each} {self.text(own[each])}" for each in sorted(used & own.keys())]
        return f"[{', '.join(texts)}]"

    def _class(self, cls: type) -> str:
        """Return the name of an installed class.

        For any other class, return the name, the bases and the attributes.
        """
        name = f"{cls.__module__}.{cls.__qualname__}"
        if _is_installed(cls):
            return name
        bases = ", ".join(map(self.text, cls.__bases__))
        texts = []
        for key, value in vars(cls).items():
            if key not in SILENT and not isinstance(
                value, types.MemberDescriptorType | types.GetSetDescriptorType
            ):
                texts.append(f"{key} {self._attribute(value)}")
        return f"{name} ({bases}) [{', '.join(texts)}]"

    def _attribute(self, value: Any) -> str:
        """Return the text of an attribute of a class."""
        if isinstance(value, staticmethod | classmethod):
            return f"{type(value).__name__} {self.text(value.__func__)}"
        if isinstance(value, property):
            return f"property {self.text((value.fget, value.fset))}"
        if isinstance(value, functools.cached_property):
            return f"property {self.text(value.func)}"
        return self.text(value)

    def _object(self, value: Any) -> str:
        """Return the text of the class and the attributes of an object.

        Raises:
            _Unknown: the object may hold more than its attributes.
        """
        if isinstance(value, nn.Module) or not hasattr(value, "__dict__") or _has_more(type(value)):
            raise _Unknown
        return f"{self.text(type(value))} {self.text(dict(vars(value)))}"


def _names(code: types.CodeType) -> Iterable[str]:
    """Yield the names that code uses, including the names in nested functions."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _names(each)


def _has_more(cls: type) -> bool:
    """Whether objects of a class may hold values outside of their ``__dict__``, as in a C class."""
    written = 1 << 9  # Py_TPFLAGS_HEAPTYPE, which classes written in Python have
    return any(
        not each.__flags__ & written or vars(each).get("__slots__")
        for each in cls.__mro__[:-1]
        if each is not types.SimpleNamespace
    )


def _is_installed(value: type | types.FunctionType) -> bool:
    """Whether a class or function can be found by its name in Python itself or in an installed package."""
    module = sys.modules.get(value.__module__ or "")
    if module is None:
        return False
    found: Any = module
    for word in value.__qualname__.split("."):
        found = inspect.getattr_static(found, word, None)
    found = getattr(found, "__func__", found)
    return found is value and _lies_installed(module)


def _lies_installed(module: types.ModuleType) -> bool:
    """Whether a module is part of Python or of an installed package."""
    file = getattr(module, "__file__", None)
    if file is None:  # the module is built in, or was typed into an interpreter
        return getattr(getattr(module, "__spec__", None), "origin", None) in ("built-in", "frozen")
    return _under(file)


@functools.cache
def _under(file: str) -> bool:
    """Whether a file lies in a folder of installed packages or of Python itself."""
    return str(Path(file).resolve()).startswith(INSTALLED)

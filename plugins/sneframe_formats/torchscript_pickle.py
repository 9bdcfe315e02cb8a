"""Check the pickles of a TorchScript archive before they are read. Nothing is unpickled here."""

from __future__ import annotations

import pickletools
from pathlib import Path

from sneframe.errors import FileError
from sneframe.files.unpickler import DTYPES, TENSORS

LARGEST = 1 << 24  #: largest size in bytes of a pickle
CLASSES = 100_000  #: largest number of names of classes and functions in a pickle
#: The pickle instructions that torch writes. Other instructions can use far more memory than the file size.
INSTRUCTIONS = frozenset(
    {
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "DUP", "POP"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS"),
    }
)
REBUILT = (*TENSORS, "_rebuild_parameter")  #: the torch functions that rebuild tensors and are allowed
MEMO = ("BINPUT", "LONG_BINPUT")  #: the pickle instructions that store a value under a number


def check_pickle(content: bytes, path: Path, name: str) -> None:
    """Check that a pickle has only instructions that torch writes, and only tensors that can be read.

    Args:
        content: the pickle.
        path: the path of the archive, for errors.
        name: the name of the pickle, for errors.

    Raises:
        FileError: the pickle is damaged or hostile, or holds quantised, sparse or complex tensors.
    """
    if len(content) > LARGEST:
        raise FileError(f"{path}: {name} has {len(content)} bytes, but at most {LARGEST} are read")
    classes = 0
    try:
        for instruction, argument, _ in pickletools.genops(content):
            if instruction.name not in INSTRUCTIONS:
                raise FileError(
                    f"{path}: {name} has the instruction {instruction.name}, which torch never writes"
                )
            if instruction.name in MEMO and int(argument or 0) > len(content):
                raise FileError(f"{path}: {name} is damaged, or not written by torch")
            if instruction.name == "GLOBAL":
                classes += 1
                _check_class(str(argument), path)
    except (ValueError, IndexError, OverflowError, AssertionError) as error:
        raise FileError(f"{path}: {name} is damaged ({type(error).__name__})") from error
    if classes > CLASSES:
        raise FileError(f"{path}: {name} names {classes} classes, but at most {CLASSES} are read")


def _check_class(argument: str, path: Path) -> None:
    """Check a class or function in a pickle. ``argument`` is its module, a space, and its name."""
    module, _, name = argument.partition(" ")
    if name.startswith(("QInt", "QUInt")) or name == "_rebuild_qtensor":
        raise FileError(
            f"{path}: the file holds quantised weights, which are not read; save the float network"
        )
    if module.startswith("__torch__.torch.classes"):
        raise FileError(f"{path}: the file holds the C++ object {module}.{name}, whose weights are not read")
    if module == "torch" and name.endswith("Storage") and name not in DTYPES:
        raise FileError(f"{path}: tensors of the type {name.removesuffix('Storage')} are not read")
    unknown = name.startswith("_rebuild") and (module != "torch._utils" or name not in REBUILT)
    if unknown or name == "build_tensor_from_id":
        raise FileError(f"{path}: tensors that {module}.{name} builds are not read")

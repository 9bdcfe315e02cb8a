"""Read the tensors of an ONNX model. Sizes are checked before memory is allocated."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.safe_path import inside
from sneframe.files.sizes import check_declared

FLOAT, DOUBLE, BFLOAT16 = 1, 11, 16
#: NumPy's type, and the field for values that are not raw bytes, by the number of a tensor's type in ONNX.
TYPES: dict[int, tuple[str, str]] = {
    FLOAT: ("<f4", "float_data"),
    2: ("<u1", "int32_data"),
    3: ("<i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("|b1", "int32_data"),
    10: ("<u2", "int32_data"),  # float16: the values are the bits
    DOUBLE: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    BFLOAT16: ("<u2", "int32_data"),  # the values are the bits
}
BITS = {10: torch.float16, BFLOAT16: torch.bfloat16}  #: the types of torch whose bits NumPy reads as integers
FLOATS = (FLOAT, 10, DOUBLE, BFLOAT16)
MOST_AXES = 16
LONGEST = 1 << 40  #: largest size of an axis


@final
class Tensors:
    """Reads the tensors of a model, and checks their total number of bytes.

    Args:
        path: the path of the model.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._declared = 0
        self._files: dict[Path, int] = {path: path.stat().st_size}

    def read(self, tensor: Any, name: str) -> Tensor:
        """Read a tensor. A tensor in another file is mapped into memory.

        Args:
            tensor: the message ``TensorProto``.
            name: the name of the tensor, for errors.

        Raises:
            FileError: the type is not supported, the size of the data does not fit the shape, or the other
                file is missing, too small, or outside of the model's folder.
        """
        kind, shape = tensor.data_type, tuple(tensor.dims)
        if kind not in TYPES:
            raise self._fault(name, f"has the type {_type(kind)}, and tensors of this type are not read")
        if len(shape) > MOST_AXES or any(not 0 <= size <= LONGEST for size in shape):
            raise self._fault(name, f"has the shape {shape[: MOST_AXES + 1]}, which is not possible")
        if tensor.HasField("segment"):
            raise self._fault(name, "is stored in segments, which are not read")
        dtype, field = np.dtype(TYPES[kind][0]), TYPES[kind][1]
        count = prod(shape)
        self._declared += count * dtype.itemsize
        if tensor.data_location == 1:
            data = self._external(tensor, name, dtype, count)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
            if len(raw) != count * dtype.itemsize:
                raise self._fault(name, f"has the shape {shape}, which does not fit its {len(raw)} bytes")
            data = np.frombuffer(raw, dtype).copy()
        else:
            values = getattr(tensor, field)
            if len(values) != count:
                raise self._fault(name, f"has the shape {shape}, which does not fit its {len(values)} values")
            wide = np.array(values, {"float_data": "<f4", "double_data": "<f8"}.get(field))
            data = wide.astype(dtype)
            if field.startswith(("int", "uint")) and not np.array_equal(data.astype(wide.dtype), wide):
                raise self._fault(name, f"has values that the type {_type(kind)} cannot hold")
        check_declared([self._declared], self._path, sum(self._files.values()))
        found = torch.from_numpy(data)
        if kind in BITS:
            found = found.view(torch.int16).view(BITS[kind])
        return found.reshape(shape)

    def _external(self, tensor: Any, name: str, dtype: np.dtype[Any], count: int) -> np.ndarray[Any, Any]:
        """Return the data of a tensor in another file, which is mapped into memory."""
        given = {entry.key: entry.value for entry in tensor.external_data}
        if not given.get("location"):
            raise self._fault(name, "is in another file, but the model does not name the file")
        try:
            other = inside(self._path.parent, given["location"])
        except FileError as error:
            raise FileError(
                f"{self._path}: {name!r} is in another file: {' '.join(str(error).split())}"
            ) from error
        numbers = {}
        for key, default in (("offset", 0), ("length", count * dtype.itemsize)):
            word = given.get(key, str(default))
            if not word.isascii() or not word.isdecimal() or len(word) > 18:
                raise self._fault(name, f"has the {key} {word[:40]!r}, which is not a number of bytes")
            numbers[key] = int(word)
        size = self._files.setdefault(other, other.stat().st_size)
        if numbers["length"] != count * dtype.itemsize:
            raise self._fault(
                name, f"has the shape {tuple(tensor.dims)}, but {numbers['length']} bytes in {other.name}"
            )
        if numbers["offset"] + numbers["length"] > size:
            raise self._fault(name, f"ends after the end of {other.name}, which has {size} bytes")
        if not count:
            return np.zeros(0, dtype)
        return np.memmap(other, dtype, mode="c", offset=numbers["offset"], shape=(count,))

    def _fault(self, name: str, fault: str) -> FileError:
        return FileError(f"{self._path}: {name!r} {fault}")


def _type(kind: int) -> str:
    """Return ONNX's name of a type of tensors, such as ``FLOAT8E4M3FN``."""
    from onnx import TensorProto

    try:
        return str(TensorProto.DataType.Name(kind))
    except ValueError:
        return f"number {kind}"

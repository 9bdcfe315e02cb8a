"""Define what a pickle becomes when nothing is imported: stubs, and tensors that are read on demand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from math import prod
from typing import Any, Self

import torch
from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.sizes import SHARED

FEW = 1 << 16  #: a tensor of at most this size may repeat the elements of its storage any number of times


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


class Storage:
    """The elements in a file that one or several tensors use.

    Args:
        read: a function that reads the elements as a vector.
        dtype: the type of the elements.
        length: the number of elements.
        entry: the name of the entry of the archive that holds the elements, or an empty string.
    """

    __slots__ = ("_read", "dtype", "entry", "length")

    def __init__(self, read: Callable[[], Tensor], dtype: torch.dtype, length: int, entry: str = "") -> None:
        self._read, self.dtype, self.length, self.entry = read, dtype, length, entry

    @property
    def nbytes(self) -> int:
        """The number of bytes that the elements take."""
        return self.length * self.dtype.itemsize

    def read(self) -> Tensor:
        """Return the elements as a vector, which may be mapped into memory."""
        return self._read()


class StoredTensor:
    """A tensor in a file. The values are read from the file by :meth:`read`."""

    __slots__ = ("_offset", "_storage", "_stride", "shape")

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self._storage, self._offset, self._stride = storage, offset, stride
        self.shape = shape

    def __setstate__(self, state: Any) -> None:
        """Pass over the state of a pickled parameter, such as whether it needs a gradient."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the elements."""
        return self._storage.dtype

    @property
    def key(self) -> Hashable:
        """A key that two tensors of an archive share if they use the same elements in the same way."""
        return self._storage.entry, self.dtype, self._offset, self.shape, self._stride

    @property
    def nbytes(self) -> int:
        """The number of bytes that the tensor's values take."""
        return prod(self.shape) * self._storage.dtype.itemsize

    def read(self) -> Tensor:
        """Return the tensor with the values from the file.

        Raises:
            FileError: the tensor does not fit into its storage.
        """
        length = self._storage.length
        if prod(self.shape) > max(SHARED * length, FEW):
            raise FileError(
                f"a tensor of shape {self.shape} does not fit into its storage of {length} elements"
            )
        # as_strided would only check the bounds of the whole file, not those of the storage.
        last = self._offset + sum((n - 1) * step for n, step in zip(self.shape, self._stride, strict=True))
        if prod(self.shape) and last >= length:
            raise FileError(f"a tensor of shape {self.shape} does not fit into its storage")
        if not prod(self.shape):
            return torch.empty(self.shape, dtype=self._storage.dtype)
        whole = self._storage.read()
        return whole.as_strided(self.shape, self._stride, whole.storage_offset() + self._offset)


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

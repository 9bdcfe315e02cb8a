"""Collect the weights of networks of one architecture, and write the weights to disk in whole chunks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from sneframe.architecture import Architecture
from sneframe.errors import ZooError, choices
from sneframe.zoo.chunks import ArrayWriter, cast, read, stored_dtype, widest
from sneframe.zoo.format import (
    ARCHITECTURES,
    DTYPES,
    FLOATS,
    METADATA,
    check_name,
    chunk_length,
    fitting,
    group_json,
    json_value,
    parameter_path,
)
from sneframe.zoo.manifest import ArrayRecord


@final
class Stack:
    """A writer for the networks of one architecture. Networks stay in memory until a chunk is full.

    Args:
        path: the path of the zoo, for errors.
        root: the folder in which the zoo is written.
        architecture: the architecture of the networks.
        index: the index of the architecture in the zoo.
    """

    def __init__(self, path: Path, root: Path, architecture: Architecture, index: int) -> None:
        self._path = path
        self._root = root
        self._architecture = architecture
        self._attributes = {"architecture": json_value(architecture.to_json(), f"{path}: architecture")}
        self.index = index
        self.networks = 0
        self._dtypes: dict[str, str] = {}
        self._length = 0
        self._waiting: list[dict[str, np.ndarray]] = []
        self._writers: dict[str, ArrayWriter] = {}

    @property
    def symmetry(self) -> str:
        """The least reliable origin of the symmetry among the architectures of the networks."""
        return self._architecture.symmetry

    def weaken(self, symmetry: str) -> None:
        """Replace the stored origin of the symmetry by ``symmetry``, if ``symmetry`` is less reliable."""
        self._architecture = self._architecture.weakened(symmetry)
        self._attributes["architecture"]["symmetry"] = self._architecture.symmetry

    def read(self, weights: Mapping[str, Any]) -> dict[str, tuple[str, np.ndarray]]:
        """Check the weights of networks, and convert them to the types and values that the zoo stores.

        Args:
            weights: the values ``(n, *shape)`` of each parameter by name.

        Returns:
            The type and the values of each parameter by name, in the order of the architecture.

        Raises:
            ZooError: a name is missing or unknown, or a type, a shape or the number of networks does not fit.
        """
        known = {parameter.name: parameter for parameter in self._architecture.parameters}
        for name in weights:
            if name not in known:
                raise ZooError(f"{self._path}: unknown parameter {name!r}, {choices(str(name), known)}")
        arrays: dict[str, tuple[str, np.ndarray]] = {}
        n = None
        for name, parameter in known.items():
            what = f"{self._path}: parameter {name!r}"
            check_name(name, what)
            if name not in weights:
                raise ZooError(f"{what} is missing (given: {', '.join(sorted(weights)) or 'none'})")
            dtype, values = _values(what, weights[name])
            n = len(values) if n is None and values.ndim else n
            if values.shape != (n, *parameter.shape):
                shape = ", ".join(map(str, ("n" if n is None else n, *parameter.shape)))
                raise ZooError(f"{what}: must have shape ({shape}), but got {values.shape}")
            before = self._dtypes.get(name, dtype)
            if dtype != before and not {dtype, before}.issubset(FLOATS):
                raise ZooError(f"{what}: earlier networks have {before}, but these networks have {dtype}")
            arrays[name] = dtype, values
        if not n:
            raise ZooError(f"{self._path}: an append needs at least one network, but got none")
        return arrays

    def add(self, arrays: Mapping[str, tuple[str, np.ndarray]]) -> None:
        """Add networks. Write those that fill whole chunks, and keep the remaining networks in memory.

        Args:
            arrays: the type and the values of each parameter by name, as :meth:`read` returns them.
        """
        if not self._dtypes:
            self._dtypes = {name: dtype for name, (dtype, _) in arrays.items()}
            sizes = {p.name: p.size for p in self._architecture.parameters}
            self._length = chunk_length(
                sum(sizes[n] * stored_dtype(d).itemsize for n, d in self._dtypes.items())
            )
        for name, (dtype, _) in arrays.items():
            if (wider := widest(self._dtypes[name], dtype)) != self._dtypes[name]:
                self._widen(name, wider)
        waiting = self.networks % self._length
        added = {name: cast(values, dtype, self._dtypes[name]) for name, (dtype, values) in arrays.items()}
        n = len(next(iter(added.values())))
        self.networks += n
        if waiting + n >= self._length:
            added = _joined([*self._waiting, added])
            self._waiting = []
            whole = (waiting + n) // self._length * self._length
            for start in range(0, whole, self._length):
                self._write({name: values[start : start + self._length] for name, values in added.items()})
            added = {name: values[whole:] for name, values in added.items()}
        if self.networks % self._length:
            self._waiting.append({name: values.copy() for name, values in added.items()})

    def _widen(self, name: str, dtype: str) -> None:
        """Convert the values of a parameter in all networks so far to a wider type.

        Values on disk are rewritten. The wider type represents all values exactly.
        """
        before = self._dtypes[name]
        self._dtypes[name] = dtype
        self._waiting = [{**rows, name: cast(rows[name], before, dtype)} for rows in self._waiting]
        if (narrow := self._writers.pop(name, None)) is None:
            return
        record, own, aside = narrow.close(), self._root / self._at(name), self._at(name) + ".narrow"
        own.rename(self._root / aside)
        for start in range(0, record.shape[0], self._length):
            rows = read(self._root, aside, record, start, start + self._length)
            self._write({name: cast(rows, before, dtype)})
        shutil.rmtree(self._root / aside)

    def close(self) -> dict[str, ArrayRecord]:
        """Write the networks that are still in memory.

        Returns:
            The record of each parameter's array by the array's path within the zoo.
        """
        if self._waiting:
            self._length = fitting(self._length, self.networks)
            self._write(_joined(self._waiting))
        write_group(self._root / ARCHITECTURES / self._architecture.id, self._attributes)
        return {self._at(name): writer.close() for name, writer in self._writers.items()}

    def _write(self, rows: Mapping[str, np.ndarray]) -> None:
        for name, values in rows.items():
            if name not in self._writers:
                shape = values.shape[1:]
                self._writers[name] = ArrayWriter(
                    self._root,
                    self._at(name),
                    dtype=self._dtypes[name],
                    shape=shape,
                    length=self._length,
                    attributes={"sneframe:name": name},
                )
            self._writers[name].write(values)

    def _at(self, name: str) -> str:
        return parameter_path(self._architecture.id, name)


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _values(what: str, values: Any) -> tuple[str, np.ndarray]:
    """Return the type of an array or a tensor, and the values as the zoo stores them.

    Raises:
        ZooError: a zoo cannot store the type.
    """
    if hasattr(values, "detach"):
        import torch

        tensor = values.detach().cpu()
        if tensor.dtype == torch.bfloat16:
            return "bfloat16", tensor.contiguous().view(torch.int16).numpy().view(np.uint16)
        values = tensor.numpy()
    array = np.asarray(values)
    if array.dtype.name == "bfloat16":
        return "bfloat16", np.ascontiguousarray(array).view(np.uint16)
    if array.dtype.name not in DTYPES:
        raise ZooError(f"{what}: a zoo cannot store {array.dtype}; {choices(array.dtype.name, DTYPES)}")
    return array.dtype.name, array.astype(array.dtype.newbyteorder("="), copy=False)


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Create the folder of a zarr group, and write the metadata of the group into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METADATA).write_text(group_json(attributes), encoding="ascii")

"""Read the arrays of a zoo on demand.

Columns and architectures are read at first use and then kept in memory. Weights are read in runs of
consecutive chunks, and are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from sneframe.architecture import Architecture, Parameter
from sneframe.errors import ArchitectureError, ZooError, choices
from sneframe.zoo import chunks
from sneframe.zoo.column import Column
from sneframe.zoo.format import (
    ARCHITECTURES,
    METADATA,
    MIB,
    column_path,
    parameter_path,
    read_attributes,
    split_path,
    valid_path,
)
from sneframe.zoo.manifest import ArrayRecord, Manifest

_RUN_BYTES = 32 * MIB


@final
class Store:
    """A reader of a whole zoo. All selections of the same open zoo share one store.

    Args:
        path: path of the zoo.
        manifest: manifest of the zoo.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._columns: dict[str, Column] = {}

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures of the zoo. The stored column ``architecture`` holds indices into this tuple.

        Raises:
            ZooError: the description of an architecture is missing or damaged.
        """
        return tuple(self._architecture(key) for key in self.manifest.architectures)

    def _architecture(self, key: str) -> Architecture:
        folder = self.path / ARCHITECTURES / key
        try:
            architecture = Architecture.from_json(read_attributes(folder)["architecture"])
        except (FileNotFoundError, KeyError, ArchitectureError) as error:
            raise ZooError(f"{folder / METADATA}: missing or damaged architecture") from error
        if architecture.id != key:
            raise ZooError(
                f"{folder / METADATA}: damaged architecture: its content has the id {architecture.id}"
            )
        return architecture

    # -- columns ---------------------------------------------------------------------------------------------

    def column(self, name: str) -> Column:
        """Return the values of a property, or of a column that every zoo has, for all networks.

        The column ``architecture`` holds the ids of the architectures. The column ``architecture_summary``
        holds their one-line descriptions.

        Raises:
            ZooError: the name is unknown, or the column is damaged.
        """
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> Column:
        everywhere = np.ones(self.manifest.networks, bool)
        if name in self.manifest.properties:
            values = self._read(column_path(name))
            kind = self.manifest.properties[name]
            if kind == "float":
                return Column(kind, values, ~np.isnan(values))
            valid = self._read(valid_path(name)) if valid_path(name) in self.manifest.arrays else everywhere
            return Column(kind, values, valid)
        if name in ("architecture", "architecture_summary"):
            words = [a.id if name == "architecture" else a.summary for a in self.architectures]
            return Column("string", np.array(words, dtype=object)[self.architecture_index], everywhere)
        if name in ("row", "group", "healthy"):
            values = self._read(column_path(name))
            kind = {"O": "string", "b": "bool", "i": "int"}[values.dtype.kind]
            return Column(kind, values, everywhere)
        known = [*self.manifest.properties, "architecture", "architecture_summary", "row", "group", "healthy"]
        raise ZooError(f"{self.path}: unknown column {name!r}, {choices(name, known)}")

    @cached_property
    def architecture_index(self) -> np.ndarray:
        """The index of each network's architecture in :attr:`architectures`, shape ``(N,)``."""
        index = self._read(column_path("architecture"))
        counts = np.bincount(index.clip(0), minlength=len(self.manifest.architectures))
        if index.min() < 0 or counts.tolist() != list(self.manifest.architectures.values()):
            raise ZooError(
                f"{self.path / column_path('architecture')}: does not match the architectures in the manifest"
            )
        return index

    def split(self, name: str) -> np.ndarray:
        """Return a split, shape ``(N,)``, int8: 0 train, 1 val, 2 test, -1 unused.

        Raises:
            ZooError: the name is unknown, or the array is damaged.
        """
        if name not in self.manifest.splits:
            raise ZooError(f"{self.path}: unknown split {name!r}, {choices(name, self.manifest.splits)}")
        return self._read(split_path(name))

    def _read(self, path: str) -> np.ndarray:
        return chunks.read(self.path, path, self.manifest.arrays[path])

    # -- weights ---------------------------------------------------------------------------------------------

    def rows(self, architecture: int, rows: np.ndarray) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield the stored parameters of the networks in ``rows``, several networks at a time.

        Only chunks that contain one of the rows are read.

        Args:
            architecture: index of the architecture in the zoo.
            rows: ascending row numbers among the networks of this architecture.

        Yields:
            The index in ``rows`` of the first of n networks, and the values ``(n, *shape)`` of each parameter
            by name.

        Raises:
            ZooError: a chunk is missing or damaged.
        """
        described = self.architectures[architecture]
        paths = {p.name: parameter_path(described.id, p.name) for p in described.parameters}
        records = {p.name: self.record(described, p) for p in described.parameters}
        length = next(iter(records.values())).chunks[0]
        # The minimum of 1 avoids a division by zero if all parameters are empty.
        chunk_bytes = max(1, sum(length * 4 * p.size for p in described.parameters))
        for first, last in _runs(np.unique(rows // length), max(1, _RUN_BYTES // chunk_bytes)):
            start, stop = first * length, min((last + 1) * length, self.manifest.architectures[described.id])
            begin, end = np.searchsorted(rows, (start, stop))
            here = slice(None) if end - begin == stop - start else rows[begin:end] - start
            yield (
                int(begin),
                {
                    name: chunks.read(self.path, path, records[name], start, stop)[here]
                    for name, path in paths.items()
                },
            )

    def record(self, architecture: Architecture, parameter: Parameter) -> ArrayRecord:
        """Return the manifest's record of a parameter's array.

        Raises:
            ZooError: the manifest has no such record, or the record contradicts the architecture.
        """
        path = parameter_path(architecture.id, parameter.name)
        record = self.manifest.arrays.get(path)
        if record is None:
            raise ZooError(f"{self.path / path}: the manifest does not list this array")
        shape = (self.manifest.architectures[architecture.id], *parameter.shape)
        if record.shape != shape:
            raise ZooError(
                f"{self.path / path}: the manifest says shape {record.shape}, but the architecture says "
                f"{shape}"
            )
        return record

    def flat(self, architecture: int, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the weights of the networks in ``rows`` as float32 arrays, several networks at a time.

        Args:
            architecture: index of the architecture in the zoo.
            rows: ascending row numbers among the networks of this architecture.

        Yields:
            The index in ``rows`` of the first of n networks, and an array ``(n, P)`` with all weights of a
            network in one row.

        Raises:
            ZooError: a chunk is missing or damaged, or a weight is too large for single precision.
        """
        described = self.architectures[architecture]
        for start, arrays in self.rows(architecture, rows):
            n = len(next(iter(arrays.values())))
            flat = np.empty((n, described.num_weights), np.float32)
            for parameter, offset in zip(described.parameters, described.offsets, strict=True):
                values = arrays[parameter.name].reshape(n, parameter.size)
                try:
                    single = chunks.as_float32(values, self.record(described, parameter).dtype)
                except FloatingPointError as error:
                    where = self.path / parameter_path(described.id, parameter.name)
                    raise ZooError(f"{where}: a weight is too large for single precision") from error
                flat[:, offset : offset + parameter.size] = single
            yield start, flat


def _runs(numbers: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Divide ascending numbers into runs of at most ``longest`` consecutive numbers.

    Yields:
        The first and the last number of each run.
    """
    first = last = None
    for number in numbers.tolist():
        if first is not None and last is not None and (number != last + 1 or number - first >= longest):
            yield first, last
            first = number
        elif first is None:
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last

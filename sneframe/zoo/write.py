"""Write a zoo by adding networks with their properties. The folder appears only when the zoo is complete."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import numpy as np

from sneframe.architecture import Architecture
from sneframe.architecture.origin import by_origin
from sneframe.errors import ZooError
from sneframe.zoo.chunks import ArrayWriter, finite
from sneframe.zoo.column import Column
from sneframe.zoo.format import (
    ARCHITECTURES,
    KINDS,
    METADATA,
    NETWORKS,
    RESERVED,
    SPLITS,
    VALID,
    check_name,
    column_path,
    fitting,
    group_json,
    json_value,
    split_path,
    valid_path,
)
from sneframe.zoo.manifest import ArrayRecord, Manifest, is_zoo
from sneframe.zoo.splits import check_assignment
from sneframe.zoo.stack import Stack, write_group
from sneframe.zoo.staging import Staging, machine_errors

_COLUMN_LENGTH = 1 << 16


def create(
    path: str | Path,
    *,
    name: str,
    description: str = "",
    licence: str = "",
    source: str = "",
    builder: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    mixed_as_text: bool = False,
) -> ZooWriter:
    """Return a writer for a new zoo. The writer must be used in a ``with`` block.

    The zoo appears at ``path`` when the block ends without an error.

    Args:
        path: path of the zoo, by convention ``NAME.zarr``.
        name: name of the zoo.
        description: one paragraph about the zoo.
        licence: licence of the weights.
        source: where the weights came from.
        builder: JSON values that say how the networks were made: name, version, seed, config.
        overwrite: whether an existing zoo may be replaced. It is replaced when the new zoo is complete.
        mixed_as_text: whether a property whose values have different kinds is stored as text. A warning names
            such a property. By default, a value of another kind than the earlier values is an error.

    Raises:
        ZooError: the path exists and must not be replaced; ``name``, ``description``, ``licence`` or
            ``source`` is not a string; or ``builder`` does not consist of JSON values.
        MachineError: the path exists and cannot be read.
    """
    path = Path(path)
    texts = {"name": name, "description": description, "licence": licence, "source": source}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ZooError(f"{path}: {key} must be a string, but got {text!r}")
    if os.path.lexists(path) and not overwrite:
        raise ZooError(f"{path}: exists already; choose another path, or overwrite it (--overwrite)")
    with machine_errors(path):
        if os.path.lexists(path) and not is_zoo(path):
            raise ZooError(f"{path}: exists and is not a zoo; only a zoo can be overwritten")
    header = {**texts, "builder": None if builder is None else json_value(builder, f"{path}: builder")}
    return ZooWriter(path, header, overwrite=overwrite, mixed_as_text=mixed_as_text)


@final
class ZooWriter:
    """A writer of a new zoo, which :func:`create` returns.

    If the ``with`` block ends with an error, for example after an interrupt or on a full disk, neither a new
    zoo nor a temporary folder is left behind. If the process is killed, its temporary folder is removed when
    the same zoo is written again.
    """

    def __init__(
        self, path: Path, header: Mapping[str, Any], *, overwrite: bool, mixed_as_text: bool = False
    ) -> None:
        self._path = path
        self._header = header
        self._overwrite = overwrite
        self._mixed_as_text = mixed_as_text
        self._stacks: dict[Architecture, Stack] = {}
        self._length = 0
        self._architecture: list[np.ndarray] = []
        self._row: list[np.ndarray] = []
        self._healthy: list[np.ndarray] = []
        self._groups: list[Column | None] = []
        self._properties: dict[str, list[tuple[int, Column]]] = {}
        self._kinds: dict[str, set[str]] = {}
        self._splits: dict[str, np.ndarray] = {}
        self._staging: Staging | None = None
        self._broken = False

    def __len__(self) -> int:
        return self._length

    @property
    def unhealthy(self) -> int:
        """The number of unhealthy networks among those that were added so far."""
        return int(sum((~good).sum() for good in self._healthy))

    @property
    def symmetry(self) -> dict[str, int]:
        """The number of networks for each origin of the symmetry, the least reliable first."""
        return by_origin((stack.symmetry, stack.networks) for stack in self._stacks.values())

    @property
    def scratch(self) -> Path:
        """A folder for what is needed only inside the ``with`` block. It is removed when the block ends."""
        assert self._staging is not None
        return self._staging.scratch

    def __enter__(self) -> Self:
        with machine_errors(self._path):
            self._staging = Staging(self._path, overwrite=self._overwrite)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._staging is not None
        try:
            if error is None:
                with machine_errors(self._path):
                    self._finish(self._staging.folder)
                    self._staging.commit()
        finally:
            self._staging.discard()
            self._staging = None

    # -- adding networks and splits --------------------------------------------------------------------------

    def append(
        self,
        architecture: Architecture,
        weights: Mapping[str, Any],
        properties: Mapping[str, Any],
        group: Any = None,
        healthy: Any = None,
    ) -> None:
        """Add n networks of one architecture.

        Args:
            architecture: the architecture of the networks. If equal architectures have different origins of
                the symmetry, the least reliable origin is stored.
            weights: an array or tensor ``(n, *shape)`` for each parameter, by name. The type may be any
                floating-point type (including bfloat16), int type or bool. If the floating-point type of a
                parameter differs between appends, the zoo stores the narrowest type that represents all
                values. Ints and bools must have the same type in every append.
            properties: the values of each property by name, shape ``(n,)``. If ``properties`` lacks a
                property of the zoo, the values of that property are missing for these networks.
            group: run group of each network, ints or strings of shape ``(n,)``, or one run group for all n
                networks. If no append has run groups, each network is a run group of its own.
            healthy: whether each network is healthy, shape ``(n,)``, bool. By default, a network is healthy
                if all its weights are finite.

        Raises:
            ZooError: a name, a shape, a type or a length does not fit. No network is added then.
            MachineError: a file cannot be written, for example because the disk is full.
        """
        if self._staging is None:
            raise ZooError(f"{self._path}: networks can only be added inside `with create(...) as zoo:`")
        if self._broken:
            raise ZooError(f"{self._path}: an earlier append failed half-way, so the zoo cannot be completed")
        if not isinstance(architecture, Architecture):
            raise ZooError(
                f"{self._path}: architecture must be an Architecture, but got {type(architecture).__name__}"
            )
        stack = self._stacks.get(architecture)
        if stack is None:
            stack = Stack(self._path, self._staging.folder, architecture, len(self._stacks))
        arrays = stack.read(weights)
        n = len(next(iter(arrays.values()))[1])
        columns = {name: self._property(name, values, n) for name, values in properties.items()}
        groups = self._group(group, n)
        is_finite = np.all([finite(values, dtype) for dtype, values in arrays.values()], axis=0)
        good = self._health(healthy, is_finite)

        self._broken = True
        with machine_errors(self._path):
            stack.add(arrays)
        self._broken = False
        self._stacks.setdefault(architecture, stack)
        stack.weaken(architecture.symmetry)
        self._architecture.append(np.full(n, stack.index, np.int32))
        self._row.append(np.arange(stack.networks - n, stack.networks))
        self._healthy.append(good)
        self._groups.append(groups)
        for name, column in columns.items():
            self._kinds[name] = self._kinds.get(name, set()) | column.kinds
            self._properties.setdefault(name, []).append((self._length, column))
        self._length += n

    def split(self, name: str, assignment: Sequence[int] | np.ndarray) -> None:
        """Store a split of the zoo. All networks must be added before the first split.

        Args:
            name: name of the split.
            assignment: the part of each network, shape ``(N,)``: 0 train, 1 val, 2 test, -1 unused.

        Raises:
            ZooError: the zoo already has a split of this name, the values or the length are wrong, or a run
                group is divided between train, val and test.
        """
        what = f"{self._path}: split {name!r}"
        check_name(name, what)
        if name in self._splits:
            raise ZooError(f"{what} is stored already")
        self._splits[name] = check_assignment(assignment, self._group_column().values, what)

    # -- checks ----------------------------------------------------------------------------------------------

    def _property(self, name: str, values: Any, n: int) -> Column:
        what = f"{self._path}: property {name!r}"
        check_name(name, what, suffix=VALID)
        if name in RESERVED or name.endswith(VALID):
            raise ZooError(
                f"{what}: this name is reserved ({', '.join(RESERVED)}, and all names that end in {VALID})"
            )
        column = Column.of(what, values)
        if len(column) != n:
            raise ZooError(f"{what}: {len(column)} values for {n} networks")
        kinds = self._kinds.get(name, set()) | column.kinds
        if len(kinds) > 1 and kinds != {"int", "float"} and not self._mixed_as_text:
            raise ZooError(f"{what}: all values must have the same kind, but got {', '.join(sorted(kinds))}")
        return column

    def _group(self, group: Any, n: int) -> Column | None:
        what = f"{self._path}: group"
        if self._groups and (group is None) != (self._groups[0] is None):
            raise ZooError(f"{what}: must be given in every append or in none")
        if group is None:
            return None
        column = Column.of(what, [group] * n if np.ndim(group) == 0 else group)
        if column.kind not in ("int", "string"):
            raise ZooError(f"{what}: must be ints or strings, but got {column.kind}s")
        if not column.valid.all():
            missing = int(np.argmin(column.valid))
            raise ZooError(
                f"{what}: every network needs a group, but network {missing} of this append has none"
            )
        if len(column) != n:
            raise ZooError(f"{what}: {len(column)} values for {n} networks")
        if self._groups and self._groups[0] is not None and self._groups[0].kind != column.kind:
            raise ZooError(
                f"{what}: earlier groups are {self._groups[0].kind}s, but these are {column.kind}s"
            )
        return column

    def _health(self, healthy: Any, is_finite: np.ndarray) -> np.ndarray:
        if healthy is None:
            return is_finite
        given = np.asarray(healthy)
        if given.dtype != bool or given.shape != is_finite.shape:
            raise ZooError(
                f"{self._path}: healthy must be bool of shape ({len(is_finite)},), but got {given.dtype} of "
                f"shape {given.shape}"
            )
        wrong = np.flatnonzero(given & ~is_finite)
        if len(wrong):
            raise ZooError(
                f"{self._path}: network {wrong[0]} of this append cannot be healthy, because some "
                f"weights are not finite"
            )
        return given.copy()

    def _group_column(self) -> Column:
        given = [column for column in self._groups if column is not None]
        if given:
            return Column.joined(f"{self._path}: group", given)
        return Column("int", np.arange(self._length), np.ones(self._length, bool))

    # -- completing the zoo ----------------------------------------------------------------------------------

    def _finish(self, root: Path) -> None:
        if self._broken:
            raise ZooError(f"{self._path}: an append failed half-way, so the zoo cannot be completed")
        if not self._length:
            raise ZooError(f"{self._path}: a zoo needs at least one network, but none was added")
        for name, assignment in self._splits.items():
            if len(assignment) != self._length:
                raise ZooError(
                    f"{self._path}: split {name!r} has {len(assignment)} values for {self._length} networks"
                )
        arrays: dict[str, ArrayRecord] = {}
        for stack in self._stacks.values():
            arrays |= stack.close()
        if self._mixed_as_text:
            for name, columns_of_name in self._properties.items():
                self._properties[name] = self._one_kind(name, columns_of_name)
        joined = {name: self._joined(name) for name in self._properties}
        columns = self._columns(joined)
        for path, (values, dtype, attributes) in columns.items():
            arrays[path] = _write_column(root, path, values, dtype, attributes)
        for folder in (ARCHITECTURES, NETWORKS, SPLITS):
            write_group(root / folder, {})
        manifest = Manifest(
            **self._header,
            networks=self._length,
            healthy=int(np.concatenate(self._healthy).sum()),
            architectures={architecture.id: stack.networks for architecture, stack in self._stacks.items()},
            properties={name: column.kind for name, column in joined.items()},
            splits=tuple(self._splits),
            arrays=arrays,
        )
        _check_files(root, manifest)
        (root / METADATA).write_text(group_json(manifest.to_json()), encoding="ascii")

    def _columns(self, joined: Mapping[str, Column]) -> dict[str, tuple[np.ndarray, str, dict[str, str]]]:
        """Return values, type and zarr attributes of each column and split, by path within the zoo."""
        group = self._group_column()
        columns: dict[str, tuple[np.ndarray, str, dict[str, str]]] = {
            column_path("architecture"): (np.concatenate(self._architecture), "int32", {}),
            column_path("row"): (np.concatenate(self._row), "int64", {}),
            column_path("group"): (group.values, "int64" if group.kind == "int" else "string", {}),
            column_path("healthy"): (np.concatenate(self._healthy), "bool", {}),
        }
        for name, column in joined.items():
            attributes = {"sneframe:name": name}
            columns[column_path(name)] = (column.values, KINDS[column.kind], attributes)
            if column.kind != "float" and not column.valid.all():
                columns[valid_path(name)] = (column.valid, "bool", attributes)
        for name, assignment in self._splits.items():
            columns[split_path(name)] = (assignment, "int8", {"sneframe:name": name})
        return columns

    def _one_kind(self, name: str, columns: list[tuple[int, Column]]) -> list[tuple[int, Column]]:
        """Convert the columns of a property to text if their values cannot share a column of another kind."""
        if len(self._kinds[name]) < 2:
            return columns
        found = [column for _, column in columns]
        if self._kinds[name] == {"int", "float"} and Column.exact(found):
            return columns
        warnings.warn(f"property {name!r} is stored as text: {Column.mixture(found)}", stacklevel=2)
        return [(start, column.as_text()) for start, column in columns]

    def _joined(self, name: str) -> Column:
        """Return the values of a property for all networks.

        The values are missing for networks whose append did not include the property.
        """
        parts, end = [], 0
        for start, column in self._properties[name]:
            if start > end:
                parts.append(Column.missing(column.kind, start - end))
            parts.append(column)
            end = start + len(column)
        if self._length > end:
            parts.append(Column.missing(parts[-1].kind, self._length - end))
        return Column.joined(f"{self._path}: property {name!r}", parts)


def _write_column(
    root: Path, path: str, values: np.ndarray, dtype: str, attributes: Mapping[str, Any]
) -> ArrayRecord:
    length = fitting(_COLUMN_LENGTH, len(values))
    writer = ArrayWriter(root, path, dtype=dtype, length=length, attributes=attributes)
    for start in range(0, len(values), length):
        writer.write(values[start : start + length])
    return writer.close()


def _check_files(root: Path, manifest: Manifest) -> None:
    """Check that every chunk file has the size that the manifest will list.

    Raises:
        OSError: a file is missing or has a different size.
    """
    for path, record in manifest.arrays.items():
        for _, name, size in record.chunk_files(0, record.shape[0]):
            if (root / path / name).stat().st_size != size:
                raise OSError(f"{path}/{name} was not written completely")

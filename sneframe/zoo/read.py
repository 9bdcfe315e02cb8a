"""Open a zoo as a selection of networks. A selection returns columns, splits and a batch of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
from attrs import evolve, field, frozen

from sneframe.architecture import Architecture
from sneframe.architecture.origin import by_origin
from sneframe.errors import ZooError
from sneframe.zoo import cache as weights_cache
from sneframe.zoo import integrity
from sneframe.zoo.column import Column
from sneframe.zoo.format import FORMAT, VERSION
from sneframe.zoo.manifest import read_manifest
from sneframe.zoo.select import matches
from sneframe.zoo.staging import machine_errors
from sneframe.zoo.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from sneframe.batch import Batch


def open_zoo(path: str | Path, *, unhealthy: bool = False) -> Zoo:
    """Open a zoo without reading the weights.

    Args:
        path: path of the zoo.
        unhealthy: whether to include networks that are marked as unhealthy. The weights of such networks may
            not be finite.

    Raises:
        ZooError: there is no zoo at the path, or the zoo is half-built, damaged or of a newer format version.
    """
    path = Path(path)
    with machine_errors(path):
        store = Store(path, read_manifest(path))
        ids = np.arange(store.manifest.networks)
        if not unhealthy and store.manifest.healthy < store.manifest.networks:
            ids = np.flatnonzero(store.column("healthy").values)
        return Zoo(store, ids)


def _frozen(ids: np.ndarray) -> np.ndarray:
    ids = ids.astype(np.int64)
    ids.flags.writeable = False
    return ids


@final
@frozen(eq=False, repr=False)
class Zoo:
    """An immutable selection of the networks of a zoo, possibly of all networks.

    :func:`open_zoo` returns a selection, and :meth:`where` and :meth:`select` return smaller selections.
    Every array with one entry for each network has the order of :attr:`ids`.

    Args:
        store: the zoo on disk.
        ids: row numbers of the selected networks in the whole zoo, shape ``(n,)``, int64.
    """

    _store: Store
    ids: np.ndarray = field(converter=_frozen)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Zoo {self.name!r}: {len(self)} of {self._store.manifest.networks} networks, {self.path}>"

    # -- description of the zoo ------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The path of the zoo."""
        return self._store.path

    @property
    def name(self) -> str:
        """The name of the zoo, from its attributes."""
        return self._store.manifest.name

    @property
    def digest(self) -> str:
        """The SHA-256 hash of the whole zoo's content: architectures, weights, columns and splits."""
        return self._store.manifest.digest

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes of the zoo.

        The author wrote ``name``, ``description``, ``licence``, ``source`` and ``builder``. The other
        attributes are ``format``, ``version`` and ``digest``.
        """
        manifest = self._store.manifest
        return MappingProxyType(
            {
                "format": FORMAT,
                "version": VERSION,
                "name": manifest.name,
                "description": manifest.description,
                "licence": manifest.licence,
                "source": manifest.source,
                "builder": manifest.builder,
                "digest": manifest.digest,
            }
        )

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures of the selected networks, in the order of the whole zoo."""
        return tuple(self._store.architectures[number] for number in self._architecture_numbers)

    @property
    def symmetry(self) -> dict[str, int]:
        """The number of networks for each origin of the symmetry, the least reliable first.

        :class:`Architecture` describes the origins.
        """
        counts = np.bincount(self.architecture_index, minlength=len(self.architectures)).tolist()
        return by_origin(
            (architecture.symmetry, count)
            for architecture, count in zip(self.architectures, counts, strict=True)
        )

    @cached_property
    def architecture_index(self) -> np.ndarray:
        """The index of each network's architecture in :attr:`architectures`, shape ``(n,)``."""
        return np.asarray(
            np.searchsorted(self._architecture_numbers, self._store.architecture_index[self.ids])
        )

    @cached_property
    def _architecture_numbers(self) -> np.ndarray:
        """The ascending indices of the selection's architectures among the whole zoo's architectures."""
        return np.unique(self._store.architecture_index[self.ids])

    # -- columns ---------------------------------------------------------------------------------------------

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the properties of the whole zoo."""
        return tuple(self._store.manifest.properties)

    def column(self, name: str) -> np.ndarray:
        """Return the values of a property, or of a column that every zoo has, shape ``(n,)``.

        Every zoo has the columns ``architecture`` (the id), ``architecture_summary``, ``row``, ``group`` and
        ``healthy``.

        Floats are returned as float64, ints as int64, bools as bool, and strings as an object array of str.
        If values are missing, ints and bools are returned as float64 with NaN, and strings with None.

        Raises:
            ZooError: the name is unknown, or the column is damaged.
        """
        return self.typed_column(name).plain()

    def typed_column(self, name: str) -> Column:
        """Return the values of :meth:`column` with their kind and a mask of the missing values.

        Raises:
            ZooError: the name is unknown, or the column is damaged.
        """
        with machine_errors(self.path):
            return self._store.column(name).take(self.ids)

    @property
    def group(self) -> np.ndarray:
        """The run group of each network, shape ``(n,)``, int64 or str.

        The networks of one training run are one run group.
        """
        return self.column("group")

    @property
    def sources(self) -> list[str]:
        """The name of each network.

        The name is the value of the property ``source``, which importers write. In a zoo without that
        property, the name is ``ZOO/NUMBER`` with the name of the zoo and the id of the network.
        """
        if "source" in self.properties:
            return [str(value) for value in self.column("source")]
        return [f"{self.name}/{number}" for number in self.ids.tolist()]

    @property
    def healthy(self) -> np.ndarray:
        """Whether each network is healthy, shape ``(n,)``, bool."""
        return self.column("healthy")

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the stored splits."""
        return self._store.manifest.splits

    def split(self, name: str) -> np.ndarray:
        """Return a split, shape ``(n,)``, int8: 0 train, 1 val, 2 test, -1 unused.

        Raises:
            ZooError: the name is unknown, or the array is damaged.
        """
        with machine_errors(self.path):
            return np.asarray(self._store.split(name)[self.ids])

    # -- selections ------------------------------------------------------------------------------------------

    def where(self, expression: str) -> Zoo:
        """Return the networks for which an expression is true, such as ``step == 86 and healthy``.

        The expression may use the columns of :meth:`column`, numbers, strings, ``True``, ``False``,
        comparisons (also chained), ``in`` and ``not in`` with a tuple or a text column, arithmetic, ``and``,
        ``or``, ``not`` and parentheses. A comparison with a missing value is false, so ``accuracy ==
        accuracy`` selects the networks that have an accuracy.

        Raises:
            ZooError: a column is unknown, the expression is not supported, or its operands do not fit each
                other.
        """
        return self.select(matches(expression, self.typed_column, len(self)))

    def select(self, positions: Sequence[int] | Sequence[bool] | np.ndarray) -> Zoo:
        """Return the networks at some positions of this selection, in the order of the positions.

        Args:
            positions: ints in the order of the new selection, or a mask of n bools that is true for the
                networks to select.

        Raises:
            ZooError: a position does not exist or occurs twice, or the mask does not have the length of this
                selection.
        """
        given = np.asarray(positions)
        if given.dtype == bool:
            if given.shape != (len(self),):
                raise ZooError(f"{self.path}: a mask must have shape ({len(self)},), but got {given.shape}")
            return evolve(self, ids=self.ids[given])
        if given.size == 0:
            given = given.astype(np.int64)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise ZooError(
                f"{self.path}: positions must be ints of shape (n,), but got {given.dtype} of shape "
                f"{given.shape}"
            )
        wrong = given[(given < 0) | (given >= len(self))]
        if len(wrong):
            raise ZooError(
                f"{self.path}: there is no network at position {wrong[0]}; the selection has {len(self)}"
            )
        distinct, counts = np.unique(given, return_counts=True)
        if len(distinct) != len(given):
            raise ZooError(
                f"{self.path}: a network can be selected only once, but position {distinct[counts > 1][0]} "
                f"occurs more than once"
            )
        return evolve(self, ids=self.ids[given])

    # -- weights ---------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The number of bytes that the weights of the selected networks take in single precision."""
        return 4 * int(self._num_weights[self.architecture_index].sum())

    def load(self, cache: str | Path | None = None, *, memory: int | None = None) -> Batch:
        """Read the weights of the selected networks into a batch.

        The batch holds a float32 tensor ``(n_a, P_a)`` for each architecture, and has the ids and the order
        of this selection. If the weights would take more than ``memory``, they are decoded once into files,
        and the tensors are memory-mapped from these files. Such tensors must not be changed in place.

        Args:
            cache: the folder for the files with decoded weights; by default, a folder in the user's cache.
            memory: bytes that the weights may take; by default, half of the free memory.

        Raises:
            ZooError: no network is selected, a chunk is missing or damaged (the error names its file), or a
                weight is too large for single precision.
            MachineError: a file cannot be read or written.
        """
        import torch

        from sneframe.batch import join

        if not len(self):
            raise ZooError(f"{self.path}: no network is selected")
        fits = self.size <= (weights_cache.half_of_free_memory() if memory is None else memory)
        weights, positions = {}, {}
        for architecture, number, here, rows in self._by_architecture():
            blocks = self._store.flat(number, rows)
            with machine_errors(self.path):
                if fits:
                    tensor = torch.empty((len(rows), architecture.num_weights))
                    for start, block in blocks:
                        tensor[start : start + len(block)] = torch.from_numpy(block)
                else:
                    folder = self._decoded(cache, architecture)
                    tensor = weights_cache.mapped(folder, rows, architecture.num_weights, blocks)
            weights[architecture], positions[architecture] = tensor, here
        batch = join(weights, {architecture: self.ids[here] for architecture, here in positions.items()})
        # `join` orders the networks by architecture. The order of the selection is restored here.
        order = np.argsort(np.concatenate(list(positions.values())))
        return evolve(batch, order=order, ids=self.ids)

    def decoded_files(self, cache: str | Path | None = None) -> tuple[weights_cache.DecodedFile, ...]:
        """Return the file from which :meth:`load` maps the weights of each architecture, in their order.

        Args:
            cache: the folder for the files, as in :meth:`load`.
        """
        return tuple(
            weights_cache.DecodedFile(
                weights_cache.file_of(self._decoded(cache, architecture), rows), architecture.num_weights
            )
            for architecture, _, _, rows in self._by_architecture()
        )

    def _decoded(self, cache: str | Path | None, architecture: Architecture) -> Path:
        folder = weights_cache.default_folder() if cache is None else Path(cache)
        return folder / self.digest / architecture.id

    @property
    def _num_weights(self) -> np.ndarray:
        return np.array([architecture.num_weights for architecture in self.architectures])

    def stored(self) -> Iterator[tuple[np.ndarray, Architecture, dict[str, Tensor]]]:
        """Yield the weights of the selected networks in their stored types.

        Each item contains several networks of one architecture.

        Yields:
            The positions ``(n,)`` of n networks in this selection, their architecture, and the values
            ``(n, *shape)`` of each parameter by name.

        Raises:
            ZooError: a chunk is missing or damaged. The error names the file of the chunk.
        """
        import torch

        for architecture, number, here, rows in self._by_architecture():
            bfloat16 = {
                p.name
                for p in architecture.parameters
                if self._store.record(architecture, p).dtype == "bfloat16"
            }
            with machine_errors(self.path):
                for start, arrays in self._store.rows(number, rows):
                    n = len(next(iter(arrays.values())))
                    tensors = {
                        name: torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
                        if name in bfloat16
                        else torch.from_numpy(values)
                        for name, values in arrays.items()
                    }
                    yield here[start : start + n], architecture, tensors

    def _by_architecture(self) -> Iterator[tuple[Architecture, int, np.ndarray, np.ndarray]]:
        """Yield each architecture of this selection, and the networks that have the architecture.

        Yields:
            The architecture, the index of the architecture in the whole zoo, the positions ``(n_a,)`` of the
            networks in this selection, and the ascending row numbers ``(n_a,)`` of the networks among the
            whole zoo's networks of that architecture.
        """
        row = self.column("row")
        numbers = self._architecture_numbers.tolist()
        for index, (number, architecture) in enumerate(zip(numbers, self.architectures, strict=True)):
            here = np.flatnonzero(self.architecture_index == index)
            here = here[np.argsort(row[here])]
            yield architecture, number, here, row[here]

    def verify(self) -> None:
        """Read the whole zoo, not only the selection, and check all files, checksums and columns.

        Raises:
            ZooError: a check fails. The error names the first file with a fault.
        """
        with machine_errors(self.path):
            integrity.verify(self._store)

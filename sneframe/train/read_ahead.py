"""Read the networks of later steps from decoded files, while earlier steps are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from attrs import frozen

from sneframe.batch import Batch, Networks
from sneframe.zoo.cache import DecodedFile

ROOM = 3 / 8  #: the bytes of one portion, as a fraction of the memory for weights; two are held at a time


@frozen(kw_only=True, eq=False)
class Portion:
    """Networks that were read together.

    Args:
        places: ascending places ``(n,)`` of the networks in the order in which they are stored.
        batch: the networks, in the order of ``places``.
    """

    places: np.ndarray
    batch: Batch


class ReadAhead:
    """Copies the networks of announced batches into memory, in a thread of its own.

    Announced batches are read in portions: while one portion is used, the next one is read. A batch that was
    not announced, or is larger than a portion, is read when it is selected. So what is announced decides the
    speed, and never a number.

    Args:
        batch: networks whose weights are mapped from decoded files.
        files: the decoded file of each architecture, in the order of ``batch.networks``.
        memory: bytes that all copies together may take.
    """

    def __init__(self, batch: Batch, files: Sequence[DecodedFile], memory: int) -> None:
        self._batch = batch
        self._files = files
        self._most = int(memory * ROOM)
        counts = [len(networks) for networks in batch.networks]
        self._ends = np.cumsum(counts)
        widths = [4 * networks.architecture.num_weights for networks in batch.networks]
        self._sizes = np.repeat(np.array(widths, np.int64), counts)  # (N,) bytes, by place
        self._ids = np.empty_like(batch.ids)
        self._ids[batch.order] = batch.ids
        # Portions are read into the same two tensors again and again: memory that is freed and allocated anew
        # may leave gaps, and would then take more than is allowed.
        self._rooms: list[torch.Tensor] = []
        self._pool: ThreadPoolExecutor | None = None
        self._held: Portion | None = None
        self._coming: tuple[np.ndarray, Future[Portion]] | None = None
        self._later: Iterator[np.ndarray] = iter(())

    @contextmanager
    def announced(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[None]:
        """Read batches ahead in the ``with`` block, in which :meth:`select` selects them in this order.

        Args:
            batches: lists of arrays of positions. A portion has batches of one list only.
        """
        if not self._rooms:
            most = min(self._most, int(self._sizes.sum())) // 4
            self._rooms = [torch.empty(most) for _ in range(2)]
        self._later = self._portions([[self._batch.order[own] for own in some] for some in batches])
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as self._pool:
            self._submit()
            try:
                yield
            finally:
                self._held, self._coming, self._later = None, None, iter(())

    def select(self, positions: np.ndarray) -> Batch:
        """Return the networks at ``positions``, in that order; see :meth:`sneframe.batch.Batch.select`."""
        places = self._batch.order[positions]
        if self._coming is not None and _rows(self._coming[0], places) is not None:
            held = None if self._held is None else _rows(self._held.places, places)
            if held is None:
                self._held = None  # its room is needed for the portion after the next one
                self._held = self._coming[1].result()
                self._submit()
        rows = None if self._held is None else _rows(self._held.places, places)
        if rows is None:
            return self._batch.select(positions)
        assert self._held is not None
        return self._held.batch.select(rows)

    def _portions(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[np.ndarray]:
        """Yield the ascending places of the networks of each portion, given the places of each batch."""
        for some in batches:
            waiting: list[np.ndarray] = []
            filled = 0
            for places in some:
                size = int(self._sizes[places].sum())
                if waiting and filled + size > self._most:
                    yield np.unique(np.concatenate(waiting))
                    waiting, filled = [], 0
                if len(places) and size <= self._most:
                    waiting.append(places)
                    filled += size
            if waiting:
                yield np.unique(np.concatenate(waiting))

    def _submit(self) -> None:
        """Begin to read the next portion, if there is one."""
        assert self._pool is not None
        self._rooms.reverse()
        places = next(self._later, None)
        self._coming = None
        if places is not None:
            self._coming = places, self._pool.submit(self._read, places, self._rooms[0])

    def _read(self, places: np.ndarray, room: torch.Tensor) -> Portion:
        """Copy the networks at ascending ``places`` into ``room``."""
        cuts = np.searchsorted(places, [0, *self._ends])
        parts = []
        for number, source in enumerate(self._batch.networks):
            rows = places[cuts[number] : cuts[number + 1]] - (self._ends[number] - len(source))
            if len(rows):
                self._files[number].expect(rows)
                parts.append((source.architecture, self._files[number], rows))
        networks, filled = [], 0
        for architecture, file, rows in parts:
            weights = room[filled : filled + len(rows) * file.width].view(len(rows), file.width)
            filled += weights.numel()
            file.read(rows, weights.numpy())
            networks.append(Networks(architecture=architecture, weights=weights))
        batch = Batch(networks=networks, order=np.arange(len(places)), ids=self._ids[places])
        return Portion(places=places, batch=batch)


def _rows(known: np.ndarray, places: np.ndarray) -> np.ndarray | None:
    """Return the index ``(B,)`` of each place in the ascending ``known``, or None if a place is missing."""
    rows = np.searchsorted(known, places)
    found = (rows < len(known)).all() and np.array_equal(known[rows], places)
    return rows if found else None

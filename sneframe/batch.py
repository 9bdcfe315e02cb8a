"""Hold weights in memory: ``Networks`` of one architecture, or a ``Batch`` that mixes architectures.

The letters for sizes in the whole code base, in names and in einops patterns:

    B networks in a batch · L layers or parameters · Q chunks or tokens · C chunk size · S token size
    D code width · E embedding width · P weights of one network · N networks in a zoo · T predicted values
    K probes

Nothing is padded across networks, and the code of a network never depends on the other networks of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.rng import Draw

if TYPE_CHECKING:
    from sneframe.symmetry import Element

BLOCK = 1 << 22  #: largest number of weights copied at a time when every network is read once: 16 MiB


@frozen(kw_only=True, eq=False)
class Networks:
    """Networks of one architecture.

    Args:
        architecture: the architecture of all the networks.
        weights: ``(B, P)``. A row holds the parameters of one network, flattened in the architecture's order.
        original: ``(B, P)``, the weights before a part normalised them, or None if no part has changed them.
            Only the original weights compute what the network computes.
    """

    architecture: Architecture
    weights: Tensor
    original: Tensor | None = None

    def __attrs_post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.shape[1] != self.architecture.num_weights:
            raise ArchitectureError(
                f"weights must be (B, {self.architecture.num_weights}) for {self.architecture.summary}, "
                f"but got {tuple(self.weights.shape)}"
            )
        if self.original is not None and self.original.shape != self.weights.shape:
            raise ArchitectureError(
                f"original weights must be {tuple(self.weights.shape)} like the weights, "
                f"but got {tuple(self.original.shape)}"
            )

    def __len__(self) -> int:
        return self.weights.shape[0]

    @property
    def extent(self) -> tuple[int, int]:
        """The number of networks B, and the width of a weight as a token, which is 1."""
        return len(self), 1

    @property
    def stored(self) -> Tensor:
        """The weights ``(B, P)`` as the networks store them: the original ones if they were normalised."""
        return self.weights if self.original is None else self.original

    def act(self, element: Element) -> Networks:
        """Return g·x: the networks whose neurons the group element has permuted, scaled and flipped.

        The original weights move too.
        """
        return element.move(self)

    def each(self, change: Callable[[Tensor], Tensor]) -> Networks:
        """Return the networks after a change of their weights and, in the same way, their original weights.

        Args:
            change: function that moves or copies weights ``(B, P)``, but computes no other values.
        """
        original = None if self.original is None else change(self.original)
        return evolve(self, weights=change(self.weights), original=original)

    def parameters(self) -> dict[str, Tensor]:
        """Return every parameter by name, as a view ``(B, *shape)`` of the weights."""
        return self.architecture.views(self.weights)


def _networks(values: Iterable[Networks]) -> tuple[Networks, ...]:
    return tuple(values)


@frozen(kw_only=True, eq=False)
class Batch:
    """Networks of any mix of architectures, in an order that does not depend on the architectures.

    Row ``i`` of whatever a model returns for a batch belongs to network ``ids[i]``.

    Args:
        networks: one entry per architecture, each architecture once.
        order: ``(B,)`` host indices that bring the concatenated rows of ``networks`` into the order of
            ``ids``.
        ids: ``(B,)`` host integers, the number of each network (a row of a zoo, an index in a list).
        draw: the training step that the batch is for, from which parts draw random numbers. It is None
            outside a training.
    """

    networks: tuple[Networks, ...] = field(converter=_networks)
    order: np.ndarray
    ids: np.ndarray
    draw: Draw | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures, in the order of :attr:`networks`."""
        return tuple(networks.architecture for networks in self.networks)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.networks[0].weights.device

    @cached_property
    def _place(self) -> tuple[np.ndarray, np.ndarray]:
        """For each position of the batch, the index of its entry in :attr:`networks` and its row there."""
        sizes = [len(networks) for networks in self.networks]
        entry = np.repeat(np.arange(len(sizes)), sizes)
        row = np.concatenate([np.arange(size) for size in sizes])
        return entry[self.order], row[self.order]

    @property
    def entry(self) -> np.ndarray:
        """For each position of the batch, the index of its architecture in :attr:`networks`."""
        return self._place[0]

    def select(self, positions: np.ndarray | Sequence[int]) -> Batch:
        """Return the networks at ``positions``, in that order. No weight is copied to the host."""
        positions = np.asarray(positions, dtype=np.int64)
        entry, row = self._place[0][positions], self._place[1][positions]
        networks, placed = [], []
        for number, source in enumerate(self.networks):
            here = np.flatnonzero(entry == number)
            if len(here):
                index = torch.from_numpy(row[here]).to(source.weights.device, non_blocking=True)
                networks.append(source.each(partial(torch.index_select, dim=0, index=index)))
                placed.append(here)
        order = np.argsort(np.concatenate(placed), kind="stable") if placed else np.zeros(0, np.int64)
        return Batch(networks=networks, order=order, ids=self.ids[positions], draw=self.draw)

    def blocks(self, positions: np.ndarray | None = None) -> Iterator[Batch]:
        """Yield the networks in batches of one architecture, each network once.

        A batch has at most :data:`BLOCK` weights, or holds a single larger network. A zoo that is mapped from
        a file is therefore never copied as a whole.

        Args:
            positions: positions of the networks; all networks if not given.
        """
        positions = np.arange(len(self)) if positions is None else positions
        entry = self.entry[positions]
        for number, architecture in enumerate(self.architectures):
            here = positions[entry == number]
            size = max(1, BLOCK // max(1, architecture.num_weights))
            for start in range(0, len(here), size):
                yield self.select(here[start : start + size])

    def replace(self, weights: Iterable[Tensor]) -> Batch:
        """Return networks with other weights, one ``(B, P)`` tensor per architecture.

        They are other networks, with their own original weights. If the weights were only normalised, the
        part of the slot ``normalise`` that did so adds the original ones to the result.
        """
        pairs = zip(self.networks, weights, strict=True)
        return evolve(self, networks=[evolve(n, weights=w, original=None) for n, w in pairs])

    def normalised_from(self, batch: Batch) -> Batch:
        """Return this batch with the original weights of another batch of the same networks.

        Args:
            batch: the networks before they were normalised.
        """
        if self is batch:
            return self
        networks = [
            evolve(own, original=source.original if own.weights is source.weights else source.stored)
            for own, source in zip(self.networks, batch.networks, strict=True)
        ]
        return evolve(self, networks=networks)

    def joined(self, architecture: Architecture) -> Batch:
        """Return the same networks as networks of one architecture that has the same parameters."""
        weights = torch.cat([networks.weights for networks in self.networks])
        changed = any(networks.original is not None for networks in self.networks)
        original = torch.cat([networks.stored for networks in self.networks]) if changed else None
        joined = Networks(architecture=architecture, weights=weights, original=original)
        return evolve(self, networks=(joined,))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Batch:
        """Return the batch on another device, or with another floating-point type."""

        def copied(weights: Tensor) -> Tensor:
            return weights.to(device=device, dtype=dtype, non_blocking=True)

        return evolve(self, networks=[networks.each(copied) for networks in self.networks])

    def restore(self, rows: Sequence[Tensor]) -> Tensor:
        """Concatenate one tensor ``(B_a, …)`` per architecture. The rows of the result follow :attr:`ids`."""
        joined = rows[0] if len(rows) == 1 else torch.cat(tuple(rows))
        if self._in_order:
            return joined
        return joined.index_select(0, torch.from_numpy(self.order).to(joined.device, non_blocking=True))

    def rows(self, values: Tensor) -> list[Tensor]:
        """Split values ``(B, …)``, in the order of :attr:`ids`, into one tensor per architecture."""
        if not self._in_order:
            inverse = np.empty_like(self.order)
            inverse[self.order] = np.arange(len(self.order))
            values = values.index_select(0, torch.from_numpy(inverse).to(values.device, non_blocking=True))
        return list(values.split([len(networks) for networks in self.networks]))

    @cached_property
    def _in_order(self) -> bool:
        return bool(np.array_equal(self.order, np.arange(len(self.order))))


def from_state_dicts(
    states: Sequence[Mapping[str, Tensor]], *, activation: str | None = None, trust_names: bool = False
) -> Batch:
    """Stack state dicts into a batch; network ``i`` is ``states[i]``.

    Args:
        states: state dicts of modules.
        activation: activation after every layer but the last; see :meth:`Architecture.from_state_dict`.
        trust_names: whether to trust names and shapes where they leave doubt; see there.

    Raises:
        ArchitectureError: a state dict cannot be described.
    """
    return stacked(
        (Architecture.from_state_dict(state, activation=activation, trust_names=trust_names), state)
        for state in states
    )


def flatten(
    architecture: Architecture, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the parameters of a state dict as ``(P,)``, flattened in the architecture's order."""
    return torch.cat([state[p.name].detach().reshape(-1).to(dtype) for p in architecture.parameters])


def stacked(described: Iterable[tuple[Architecture, Mapping[str, Tensor]]]) -> Batch:
    """Stack state dicts, each given with its architecture, into a batch. Network ``i`` is the i-th of them.

    If equal architectures have symmetries of different origin, the weakest origin is kept.

    Raises:
        ArchitectureError: there is no state dict.
    """
    rows: dict[Architecture, list[Tensor]] = {}
    positions: dict[Architecture, list[int]] = {}
    weakest: dict[Architecture, Architecture] = {}
    for position, (architecture, state) in enumerate(described):
        rows.setdefault(architecture, []).append(flatten(architecture, state))
        positions.setdefault(architecture, []).append(position)
        weakest[architecture] = weakest.get(architecture, architecture).weakened(architecture.symmetry)
    if not rows:
        raise ArchitectureError("a batch needs at least one network, but got none")
    return join(
        {weakest[architecture]: torch.stack(found) for architecture, found in rows.items()}, positions
    )


def join(
    weights: Mapping[Architecture, Tensor], ids: Mapping[Architecture, Sequence[int] | np.ndarray]
) -> Batch:
    """Build a batch, ordered by id, from the ``(B_a, P_a)`` weights and the ids of each architecture."""
    joined = np.concatenate([np.asarray(ids[architecture], dtype=np.int64) for architecture in weights])
    order = np.argsort(joined, kind="stable")
    networks = [
        Networks(architecture=architecture, weights=tensor) for architecture, tensor in weights.items()
    ]
    return Batch(networks=networks, order=order, ids=joined[order])

"""Splits: the groups of networks in, train, val, test or unused of each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sneframe.errors import ZooError

TRAIN, VAL, TEST, UNUSED = 0, 1, 2, -1
NAMES = ("train", "val", "test")


def by_group(
    group: Sequence[int] | Sequence[str] | np.ndarray,
    *,
    sizes: Sequence[int] | None = None,
    fractions: Sequence[float] | None = None,
    seed: int,
) -> np.ndarray:
    """Draw a split that leaves every group whole.

    The groups, sorted by label and then shuffled, are laid end to end; train, val and test are three
    stretches of that line, and a group belongs to the stretch that its middle lies in. So where every group
    is one network the sizes are met exactly, and otherwise each border is off by half a group at most. The
    draw depends on the labels, their sizes and the seed alone, not on the order of the networks.

    Args:
        group: ``(N,)`` ints or strings, such as ``zoo.group``.
        sizes: how many networks are to be train, val and test; what is left over is unused.
        fractions: the same as fractions of N, of sum 1 at most.
        seed: of the shuffle.

    Returns:
        ``(N,)`` int8: 0 train, 1 val, 2 test, -1 unused.

    Raises:
        ZooError: sizes or fractions that are impossible, or one of the three ends up empty.
    """
    labels = np.asarray(group)
    if labels.ndim != 1:
        raise ZooError(f"a split needs one group per network, got shape {labels.shape}")
    borders = _borders(len(labels), sizes, fractions)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    ends = np.cumsum(counts[shuffled])
    middles = ends - counts[shuffled] / 2
    split_of_group = np.empty(len(counts), np.int8)
    split_of_group[shuffled] = np.array([TRAIN, VAL, TEST, UNUSED], np.int8)[
        np.searchsorted(borders, middles, "right")
    ]
    assignment = split_of_group[index]
    for code, name in enumerate(NAMES):
        if not (assignment == code).any():
            raise ZooError(f"{name} is empty: {len(counts)} groups of up to {counts.max(initial=0)} networks")
    return assignment


def share(group: Sequence[int] | Sequence[str] | np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """Draw a fraction of some networks that leaves every group whole; a smaller one lies within a larger one.

    The groups are laid end to end as in :func:`by_group`; those are drawn whose middle lies before the border.

    Args:
        group: ``(N,)`` ints or strings, one label per network.
        fraction: of the networks, in (0, 1].
        seed: of the shuffle.

    Returns:
        ``(N,)`` bool.

    Raises:
        ZooError: no group fits in.
    """
    _, index, counts = np.unique(np.asarray(group), return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    middles = np.cumsum(counts[shuffled]) - counts[shuffled] / 2
    drawn = np.empty(len(counts), bool)
    drawn[shuffled] = middles < np.rint(fraction * len(index))
    if not drawn.any():
        raise ZooError(
            f"a fraction of {fraction:g} leaves none of {len(counts)} groups of up to {counts.max(initial=0)} networks"
        )
    return np.asarray(drawn[index])


def _borders(n: int, sizes: Sequence[int] | None, fractions: Sequence[float] | None) -> np.ndarray:
    """Return how many networks lie before the end of train, of val, and of test."""
    if (sizes is None) == (fractions is None):
        raise ZooError("a split needs either sizes or fractions")
    given: Any = sizes if fractions is None else fractions
    parts = np.asarray(given, dtype=float)
    if parts.shape != (3,) or not (parts > 0).all():
        raise ZooError(f"a split needs three positive numbers (train, val, test), got {list(given)}")
    if fractions is not None:
        if parts.sum() > 1 + 1e-9:
            raise ZooError(f"fractions must add up to 1 at most, got {list(given)}")
        return np.asarray(np.rint(np.cumsum(parts) * n))
    if not all(isinstance(size, int | np.integer) for size in given):
        raise ZooError(
            f"sizes are counts of networks, got {list(given)}; for parts of the whole pass fractions"
        )
    if parts.sum() > n:
        raise ZooError(f"sizes {list(given)} add up to {int(parts.sum())}, there are {n} networks")
    return np.asarray(np.cumsum(parts))


def check_assignment(assignment: Sequence[int] | np.ndarray, group: np.ndarray, what: str) -> np.ndarray:
    """Return an assignment as ``(N,)`` int8, if it is one of these networks and leaves groups whole.

    Raises:
        ZooError: other values, another length, or a group that lies in two of train, val and test.
    """
    given = np.asarray(assignment)
    if given.shape != group.shape:
        raise ZooError(f"{what}: shape ({len(group)},) is needed, one value per network, got {given.shape}")
    if given.dtype.kind not in "iu" or not np.isin(given, (TRAIN, VAL, TEST, UNUSED)).all():
        raise ZooError(f"{what}: values must be 0 (train), 1 (val), 2 (test) or -1 (unused)")
    used = np.flatnonzero(given != UNUSED)
    labels, index = np.unique(group[used], return_inverse=True)
    lowest, highest = np.full(len(labels), TEST), np.full(len(labels), TRAIN)
    np.minimum.at(lowest, index, given[used].astype(int))
    np.maximum.at(highest, index, given[used].astype(int))
    for label, low, high in zip(labels.tolist(), lowest, highest, strict=True):
        if low != high:
            raise ZooError(f"{what}: group {label!r} lies in {NAMES[low]} and in {NAMES[high]}")
    return given.astype(np.int8)

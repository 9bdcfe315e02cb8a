"""Splits: assign networks to train, val, test or unused, without dividing a run group."""

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
    """Draw a split that divides no run group.

    The groups are sorted by label, shuffled, and laid end to end on a line. Train, val and test are three
    consecutive stretches of that line, and a group belongs to the stretch that contains its middle. If every
    group is one network, the sizes are therefore exact; otherwise each border is off by at most half a group.
    The split depends only on the labels, the sizes of the groups and the seed, not on the order of the
    networks.

    Args:
        group: run group of each network, shape ``(N,)``, ints or strings, such as ``zoo.group``.
        sizes: number of networks for train, val and test; the rest is unused.
        fractions: the same as fractions of N, with a sum of at most 1.
        seed: seed of the shuffle.

    Returns:
        An array of shape ``(N,)``, int8: 0 train, 1 val, 2 test, -1 unused.

    Raises:
        ZooError: the sizes or fractions are impossible, or train, val or test would be empty.
    """
    labels = np.asarray(group)
    if labels.ndim != 1:
        raise ZooError(f"a split needs one group per network, got groups of shape {labels.shape}")
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
            raise ZooError(
                f"{name} is empty: no split divides a group, and there are {len(counts)} groups of up to "
                f"{counts.max(initial=0)} networks"
            )
    return assignment


def draw_fraction(
    group: Sequence[int] | Sequence[str] | np.ndarray, *, fraction: float, seed: int
) -> np.ndarray:
    """Draw a fraction of the networks without dividing a run group.

    The groups are laid end to end as in :func:`by_group`; a group is drawn if its middle lies before the
    border. A smaller fraction is therefore a subset of a larger one with the same seed.

    Args:
        group: run group of each network, shape ``(N,)``, ints or strings.
        fraction: fraction of the networks to draw, in (0, 1].
        seed: seed of the shuffle.

    Returns:
        A mask of shape ``(N,)``, bool.

    Raises:
        ZooError: the fraction is too small for any group.
    """
    _, index, counts = np.unique(np.asarray(group), return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    middles = np.cumsum(counts[shuffled]) - counts[shuffled] / 2
    drawn = np.empty(len(counts), bool)
    drawn[shuffled] = middles < np.rint(fraction * len(index))
    if not drawn.any():
        raise ZooError(
            f"a fraction of {fraction:g} leaves none of the {len(counts)} groups, which have up to "
            f"{counts.max(initial=0)} networks"
        )
    return np.asarray(drawn[index])


def _borders(n: int, sizes: Sequence[int] | None, fractions: Sequence[float] | None) -> np.ndarray:
    """Return the number of networks up to the end of train, of val and of test, shape ``(3,)``."""
    if (sizes is None) == (fractions is None):
        raise ZooError("a split needs either sizes or fractions")
    given: Any = sizes if fractions is None else fractions
    parts = np.asarray(given, dtype=float)
    if parts.shape != (3,) or not (parts > 0).all():
        raise ZooError(f"a split needs three positive numbers (train, val, test), got {list(given)}")
    if fractions is not None:
        if parts.sum() > 1 + 1e-9:
            raise ZooError(f"fractions must add up to at most 1, got {list(given)}")
        return np.asarray(np.rint(np.cumsum(parts) * n))
    if not all(isinstance(size, int | np.integer) for size in given):
        raise ZooError(
            f"sizes must be whole numbers of networks, got {list(given)}; use fractions for parts of the zoo"
        )
    if parts.sum() > n:
        raise ZooError(f"sizes {list(given)} add up to {int(parts.sum())}, but there are only {n} networks")
    return np.asarray(np.cumsum(parts))


def check_assignment(assignment: Sequence[int] | np.ndarray, group: np.ndarray, what: str) -> np.ndarray:
    """Check that an assignment fits the networks and divides no run group; return it as int8, shape ``(N,)``.

    Args:
        assignment: the split to check.
        group: run group of each network, shape ``(N,)``.
        what: what errors call the split.

    Raises:
        ZooError: the values or the length are wrong, or a group is divided between train, val and test.
    """
    given = np.asarray(assignment)
    if given.shape != group.shape:
        raise ZooError(f"{what}: must have one value per network, shape ({len(group)},), got {given.shape}")
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

"""Draw and check splits. A split assigns each network to train, val, test or unused.

All networks of a run group are assigned to the same part.
"""

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

    The run groups are sorted by label and then shuffled. Each group occupies an interval on a line, as long
    as its number of networks. Train, val and test are three consecutive intervals of the same line, and a
    group is assigned to the part whose interval contains the middle of the group. If every group is one
    network, the sizes of the parts are therefore exact. Otherwise each border between two parts is off by at
    most half a group. The split depends on the labels, the sizes of the groups and the seed, but not on the
    order of the networks.

    Args:
        group: run group of each network, shape ``(N,)``, ints or strings, such as ``zoo.group``.
        sizes: number of networks for train, val and test. The remaining networks are unused.
        fractions: fractions of the N networks for train, val and test, with a sum of at most 1. Either
            ``sizes`` or ``fractions`` must be given.
        seed: seed of the shuffle.

    Returns:
        An array of shape ``(N,)``, int8: 0 train, 1 val, 2 test, -1 unused.

    Raises:
        ZooError: the sizes or fractions are impossible, or train, val or test would be empty.
    """
    labels = np.asarray(group)
    if labels.ndim != 1:
        raise ZooError(f"a split needs one group per network, but got groups of shape {labels.shape}")
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

    The run groups are shuffled and placed on a line as in :func:`by_group`. A group is drawn if its middle
    lies within the first ``fraction`` of the line. With the same seed, the networks of a smaller fraction are
    therefore a subset of the networks of a larger fraction.

    Args:
        group: run group of each network, shape ``(N,)``, ints or strings.
        fraction: fraction of the networks to draw, in (0, 1].
        seed: seed of the shuffle.

    Returns:
        A mask of shape ``(N,)``, bool, that is true for the networks that are drawn.

    Raises:
        ZooError: the fraction is so small that no group is drawn.
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
    """Return the cumulative number of networks after train, after val and after test, shape ``(3,)``."""
    if (sizes is None) == (fractions is None):
        raise ZooError("a split needs either sizes or fractions")
    given: Any = sizes if fractions is None else fractions
    parts = np.asarray(given, dtype=float)
    if parts.shape != (3,) or not (parts > 0).all():
        raise ZooError(f"a split needs three positive numbers (train, val, test), but got {list(given)}")
    if fractions is not None:
        if parts.sum() > 1 + 1e-9:
            raise ZooError(f"fractions must add up to at most 1, but got {list(given)}")
        return np.asarray(np.rint(np.cumsum(parts) * n))
    if not all(isinstance(size, int | np.integer) for size in given):
        raise ZooError(
            f"sizes must be whole numbers of networks, but got {list(given)}; use fractions for parts of "
            f"the zoo"
        )
    if parts.sum() > n:
        raise ZooError(f"sizes {list(given)} add up to {int(parts.sum())}, but there are only {n} networks")
    return np.asarray(np.cumsum(parts))


def check_assignment(assignment: Sequence[int] | np.ndarray, group: np.ndarray, what: str) -> np.ndarray:
    """Check that a split has one valid value for each network and divides no run group.

    Args:
        assignment: the split to check, shape ``(N,)``.
        group: run group of each network, shape ``(N,)``.
        what: the name of the split, for errors.

    Returns:
        The assignment as int8, shape ``(N,)``.

    Raises:
        ZooError: the values or the length are wrong, or a group is divided between train, val and test.
    """
    given = np.asarray(assignment)
    if given.shape != group.shape:
        raise ZooError(
            f"{what}: must have one value per network, shape ({len(group)},), but got {given.shape}"
        )
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

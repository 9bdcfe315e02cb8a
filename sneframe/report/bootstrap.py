"""Bootstrap over test networks: compute a metric of the predictions for every resample of the networks.

A resample says how often each of n networks is drawn. Networks of one run group, such as checkpoints of one
training run, are not independent, so whole run groups are drawn. All methods are scored on the same
resamples, so the difference of two methods is paired. Scores come from the counts by matrix products, without
a loop over resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

DRAWS = 10_000
SEED = 0
BLOCK = 1 << 22  #: number of counts that are drawn at a time, which take 16 MiB
KEPT = 1 << 25  #: largest number of counts that are kept for the next method, which take 128 MiB
MOST_FOR_TAU = 5_000  #: with more networks τ is not resampled, because τ compares all pairs of networks
LEVEL = 0.95


def resampled(
    metric: str,
    true: np.ndarray,
    predicted: np.ndarray,
    draws: int = DRAWS,
    *,
    group: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return the value of a metric in each resample, as ``(draws,)``. An undefined value is NaN.

    Args:
        metric: ``mse``, ``r2``, ``tau`` or ``accuracy``, as :mod:`sneframe.metrics` defines them.
        true: ``(n,)`` numbers, or labels.
        predicted: ``(n,)`` predictions, of the same type.
        draws: number of resamples.
        group: ``(n,)`` run groups, which are drawn as a whole. If None, every network is a group of its own.

    Returns:
        None for τ of more than :data:`MOST_FOR_TAU` networks, for the accuracy of numbers, and for every
        other metric of labels (a Brier score needs the probabilities of all classes, which are not kept).
    """
    if (true.dtype.kind in "OU") != (metric == "accuracy"):
        return None
    blocks: Iterable[np.ndarray] = counts(len(true), draws)
    if group is not None and len(np.unique(group)) < len(true):
        blocks = _Grouped(group, draws)
    if metric == "accuracy":
        return _means(blocks, (true == predicted).astype(np.float64))[:, 0]
    if metric == "tau" and len(true) > MOST_FOR_TAU:
        return None
    score = {"mse": _mse, "r2": _r2, "tau": _tau}[metric]
    with np.errstate(divide="ignore", invalid="ignore"):
        return score(np.asarray(true, np.float64), np.asarray(predicted, np.float64), blocks)


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the limits of the middle 95 % of the values; None if most values are undefined."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def counts(networks: int, draws: int) -> Iterable[np.ndarray]:
    """Return how often each resample draws each network, in float32 blocks ``(d, n)``. All calls agree."""
    return _kept(networks, draws) if networks * draws <= KEPT else _Drawn(networks, draws)


class _Drawn:
    """Draws blocks of counts anew at each iteration. The seed is fixed, so the counts are always the same.

    Args:
        networks: n, the number of networks.
        draws: number of resamples.
    """

    def __init__(self, networks: int, draws: int) -> None:
        self._networks, self._draws = networks, draws

    def __iter__(self) -> Iterator[np.ndarray]:
        networks, draws = self._networks, self._draws
        generator, size = np.random.default_rng(SEED), max(1, BLOCK // networks)
        for start in range(0, draws, size):
            rows = min(size, draws - start)
            drawn = generator.integers(networks, size=(rows, networks)) + np.arange(rows)[:, None] * networks
            times = np.bincount(drawn.ravel(), minlength=rows * networks)
            yield times.reshape(rows, networks).astype(np.float32)


class _Grouped:
    """Yields blocks of counts in which the networks of a run group are drawn together.

    Args:
        group: ``(n,)`` run group of each network.
        draws: number of resamples.
    """

    def __init__(self, group: np.ndarray, draws: int) -> None:
        groups, self._index = np.unique(group, return_inverse=True)
        self._counts = counts(len(groups), draws)

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._counts:
            yield block[:, self._index]


@lru_cache(maxsize=2)
def _kept(networks: int, draws: int) -> tuple[np.ndarray, ...]:
    return tuple(_Drawn(networks, draws))


def _mse(true: np.ndarray, predicted: np.ndarray, blocks: Iterable[np.ndarray]) -> np.ndarray:
    return _means(blocks, (true - predicted) ** 2)[:, 0]


def _r2(true: np.ndarray, predicted: np.ndarray, blocks: Iterable[np.ndarray]) -> np.ndarray:
    centred = true - true.mean()
    error, square, mean = _means(blocks, (true - predicted) ** 2, centred**2, centred).T
    variance = square - mean**2
    # A resample of one network, or of equal true values, has a variance that is only rounding.
    variance[variance <= 1e-12 * centred.var()] = np.nan
    return 1 - error / variance


def _tau(true: np.ndarray, predicted: np.ndarray, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return τ-b = Σ_{i<j} s_ij t_ij / √(untied in s · untied in t). A pair counts each time it is drawn."""
    agree = _signs(true) * _signs(predicted)
    values = []
    for block in blocks:
        pairs = np.einsum("dn,dn->d", block @ agree, block, dtype=np.float64)
        untied = _untied(true, block) * _untied(predicted, block)
        values.append(pairs / np.sqrt(untied))
    return np.concatenate(values)


def _means(blocks: Iterable[np.ndarray], *values: np.ndarray) -> np.ndarray:
    """Return the means of k arrays ``(n,)`` in each resample, as ``(draws, k)``."""
    stacked = np.stack(values, axis=1)
    return np.concatenate([(block @ stacked) / block.sum(1, keepdims=True) for block in blocks])


def _signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values[None, :]).astype(np.float32)


def _untied(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return, per resample, twice the number of pairs with different values: n² − Σ (count of a value)²."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
    ordered = block[:, order].astype(np.float64)
    equal = np.add.reduceat(ordered, starts, axis=1)
    return np.asarray(ordered.sum(axis=1) ** 2 - (equal**2).sum(axis=1))

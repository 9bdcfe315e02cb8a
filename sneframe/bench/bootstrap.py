"""The bootstrap over test networks: predictions in, a draw of each metric for every resample out.

A resample is how often each of n networks is drawn. All methods are scored on the same resamples, so that the difference
of two methods is paired. Scores come from those counts by matrix products, in no loop over resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

DRAWS = 10_000
SEED = 0
BLOCK = 1 << 22  #: counts at a time: 16 MiB
KEPT = 1 << 25  #: counts that are kept for the next method: 128 MiB
MOST_FOR_TAU = 5_000  #: networks, of which τ compares all pairs
LEVEL = 0.95


def resampled(metric: str, true: np.ndarray, predicted: np.ndarray, draws: int = DRAWS) -> np.ndarray | None:
    """Return ``(draws,)`` values of a metric, NaN in resamples where it is undefined.

    Args:
        metric: ``mse``, ``r2``, ``tau`` or ``accuracy``, as :mod:`sneframe.metrics` defines them.
        true: ``(n,)`` numbers, or labels.
        predicted: ``(n,)``.
        draws: how many resamples.

    Returns:
        None where τ is asked for more than :data:`MOST_FOR_TAU` networks, the accuracy of numbers, or of labels anything
        else (of a Brier score the probabilities are not kept).
    """
    if (true.dtype.kind in "OU") != (metric == "accuracy"):
        return None
    if metric == "accuracy":
        return _means(draws, (true == predicted).astype(np.float64))[:, 0]
    if metric == "tau" and len(true) > MOST_FOR_TAU:
        return None
    score = {"mse": _mse, "r2": _r2, "tau": _tau}[metric]
    with np.errstate(divide="ignore", invalid="ignore"):
        return score(np.asarray(true, np.float64), np.asarray(predicted, np.float64), draws)


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the limits between which the middle 95 % of resamples lie; None where most of them are undefined."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def counts(networks: int, draws: int) -> Iterable[np.ndarray]:
    """Return ``(d, n)`` float32 blocks of how often each network is drawn in each resample; always the same ones."""
    return _kept(networks, draws) if networks * draws <= KEPT else _drawn(networks, draws)


@lru_cache(maxsize=2)
def _kept(networks: int, draws: int) -> tuple[np.ndarray, ...]:
    return tuple(_drawn(networks, draws))


def _drawn(networks: int, draws: int) -> Iterator[np.ndarray]:
    generator, size = np.random.default_rng(SEED), max(1, BLOCK // networks)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = generator.integers(networks, size=(rows, networks)) + np.arange(rows)[:, None] * networks
        times = np.bincount(drawn.ravel(), minlength=rows * networks)
        yield times.reshape(rows, networks).astype(np.float32)


def _mse(true: np.ndarray, predicted: np.ndarray, draws: int) -> np.ndarray:
    return _means(draws, (true - predicted) ** 2)[:, 0]


def _r2(true: np.ndarray, predicted: np.ndarray, draws: int) -> np.ndarray:
    centred = true - true.mean()
    error, square, mean = _means(draws, (true - predicted) ** 2, centred**2, centred).T
    variance = square - mean**2
    # A resample of one network, or of equal truths, has a variance of rounding.
    variance[variance <= 1e-12 * centred.var()] = np.nan
    return 1 - error / variance


def _tau(true: np.ndarray, predicted: np.ndarray, draws: int) -> np.ndarray:
    """τ-b = Σ_{i<j} s_ij t_ij / √(pairs untied in s · pairs untied in t), each pair as often as both are drawn."""
    agree = _signs(true) * _signs(predicted)
    values = []
    for block in counts(len(true), draws):
        pairs = np.einsum("dn,dn->d", block @ agree, block, dtype=np.float64)
        untied = _untied(true, block) * _untied(predicted, block)
        values.append(pairs / np.sqrt(untied))
    return np.concatenate(values)


def _means(draws: int, *values: np.ndarray) -> np.ndarray:
    """Return ``(draws, k)`` means of k times ``(n,)`` values."""
    stacked = np.stack(values, axis=1)
    return np.concatenate([block @ stacked for block in counts(len(stacked), draws)]) / len(stacked)


def _signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values[None, :]).astype(np.float32)


def _untied(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return ``(d,)`` twice the number of pairs whose values differ: n² less the squares of how often each occurs."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
    equal = np.add.reduceat(block[:, order].astype(np.float64), starts, axis=1)
    return np.asarray(len(values) ** 2 - (equal**2).sum(axis=1))

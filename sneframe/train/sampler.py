"""Choose the networks of each training step, as a pure function of seed and epoch."""

from __future__ import annotations

import math

import numpy as np


def steps_per_epoch(networks: int, batch_size: int) -> int:
    """Return the number of steps in one pass over the training networks."""
    return math.ceil(networks / batch_size)


def smallest_batch(networks: int, batch_size: int) -> int:
    """Return the number of networks in the smallest step of an epoch; see :func:`epoch_batches`."""
    return networks // steps_per_epoch(networks, batch_size)


def epoch_batches(
    train: np.ndarray, *, batch_size: int, seed: int, epoch: int, kinds: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the batch of each step of an epoch, as an array of positions.

    A batch is the whole batch of a step, which the processes divide among themselves. The batches of an epoch
    differ in size by at most one network, so that no batch is a small remainder.

    Args:
        train: ``(n,)`` positions of the training networks.
        batch_size: largest number of networks in a step.
        seed: seed of the run.
        epoch: number of the epoch, counted from 0.
        kinds: ``(N,)`` ints: the kind of the network at each position. Every kind then makes up the same
            fraction of the epoch: networks of a rare kind are repeated, and some networks of a frequent kind
            are left out. If it is None, an epoch has each network once.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(train)
    if kinds is not None:
        order = generator.permutation(_balanced(order, kinds[order]))
    return np.array_split(order, steps_per_epoch(len(train), batch_size))


def _balanced(order: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Repeat or leave out positions until all kinds are equally frequent, up to a difference of one.

    The result has as many positions as ``order``. The positions of a kind stay in the same order.

    Args:
        order: ``(n,)`` positions of networks.
        kinds: ``(n,)`` kinds of the networks at these positions.
    """
    names = np.unique(kinds)
    parts = np.array_split(order, len(names))  # only the lengths of these parts are used
    return np.concatenate(
        [np.resize(order[kinds == name], len(part)) for name, part in zip(names, parts, strict=True)]
    )


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of torch's global generator for a step in a process. Dropout uses this generator."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)

"""The order of training: which networks make up which step, a pure function of seed and epoch."""

from __future__ import annotations

import math

import numpy as np


def steps_per_epoch(networks: int, batch_size: int) -> int:
    """Return how many steps one pass over the training networks takes."""
    return math.ceil(networks / batch_size)


def smallest_batch(networks: int, batch_size: int) -> int:
    """Return how many networks the smallest step of an epoch has; see :func:`epoch_batches`."""
    return networks // steps_per_epoch(networks, batch_size)


def epoch_batches(
    train: np.ndarray, *, batch_size: int, seed: int, epoch: int, kinds: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the positions of each step's whole batch, over all processes.

    The batches of an epoch differ by at most one network in size, so that none is a small remainder.

    Args:
        train: ``(n,)`` positions of the training networks.
        batch_size: at most so many networks a step.
        seed: of the run.
        epoch: counted from 0.
        kinds: ``(N,)`` at every position the kind of the network, of which every one is to make up the same part of the
            epoch: networks of a rare kind come more than once then, of a frequent one not all. None: each network once.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(train)
    if kinds is not None:
        order = generator.permutation(_balanced(order, kinds[order]))
    return np.array_split(order, steps_per_epoch(len(train), batch_size))


def _balanced(order: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return as many positions, of each kind as many as of any other but for one, each kind in its order over and over."""
    names = np.unique(kinds)
    shares = np.array_split(order, len(names))  # of which only the lengths count
    return np.concatenate(
        [np.resize(order[kinds == name], len(share)) for name, share in zip(names, shares, strict=True)]
    )


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of what a step draws from torch's own generator, such as dropout."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)

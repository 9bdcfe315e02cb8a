"""Choose the networks of each training step, as a pure function of seed and epoch.

The networks of an epoch are shuffled in one of two ways. Either all of them are shuffled together, or they
are shuffled in blocks (Xu et al., "In-Database Machine Learning with CorgiPile", SIGMOD 2022): blocks of
networks that lie next to each other are drawn in random order into a shuffle buffer, and the networks of a
full buffer are shuffled together. The second way reads files in long stretches, and needs memory for the
buffer only.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import evolve, frozen

from sneframe.config.byte_size import in_bytes, rounded_down
from sneframe.config.schema import TrainConfig

BLOCK = 1 << 20  #: bytes of a block by default: so many are read almost as fast as a whole file
BUFFER = 1 / 3  #: the shuffle buffer by default, as a fraction of the memory for weights


@frozen(kw_only=True, eq=False)
class BlockShuffle:
    """How an epoch is shuffled in blocks.

    Args:
        place: ``(N,)`` ints: the place of each network in the order in which the networks are stored.
        sizes: ``(N,)`` ints: the bytes of the weights of each network.
        block: number of networks in a block.
        buffer: bytes of the weights in a full shuffle buffer.
    """

    place: np.ndarray
    sizes: np.ndarray
    block: int
    buffer: int


def settled(train: TrainConfig, sizes: np.ndarray, *, memory: int, mapped: bool) -> TrainConfig:
    """Return the configuration with the values that depend on the machine by default.

    These are ``shuffle``, and the ``block`` and the ``buffer`` if networks are shuffled in blocks.

    Args:
        train: the configuration of the training.
        sizes: ``(n,)`` bytes of the weights of each training network.
        memory: bytes that weights may take.
        mapped: whether the weights take more than that, so that they are read from files.
    """
    shuffle = train.shuffle if train.shuffle != "auto" else ("blocks" if mapped else "all")
    if shuffle == "all":
        return evolve(train, shuffle=shuffle)
    block = train.block or max(1, round(BLOCK / max(1.0, float(sizes.mean()))))
    return evolve(
        train, shuffle=shuffle, block=block, buffer=train.buffer or rounded_down(max(1, int(memory * BUFFER)))
    )


def blocks_of(train: TrainConfig, place: np.ndarray, sizes: np.ndarray) -> BlockShuffle | None:
    """Return how a settled configuration shuffles in blocks, or None if it shuffles all networks together.

    Args:
        train: a configuration that :func:`settled` returned.
        place: see :class:`BlockShuffle`.
        sizes: see :class:`BlockShuffle`.
    """
    if train.shuffle != "blocks":
        return None
    assert train.block is not None
    assert train.buffer is not None
    return BlockShuffle(place=place, sizes=sizes, block=train.block, buffer=in_bytes(train.buffer))


def steps_per_epoch(networks: int, batch_size: int) -> int:
    """Return the number of steps in one pass over the training networks."""
    return math.ceil(networks / batch_size)


def smallest_batch(networks: int, batch_size: int) -> int:
    """Return the number of networks in the smallest step of an epoch; see :func:`epoch_batches`."""
    return networks // steps_per_epoch(networks, batch_size)


def epoch_batches(
    train: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    kinds: np.ndarray | None = None,
    blocks: BlockShuffle | None = None,
) -> list[list[np.ndarray]]:
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
        blocks: how the epoch is shuffled in blocks; by default, all networks are shuffled together.

    Returns:
        The batches in lists, one for each shuffle buffer. A batch is in the list of the buffer that has its
        first network; its last networks may be those of the next buffer. Without blocks, there is one list.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(train)
    if kinds is not None:
        order = _balanced(order, kinds[order])
    if blocks is not None:
        buffers = _in_blocks(order, blocks, generator)
    else:
        buffers = [order if kinds is None else generator.permutation(order)]
    batches = np.array_split(np.concatenate(buffers), steps_per_epoch(len(train), batch_size))
    starts = np.cumsum([0, *(len(batch) for batch in batches[:-1])])
    owner = np.searchsorted(np.cumsum([len(buffer) for buffer in buffers]), starts, side="right")
    # A buffer that is smaller than a batch may own no batch. It then needs no list either.
    return [[batches[step] for step in np.flatnonzero(owner == number)] for number in np.unique(owner)]


def after(batches: list[list[np.ndarray]], steps: int) -> list[list[np.ndarray]]:
    """Return the lists of :func:`epoch_batches` without the first ``steps`` batches."""
    left = []
    for some in batches:
        left.append(some[steps:])
        steps = max(0, steps - len(some))
    return left


def _in_blocks(order: np.ndarray, blocks: BlockShuffle, generator: np.random.Generator) -> list[np.ndarray]:
    """Shuffle positions in blocks. Return the shuffled positions of each shuffle buffer.

    Args:
        order: ``(n,)`` positions of networks, some perhaps repeated.
        blocks: the sizes of blocks and buffers.
        generator: draws the random numbers.
    """
    # Networks that are repeated come again only after all others, so that their copies are not neighbours.
    stored = order[np.lexsort((blocks.place[order], _times_before(order)))]
    # The blocks of each epoch begin at other networks, so that neighbours are not always in the same block.
    stored = np.roll(stored, generator.integers(len(stored)))
    parts = np.array_split(stored, math.ceil(len(stored) / blocks.block))
    buffers: list[list[np.ndarray]] = []
    filled = 0
    for number in generator.permutation(len(parts)):
        size = int(blocks.sizes[parts[number]].sum())
        if not buffers or filled + size > blocks.buffer:
            buffers.append([])
            filled = 0
        buffers[-1].append(parts[number])
        filled += size
    return [generator.permutation(np.concatenate(buffer)) for buffer in buffers]


def _times_before(values: np.ndarray) -> np.ndarray:
    """Return for each of ``values`` ``(n,)`` how many equal values come before it."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    before = np.empty(len(values), np.int64)
    before[order] = np.arange(len(values)) - np.repeat(first, counts)
    return before


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

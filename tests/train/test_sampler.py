"""The sampler draws each training network once per epoch, in batches of nearly equal size."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sneframe.config.schema import TrainConfig
from sneframe.train.loop import learning_rate
from sneframe.train.sampler import (
    BlockShuffle,
    after,
    blocks_of,
    epoch_batches,
    settled,
    smallest_batch,
    step_seed,
    steps_per_epoch,
)


@given(networks=st.integers(1, 300), batch_size=st.integers(1, 70), epoch=st.integers(0, 5))
def test_every_network_comes_once_an_epoch(networks, batch_size, epoch):
    """An epoch has each training network once."""
    train = np.arange(networks) * 3
    (batches,) = epoch_batches(train, batch_size=batch_size, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches)) == list(train)
    assert len(batches) == steps_per_epoch(networks, batch_size)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) == smallest_batch(networks, batch_size)


def test_epochs_and_seeds_differ_and_repeat():
    """Another epoch or seed gives another order; the same ones give the same order."""

    def order(seed, epoch):
        (batches,) = epoch_batches(np.arange(50), batch_size=8, seed=seed, epoch=epoch)
        return np.concatenate(batches).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_every_step_and_process_seeds_its_own_dropout():
    """Each step and process has a seed of its own for dropout."""
    seeds = {step_seed(0, step, rank) for step in range(20) for rank in range(4)}
    assert len(seeds) == 80
    assert max(seeds) < 2**63


def test_one_cycle_rises_from_a_25th_and_falls_to_zero():
    """The one-cycle schedule rises from a 25th of the learning rate and falls to zero."""
    train = TrainConfig(lr=1.0, warmup=0.5)
    values = [learning_rate(train, progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert np.allclose(values, [0.04, 0.52, 1.0, 0.5, 0.0])


def test_the_constant_schedule_is_constant():
    """The constant schedule keeps the learning rate."""
    train = TrainConfig(lr=0.3, schedule="constant")
    assert [learning_rate(train, progress) for progress in (0, 0.5, 1)] == [0.3, 0.3, 0.3]


# -- shuffled in blocks --------------------------------------------------------------------------------------


def blocks(networks, block=4, buffer=160):
    """Return blocks of a zoo whose networks are stored in reverse order, with 10 or 20 bytes each."""
    sizes = np.where(np.arange(networks) % 3, 10, 20)
    return BlockShuffle(place=np.arange(networks)[::-1], sizes=sizes, block=block, buffer=buffer)


@given(
    networks=st.integers(1, 200),
    batch_size=st.integers(1, 70),
    block=st.integers(1, 50),
    buffer=st.integers(1, 900),
)
def test_blocks_have_every_network_once_an_epoch(networks, batch_size, block, buffer):
    """Shuffled in blocks, an epoch has each network once, in as many batches as without blocks."""
    how = blocks(networks, block, buffer)
    found = epoch_batches(np.arange(networks), batch_size=batch_size, seed=1, epoch=2, blocks=how)
    batches = list(chain.from_iterable(found))
    assert sorted(np.concatenate(batches)) == list(range(networks))
    assert len(batches) == steps_per_epoch(networks, batch_size)
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert all(found)


def test_a_buffer_holds_whole_blocks_up_to_its_size():
    """With batches of one, each list is a buffer: stretches of neighbours, in an order that is mixed."""
    how = blocks(400)
    found = epoch_batches(np.arange(400), batch_size=1, seed=0, epoch=0, blocks=how)
    buffers = [np.concatenate(some) for some in found]
    assert all(how.sizes[buffer].sum() <= 160 for buffer in buffers)
    assert len(buffers) < 50
    for buffer in buffers:
        places = np.sort(how.place[buffer])
        assert np.count_nonzero(np.diff(places) != 1) + 1 <= len(buffer) // 4
    assert sum(np.abs(np.diff(how.place[buffer])).mean() > 4 for buffer in buffers) == len(buffers)


def test_blocks_depend_on_seed_and_epoch_alone():
    """Another epoch or seed gives other blocks in another order; the same ones give the same."""

    def order(seed, epoch):
        found = epoch_batches(np.arange(50), batch_size=8, seed=seed, epoch=epoch, blocks=blocks(50))
        return np.concatenate(list(chain.from_iterable(found))).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in range(2)}) == 4


def test_blocks_keep_the_balance_of_kinds():
    """Shuffled in blocks, each kind makes up the same part of an epoch, and copies are not neighbours."""
    kinds = np.array([0] * 40 + [1] * 8)
    how = blocks(48, buffer=80)
    found = epoch_batches(np.arange(48), batch_size=1, seed=0, epoch=0, kinds=kinds, blocks=how)
    drawn = np.concatenate(list(chain.from_iterable(found)))
    assert np.bincount(kinds[drawn]).tolist() == [24, 24]
    assert np.bincount(drawn, minlength=48)[40:].tolist() == [3] * 8
    assert all(len(np.unique(some)) > len(some) // 2 for some in map(np.concatenate, found))


@pytest.mark.parametrize("steps", range(8))
def test_an_epoch_goes_on_after_its_first_batches(steps):
    """Without its first batches, an epoch has the others in the same order."""
    found = epoch_batches(np.arange(50), batch_size=8, seed=0, epoch=0, blocks=blocks(50))
    every = [batch.tolist() for batch in chain.from_iterable(found)]
    left = [batch.tolist() for batch in chain.from_iterable(after(found, steps))]
    assert left == every[steps:]


# -- what depends on the machine -----------------------------------------------------------------------------

SIZES = np.array([100_000, 200_000])


def test_auto_shuffles_all_networks_in_memory():
    """By default all networks are shuffled together if the weights are in memory."""
    train = settled(TrainConfig(), SIZES, memory=10**9, mapped=False)
    assert (train.shuffle, train.block, train.buffer) == ("all", None, None)
    assert blocks_of(train, np.arange(2), SIZES) is None


def test_auto_shuffles_mapped_networks_in_blocks():
    """By default mapped networks are shuffled in blocks of 1 MiB, in a third of the memory."""
    train = settled(TrainConfig(), SIZES, memory=10**9, mapped=True)
    assert (train.shuffle, train.block, train.buffer) == ("blocks", 7, "333MB")
    how = blocks_of(train, np.arange(2), SIZES)
    assert (how.block, how.buffer) == (7, 333 * 10**6)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_sampler_that_is_set_stays(mapped):
    """A sampler that the configuration sets does not depend on memory."""
    for train in (TrainConfig(shuffle="all"), TrainConfig(shuffle="blocks", block=3, buffer="2KB")):
        assert settled(train, SIZES, memory=10, mapped=mapped) == train

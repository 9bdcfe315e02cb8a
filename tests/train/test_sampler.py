"""The sampler draws each training network once per epoch, in batches of nearly equal size."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sneframe.config.schema import TrainConfig
from sneframe.train.loop import learning_rate
from sneframe.train.sampler import epoch_batches, smallest_batch, step_seed, steps_per_epoch


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

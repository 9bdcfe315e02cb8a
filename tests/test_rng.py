"""Random numbers as functions of seed, step and network: their distribution, and what they depend on."""

import numpy as np
import torch
from scipy import stats

from sneframe.rng import Draw, counted, normal, streams, uniform

IDS = torch.arange(4)


def numbers(count=20_000, **place):
    return normal(streams(IDS, **{"seed": 0, "step": 0, **place}), count)


def test_normal_numbers_are_normal():
    """A Kolmogorov–Smirnov test does not reject the normal distribution."""
    for row in numbers().double().numpy():
        assert stats.kstest(row, "norm").pvalue > 1e-3
        assert np.isfinite(row).all()


def test_an_odd_count_of_normal_numbers():
    """Normal numbers are made in pairs, but an odd count is possible."""
    assert numbers(7).shape == (4, 7)


def test_uniform_numbers_are_uniform():
    """A Kolmogorov–Smirnov test does not reject the uniform distribution on [0, 1)."""
    for row in uniform(counted(streams(IDS, seed=3, step=1), 20_000)).numpy():
        assert stats.kstest(row, "uniform").pvalue > 1e-3
        assert row.min() >= 0
        assert row.max() < 1


def test_networks_steps_and_seeds_are_independent():
    """Numbers of different networks, steps and seeds are not correlated."""
    rows = torch.cat([numbers(), numbers(step=1), numbers(seed=1)])
    correlations = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlations.abs().max() < 5 / 20_000**0.5


def test_a_network_has_numbers_of_its_own():
    """The numbers of a network do not depend on the other networks."""
    assert torch.equal(numbers(count=9)[2:3], normal(streams(IDS[2:3], seed=0, step=0), 9))


def test_two_names_have_two_seeds():
    """Each name gets a seed of its own, always the same one."""
    draw = Draw(seed=5, step=2, positions=np.arange(3), size=3)
    one, other = draw.apart("one"), draw.apart("other")
    assert len({draw.seed, one.seed, other.seed}) == 3
    assert one.seed == draw.apart("one").seed
    assert (one.step, one.size) == (2, 3)
    assert min(one.seed, other.seed) >= 0

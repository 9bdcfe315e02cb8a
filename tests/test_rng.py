"""Random numbers that are functions of seed, step and network: their distribution, and what they depend on."""

import numpy as np
import torch
from scipy import stats

from sneframe.rng import Draw, counted, normal, streams, uniform

IDS = torch.arange(4)


def numbers(count=20_000, **place):
    return normal(streams(IDS, **{"seed": 0, "step": 0, **place}), count)


def test_normal_numbers_are_normal():
    for row in numbers().double().numpy():
        assert stats.kstest(row, "norm").pvalue > 1e-3
        assert np.isfinite(row).all()


def test_normal_numbers_of_an_odd_count_are_as_many():
    assert numbers(7).shape == (4, 7)


def test_uniform_numbers_are_uniform():
    for row in uniform(counted(streams(IDS, seed=3, step=1), 20_000)).numpy():
        assert stats.kstest(row, "uniform").pvalue > 1e-3
        assert row.min() >= 0
        assert row.max() < 1


def test_networks_steps_and_seeds_have_nothing_in_common():
    rows = torch.cat([numbers(), numbers(step=1), numbers(seed=1)])
    correlations = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlations.abs().max() < 5 / 20_000**0.5


def test_a_network_has_its_numbers_whoever_is_beside_it():
    assert torch.equal(numbers(count=9)[2:3], normal(streams(IDS[2:3], seed=0, step=0), 9))


def test_two_names_have_two_seeds():
    draw = Draw(seed=5, step=2, positions=np.arange(3), size=3)
    one, other = draw.apart("one"), draw.apart("other")
    assert len({draw.seed, one.seed, other.seed}) == 3
    assert one.seed == draw.apart("one").seed
    assert (one.step, one.size) == (2, 3)
    assert min(one.seed, other.seed) >= 0

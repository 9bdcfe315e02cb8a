"""Factors inside sines that are learned because descriptions lack them."""

import math

import pytest
import torch
from attrs import evolve

from sneframe.nn.sine_factors import SineFactors
from sneframe.testing import mlp


def with_sines(factor=None):
    """Return the MLP 1 → 4 → 4 → 4 → 1 with sines, which have this factor or none."""
    plain, known = mlp(1, 4, 4, 4, 1, activation="sine"), {} if factor is None else {"factor": factor}
    return evolve(
        plain,
        layers=[
            evolve(layer, attributes=known if layer.activation == "sine" else {}) for layer in plain.layers
        ],
    )


def test_factors_start_at_30():
    """Each layer has the factor of its place, and all places start at 30."""
    assert SineFactors([with_sines()])(with_sines()).tolist() == [30.0] * 4


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_a_factor_changes_by_the_rate_times_the_step(rate):
    """A change of the parameter by log(2) / rate doubles the factor of the hidden layers."""
    factors = SineFactors([with_sines()], rate=rate)
    with torch.no_grad():
        factors.changes[1] += math.log(2) / rate
    assert factors(with_sines()).tolist() == pytest.approx([30, 60, 60, 30], rel=1e-5)


def test_known_factors_are_not_learned():
    """If every description has its factor, nothing is learned."""
    factors = SineFactors([with_sines(10.0)])
    assert factors(with_sines(10.0)) is None
    assert not list(factors.parameters())

"""Numbers that describe values at probes, against their definitions."""

import numpy as np
import torch
from sneframe_sne.probe.readings import LAYER, OUTPUT, moments, neuron_readings, output_readings
from sneframe_sne.probe.slots import Slot, mixing

from sneframe.nn.neuron_values import NeuronValues


def test_moments_are_those_of_the_singular_values():
    """With λ the squared singular values, they are log Σλ / 2, log((Σλ)² / Σλ²) and log((Σλ)³ / Σλ³) / 2."""
    values = torch.randn(2, 6, 4, dtype=torch.float64)
    for row, found in zip(values, moments(values), strict=True):
        squared = np.linalg.svd(row.numpy(), compute_uv=False) ** 2 / row.numel()
        sums = [np.sum(squared**power) for power in (1, 2, 3)]
        wanted = [np.log(sums[0]) / 2, np.log(sums[0] ** 2 / sums[1]), np.log(sums[0] ** 3 / sums[2]) / 2]
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_readings_of_outputs_that_are_certain_and_all_different():
    """Each probe gets another class with certainty: no entropy, log K information, agreement 1 / K."""
    found = output_readings(100 * torch.eye(4, dtype=torch.float64)[None])[0]
    assert found.shape == (OUTPUT,)
    mean_entropy, entropy_of_mean, information, agreement = found[0], found[2], found[3], found[12]
    np.testing.assert_allclose(
        [mean_entropy, entropy_of_mean, information, agreement], [0, np.log(4), np.log(4), 0.25], atol=1e-6
    )


def test_readings_of_outputs_do_not_depend_on_their_order():
    """The columns of the outputs may be permuted."""
    values = torch.randn(3, 5, 7, dtype=torch.float64)
    moved = values[..., torch.randperm(7)]
    torch.testing.assert_close(output_readings(values), output_readings(moved), rtol=1e-10, atol=1e-10)


def test_values_of_neurons_are_means_over_positions():
    """Means and spreads are over all axes but those of networks, probes and neurons."""
    values = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    found = NeuronValues.of(values, 2)
    flat = values.numpy().reshape(2, 3, 4, 30)
    np.testing.assert_allclose(found.means.numpy(), flat.mean(-1))
    np.testing.assert_allclose(found.spreads.numpy(), flat.std(-1))
    np.testing.assert_allclose(found.positive.numpy(), (flat > 0).mean((1, 2, 3)))
    assert neuron_readings(found).shape == (2, LAYER)
    tokens = NeuronValues.of(values.movedim(2, -1), -1)
    torch.testing.assert_close(tokens.means, found.means)


def test_a_layer_reading_counts_dead_neurons():
    """Two of four neurons have the same value at all probes."""
    values = torch.randn(1, 8, 4, dtype=torch.float64)
    values[..., :2] = 0.7
    assert float(neuron_readings(NeuronValues.of(values, -1))[0, 6]) == 0.5


def test_entries_are_averaged_by_type_and_place():
    """Hidden layers of a type share a mean, and one weighted by depth. An unknown type is left out."""
    slots = [
        Slot(type="conv", level=0, depth=4),
        Slot(type="conv", level=1, depth=4),
        Slot(type="conv", level=2, depth=4),
        Slot(type="linear", level=3, depth=4),
        Slot(type="new", level=1, depth=4),
    ]
    found = mixing(slots, ["conv", "linear"]) @ torch.tensor([1.0, 10.0, 100.0, 1000.0, 7.0])
    third = 1 / 3
    wanted = [1.0, 55.0, 0.0, (-third * 10 + third * 100) / 2, 0.0, 0.0, 1000.0, 0.0]
    torch.testing.assert_close(found, torch.tensor(wanted))

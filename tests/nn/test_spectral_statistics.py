"""Statistics of spectra, for many networks at once: equal to those of single matrices, and unmoved."""

import math

import numpy as np
import pytest
import torch

from sneframe.inspection.measure import measure
from sneframe.nn.spectral_statistics import COUNT, spectral_statistics
from sneframe.nn.spectral_tail import fit_tails


def batch(*shape, seed=0):
    """Return weights of four networks of quite different scales and spectra."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    values[1] = values[1] ** 3
    values[2] *= torch.linspace(0.1, 3, shape[0], dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
    return values * torch.tensor([0.01, 1.0, 3.0, 100.0], dtype=torch.float64).reshape(-1, *[1] * len(shape))


@pytest.mark.parametrize("shape", [(20, 16), (12, 4, 3, 3), (9, 40)], ids=str)
def test_each_network_has_the_numbers_of_its_inspection(shape):
    """The statistics of a batch are those that ``sneframe inspect`` gives for each network alone."""
    values = batch(*shape)
    for own, row in zip(values, spectral_statistics(values).tolist(), strict=True):
        one = measure("w", own)
        side, norm = one.spectrum.of, one.spectrum.norm
        expected = [
            math.log10(one.frobenius),
            math.log10(norm),
            one.spectrum.stable_rank / side,
            one.spectrum.effective_rank / side,
            min(one.power_law.alpha, 20.0) if one.power_law else 0.0,
            one.power_law.distance if one.power_law else 0.0,
            one.near_zero,
        ]
        assert row[:7] == pytest.approx(expected, rel=1e-9)
        flat = own.numpy().ravel()
        assert row[7] == pytest.approx(math.log10((flat**4).mean() / (flat**2).mean() ** 2))
        ranks = [one.spectrum.values[int(share * side)] / norm for share in (0.25, 0.5, 0.75)]
        assert row[8:11] == pytest.approx(ranks, rel=1e-9)
        scale = math.sqrt((np.linalg.norm(own.numpy().reshape(len(own), -1), axis=1) ** 2).mean())
        assert row[11:] == pytest.approx([math.log10(each / scale) for each in one.rows.norms], rel=1e-9)


def test_permutations_and_signs_change_nothing():
    """Rows and columns can change their order and their signs."""
    values = batch(14, 11)
    generator = torch.Generator().manual_seed(5)
    moved = values[:, torch.randperm(14, generator=generator)][:, :, torch.randperm(11, generator=generator)]
    signs = 1 - 2 * torch.randint(0, 2, (1, 14, 1), generator=generator)
    assert torch.allclose(spectral_statistics(moved * signs), spectral_statistics(values), rtol=1e-9)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (7, 1), ()], ids=str)
def test_vectors_and_scalars_have_numbers(shape):
    """A vector has one singular value, its norm, and no power law. Nothing is NaN."""
    values = torch.arange(1, 1 + 3 * math.prod(shape), dtype=torch.float64).reshape(3, *shape)
    found = spectral_statistics(values)
    assert found.shape == (3, COUNT)
    assert found.isfinite().all()
    norms = values.reshape(3, -1).norm(dim=1).log10()
    assert torch.allclose(found[:, :2], norms[:, None].expand(3, 2))
    assert found[:, 2:6].tolist() == [[1, 1, 0, 0]] * 3


def test_zeros_have_finite_numbers():
    """Parameters of zeros give no NaN."""
    assert spectral_statistics(torch.zeros(2, 12, 12)).isfinite().all()


def test_a_batch_has_the_fits_of_its_rows():
    """Fits of several spectra together are those of each alone, also where some have zeros or no fit."""
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(5, 30, generator=generator, dtype=torch.float64)
    values[1, 5:] = 0
    values[2, 3] = 0
    values[3] = 1
    together = fit_tails(values)
    assert together.found.tolist() == [True, False, True, False, True]
    for row in range(5):
        alone = fit_tails(values[row : row + 1])
        for name in ("found", "alpha", "distance", "start", "tail"):
            assert getattr(alone, name)[0] == getattr(together, name)[row]

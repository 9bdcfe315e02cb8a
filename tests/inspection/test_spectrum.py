"""Singular values, ranks and power laws, against numpy, known spectra and the package weightwatcher."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sneframe.inspection.power_law import fit_power_law
from sneframe.inspection.spectrum import RANK, as_matrix, spectrum_of
from sneframe.nn.spectral_tail import FEWEST

#: Made by weightwatcher 0.7.7 (analyze with min_evals=10) on the matrices of :func:`matrices`, each as the
#: weight of a linear layer. Its ``spectral_norm`` and ``norm`` are of WᵀW, so they are squares.
ORACLE = json.loads((Path(__file__).parent / "weightwatcher.json").read_text(encoding="utf-8"))


def matrix(seed):
    """Return a matrix: normal, with a spike, with a heavy spectrum, or with heavy entries."""
    generator = np.random.default_rng(seed)
    m, n = [(100, 60), (64, 64), (50, 200), (300, 120), (80, 80)][seed % 5]
    found = generator.standard_normal((m, n)) / np.sqrt(n)
    if seed // 5 == 1:
        found += 3 * np.outer(generator.standard_normal(m), generator.standard_normal(n)) / np.sqrt(m * n)
    if seed // 5 == 2:
        left, _ = np.linalg.qr(generator.standard_normal((m, min(m, n))))
        right, _ = np.linalg.qr(generator.standard_normal((n, min(m, n))))
        found = (left * (1 + generator.pareto(2.5, min(m, n)))) @ right.T / 10
    if seed // 5 == 3:
        found = generator.standard_t(2.5, (m, n)) / np.sqrt(n)
    return torch.from_numpy(found.astype(np.float32))


@pytest.mark.parametrize("seed", range(20))
def test_numbers_are_those_of_weightwatcher(seed):
    """α, its distance and tail, stable rank and norms agree with weightwatcher to a millionth."""
    spectrum, expected = spectrum_of(matrix(seed)), ORACLE[seed]
    law = fit_power_law(spectrum.values)
    assert law.alpha == pytest.approx(expected["alpha"], rel=1e-6)
    assert law.distance == pytest.approx(expected["D"], rel=1e-6)
    assert law.start == pytest.approx(expected["xmin"], rel=1e-6)
    assert law.tail == expected["num_pl_spikes"]
    assert spectrum.stable_rank == pytest.approx(expected["stable_rank"], rel=1e-6)
    assert spectrum.norm**2 == pytest.approx(expected["spectral_norm"], rel=1e-6)
    assert spectrum.frobenius**2 == pytest.approx(expected["norm"], rel=1e-6)


def test_ranks_of_a_known_spectrum():
    """Four equal singular values have rank four by every measure; a fifth of zero changes nothing."""
    values = torch.diag(torch.tensor([2.0, 2.0, 2.0, 2.0, 0.0]))
    spectrum = spectrum_of(values)
    assert spectrum.values.tolist() == [2, 2, 2, 2, 0]
    assert spectrum.stable_rank == pytest.approx(4)
    assert spectrum.effective_rank == pytest.approx(4)
    assert (spectrum.rank, spectrum.complete, spectrum.of) == (4, True, 5)
    halves = spectrum_of(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
    assert halves.effective_rank == pytest.approx(math.exp(0.5 * math.log(2) + 0.5 * math.log(4)))
    assert halves.stable_rank == pytest.approx(1.5)


def test_a_matrix_of_zeros_has_no_rank():
    """Ranks that would divide by zero are None."""
    spectrum = spectrum_of(torch.zeros(3, 4))
    assert (spectrum.norm, spectrum.rank) == (0, 0)
    assert (spectrum.stable_rank, spectrum.effective_rank) == (None, None)


def test_a_kernel_is_a_matrix_of_outputs():
    """Row i of the matrix holds all weights of output i."""
    kernel = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert as_matrix(kernel)[1].tolist() == list(range(12, 24))


def test_the_largest_values_of_a_large_matrix():
    """Beyond the limit, the largest values are close to those of numpy, within the stated error."""
    generator = np.random.default_rng(0)
    left, _ = np.linalg.qr(generator.standard_normal((220, 150)))
    right, _ = np.linalg.qr(generator.standard_normal((150, 150)))
    true = 10 * np.arange(1, 151.0) ** -0.7
    found = spectrum_of(torch.from_numpy((left * true) @ right.T), exact=100)
    assert (len(found.values), found.of, found.complete) == (RANK, 150, False)
    assert found.values[:10] == pytest.approx(true[:10], rel=1e-4)
    assert abs(found.norm - true[0]) <= found.error + 1e-5
    assert found.frobenius == pytest.approx(np.linalg.norm(true))
    assert (found.effective_rank, found.rank) == (None, None)
    assert found.stable_rank == pytest.approx((np.linalg.norm(true) / true[0]) ** 2, rel=1e-4)


def test_a_fit_needs_ten_values():
    """Nine singular values have no power law, and zeros do not count."""
    values = np.linspace(1, 2, FEWEST)
    assert fit_power_law(values[1:]) is None
    assert fit_power_law(np.append(values[1:], 0.0)) is None
    assert fit_power_law(values) is not None
    assert fit_power_law(np.ones(20)) is None
    assert fit_power_law(np.zeros(20)) is None


def test_a_power_law_is_found():
    """The exponent of 4000 eigenvalues that follow a power law is found within its standard error."""
    generator = np.random.default_rng(1)
    eigenvalues = (1 - generator.random(4000)) ** (-1 / (3.2 - 1))
    law = fit_power_law(np.sqrt(eigenvalues))
    assert law.alpha == pytest.approx(3.2, abs=4 * 2.2 / math.sqrt(law.tail))
    assert law.distance < 0.03

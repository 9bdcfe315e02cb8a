"""``stats/statistics`` compared with numpy, and ``stats/identity``."""

import numpy as np
import pytest
import torch
from sneframe_stats import PassThrough, Statistics

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.batch import Batch, join
from sneframe.nn.weight_statistics import statistics
from sneframe.parts.carriers import LayerCodes, StatTokens
from sneframe.parts.part import Spec
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp


def mixed_batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shallow, deep = mlp(1, 4, 1), mlp(1, 3, 5, 1)
    weights = {a: torch.randn(3, a.num_weights, generator=generator, dtype=dtype) for a in (shallow, deep)}
    return join(weights, {shallow: [0, 2, 4], deep: [1, 3, 5]})


def tokenize(batch):
    spec = Spec(carrier=Batch, width=1, architectures=batch.architectures)
    part = Statistics(Statistics.Config(), spec)
    return part, part(batch)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 1024])
def test_statistics_equal_those_of_numpy(count):
    """Mean, unbiased variance and quantiles are those of numpy; the variance of one number is 0."""
    values = np.random.default_rng(count).normal(3, 2, (6, count))
    expected = np.stack(
        [
            values.mean(axis=1),
            values.var(axis=1, ddof=1) if count > 1 else np.zeros(6),
            *np.quantile(values, [0, 0.25, 0.5, 0.75, 1], axis=1),
        ],
        axis=1,
    )
    found = statistics(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_statistics_of_four_numbers_by_hand():
    """The numbers 1, 2, 4 and 8 give the statistics worked out in the comment."""
    # Quartiles are at positions 0.75, 1.5 and 2.25 of 1, 2, 4, 8; squared differences to 3.75 sum to 28.75.
    found = statistics(torch.tensor([[8.0, 1.0, 4.0, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([[3.75, 28.75 / 3, 1.0, 1.75, 3.0, 5.0, 8.0]]))


def test_each_parameter_has_its_row_in_order():
    """Row i holds the statistics of parameter i, in a batch of two architectures."""
    batch = mixed_batch()
    part, tokens = tokenize(batch)
    assert part.out.carrier is StatTokens
    assert part.out.width == 7
    for networks, entry in zip(batch.networks, tokens, strict=True):
        assert entry.architecture == networks.architecture
        assert entry.stats.shape == (3, len(networks.architecture.parameters), 7)
        for number, values in enumerate(networks.parameters().values()):
            torch.testing.assert_close(entry.stats[:, number], statistics(values.flatten(1)))


def test_a_scalar_parameter_has_statistics():
    """All statistics of a parameter of shape () are its value, and its variance is 0."""
    lone = Architecture(layers=[Layer(kind="scale", parameters=[Parameter(name="factor", shape=())])])
    _, (entry,) = tokenize(join({lone: torch.tensor([[2.5]])}, {lone: [0]}))
    assert entry.stats.tolist() == [[[2.5, 0.0, 2.5, 2.5, 2.5, 2.5, 2.5]]]


def test_permutations_do_not_change_statistics():
    """Statistics do not depend on the order of the weights."""
    batch = mixed_batch()
    moved = apply(batch, sample(batch, seed=0, step=0))
    assert not torch.equal(moved.networks[0].weights, batch.networks[0].weights)
    for before, after in zip(tokenize(batch)[1], tokenize(moved)[1], strict=True):
        torch.testing.assert_close(after.stats, before.stats)


def test_the_identity_gives_statistics_as_codes():
    """Each parameter's code is its statistics."""
    part, tokens = tokenize(mixed_batch())
    encoder = PassThrough(PassThrough.Config(), part.out)
    codes = encoder(tokens)
    assert encoder.local
    assert (encoder.out.carrier, encoder.out.width) == (LayerCodes, 7)
    for entry, code in zip(tokens, codes, strict=True):
        assert torch.equal(code.codes, entry.stats)
        assert code.units == tuple((number,) for number in range(entry.stats.shape[1]))

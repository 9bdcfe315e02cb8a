"""Weight matching: a permuted copy is brought back, and no distance grows."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from networks import NETWORKS
from scipy.optimize import linear_sum_assignment
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import join
from sneframe.symmetry import align, apply, sample
from sneframe.symmetry.act import Element
from sneframe.testing import mlp


def random_batch(architecture, size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(size, architecture.num_weights, generator=generator, dtype=torch.float64)
    return join({architecture: weights}, {architecture: range(size)})


def described(name):
    torch.manual_seed(0)
    make, example = NETWORKS[name]
    return Architecture.from_module(make(), example)


@pytest.mark.parametrize("name", ["lenet", "unet", "gru", "separable"])
def test_permuted_copy_is_recovered(name):
    """A network that was only permuted is brought back exactly."""
    batch = random_batch(described(name))
    moved = apply(batch, sample(batch, seed=1, step=0))
    back = apply(moved, align(moved, batch))
    assert torch.equal(back.networks[0].weights, batch.networks[0].weights)


def test_permuted_heads_are_brought_closer():
    """Permuted heads, and the neurons within them, are brought closer to the reference."""
    batch = random_batch(described("vit"))
    moved = apply(batch, sample(batch, seed=1, step=0))
    back = apply(moved, align(moved, batch)).networks[0].weights
    before = (moved.networks[0].weights - batch.networks[0].weights).norm(dim=1)
    assert ((back - batch.networks[0].weights).norm(dim=1) < before).all()


def test_one_hidden_layer_gets_the_best_assignment():
    """With one group the result is the best assignment, which is solved here from its definition."""
    architecture = mlp(2, 5, 1)
    a, b = random_batch(architecture, 1, 0), random_batch(architecture, 1, 1)

    def neurons(batch):
        first, bias, last = (value[0].numpy() for value in list(batch.networks[0].parameters().values())[:3])
        return np.concatenate([first, bias[:, None], last.T], axis=1)

    cost = ((neurons(a)[:, None] - neurons(b)[None]) ** 2).sum(-1)
    expected = linear_sum_assignment(cost)[1]
    assert align(b, a)[0].permutations["hidden0"][0].tolist() == expected.tolist()


def test_aligning_unrelated_networks_lowers_the_distance():
    """Aligning unrelated networks lowers the distance of every pair."""
    architecture = mlp(3, 8, 8, 2)
    a, b = random_batch(architecture, 6, 0), random_batch(architecture, 6, 1)
    distance = [
        (other.networks[0].weights - a.networks[0].weights).norm(dim=1)
        for other in (b, apply(b, align(b, a)))
    ]
    assert (distance[1] < distance[0]).all()


class Residual(nn.Module):
    """A layer reads and writes a stream, so one group is on both axes of its weight."""

    def __init__(self, width=12):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, x):
        h = self.first(x)
        return self.last(h + torch.relu(self.middle(h)))


class Recurrent(nn.Module):
    """A weight multiplies the state, so one group is on both axes of the weight."""

    def __init__(self, kind=nn.RNN, width=12):
        super().__init__()
        self.state, self.last = kind(3, width, batch_first=True), nn.Linear(width, 2)

    def forward(self, x):
        return self.last(self.state(x)[0][:, -1])


class ResidualConvolutions(nn.Module):
    """A stream of channels, with kernels after both axes of a weight."""

    def __init__(self, width=6):
        super().__init__()
        self.first, self.middle = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        h = self.first(x)
        return self.last((h + torch.relu(self.middle(h))).mean((2, 3)))


class Attention(nn.Module):
    """Heads with nested neurons, and a stream."""

    def __init__(self, width=12):
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 2)
        self.layer = nn.TransformerEncoderLayer(width, 3, 8, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.last(self.layer(self.first(x)).mean(1))


KINDS = {
    "plain": (lambda: nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2)), (2, 3)),
    "residual": (Residual, (2, 3)),
    "recurrent": (Recurrent, (2, 5, 3)),
    "gru": (lambda: Recurrent(nn.GRU, 6), (2, 5, 3)),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 3)), (2, 1, 8, 8)),
    "residual convolutions": (ResidualConvolutions, (2, 1, 8, 8)),
    "attention": (Attention, (2, 5, 3)),
}


def squared(batch, other):
    return (batch.networks[0].weights - other.networks[0].weights).square().sum(1)


@pytest.fixture(scope="module", params=KINDS)
def pairs(request):
    """A hundred pairs of networks of one kind, with unrelated weights."""
    make, shape = KINDS[request.param]
    torch.manual_seed(0)
    architecture = Architecture.from_module(make(), torch.randn(shape))
    return random_batch(architecture, 100, 1), random_batch(architecture, 100, 2)


def test_no_pair_ends_farther_than_it_began(pairs):
    """None of a hundred pairs of each kind ends farther apart, even if the distance is quadratic."""
    one, two = pairs
    assert (squared(apply(two, align(two, one)), one) <= squared(two, one)).all()


def test_another_sweep_never_raises_the_distance(pairs):
    """One more sweep never raises the distance of a pair."""
    one, two = pairs
    path = [squared(apply(two, align(two, one, sweeps=sweeps)), one) for sweeps in range(1, 5)]
    assert all((after <= before * (1 + 1e-12)).all() for before, after in pairwise(path))


@pytest.mark.parametrize("kind", ["residual", "recurrent", "gru", "residual convolutions"])
def test_copies_are_recovered_where_a_group_crosses_itself(kind):
    """Forty permuted copies are recovered, although the group is on both axes of a weight."""
    make, shape = KINDS[kind]
    batch = random_batch(Architecture.from_module(make(), torch.randn(shape)), 40)
    moved = apply(batch, sample(batch, seed=1, step=0))
    assert torch.equal(apply(moved, align(moved, batch)).networks[0].weights, batch.networks[0].weights)


def test_result_is_a_minimum_under_exchanges():
    """If a group is on both axes of a weight, no exchange of two neurons lowers the final distance."""
    architecture = Architecture.from_module(Residual(5), torch.randn(2, 3))
    one, two = random_batch(architecture, 20, 1), random_batch(architecture, 20, 2)
    end = apply(two, align(two, one))
    (group,) = architecture.groups
    for first, second in combinations(range(group.size), 2):
        order = torch.arange(group.size)
        order[[first, second]] = order[[second, first]]
        swap = Element(architecture=architecture, permutations={group.name: order.repeat(20, 1)})
        assert (squared(apply(end, [swap]), one) >= squared(end, one) - 1e-9).all()


def test_matching_permutes_and_does_not_scale():
    """A network that was permuted and scaled keeps its scales, because matching only permutes."""
    batch = random_batch(mlp(3, 8, 2))
    moved = apply(batch, sample(batch, seed=1, step=0, actions=("permute", "scale")))
    (element,) = align(moved, batch)
    assert not element.scales
    assert not element.signs

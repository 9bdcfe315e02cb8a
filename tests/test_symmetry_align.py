"""Weight matching: a network that was only moved is brought back; distance never grows."""

import numpy as np
import pytest
import torch
from networks import NETWORKS
from scipy.optimize import linear_sum_assignment

from sneframe.architecture import Architecture
from sneframe.batch import join
from sneframe.symmetry import align, apply, sample
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
def test_a_network_that_was_only_moved_is_brought_back(name):
    batch = random_batch(described(name))
    moved = apply(batch, sample(batch, seed=1, step=0))
    back = apply(moved, align(moved, batch))
    assert torch.equal(back.networks[0].weights, batch.networks[0].weights)


def test_heads_and_what_lies_within_them_are_brought_closer():
    batch = random_batch(described("vit"))
    moved = apply(batch, sample(batch, seed=1, step=0))
    back = apply(moved, align(moved, batch)).networks[0].weights
    before = (moved.networks[0].weights - batch.networks[0].weights).norm(dim=1)
    assert ((back - batch.networks[0].weights).norm(dim=1) < before).all()


def test_one_hidden_layer_gets_the_best_assignment():
    """With one group the problem is one assignment, solved here from its definition."""
    architecture = mlp(2, 5, 1)
    a, b = random_batch(architecture, 1, 0), random_batch(architecture, 1, 1)

    def neurons(batch):
        first, bias, last = (value[0].numpy() for value in list(batch.networks[0].parameters().values())[:3])
        return np.concatenate([first, bias[:, None], last.T], axis=1)

    cost = ((neurons(a)[:, None] - neurons(b)[None]) ** 2).sum(-1)
    expected = linear_sum_assignment(cost)[1]
    assert align(b, a)[0].permutations["hidden0"][0].tolist() == expected.tolist()


def test_aligning_unrelated_networks_never_increases_their_distance():
    architecture = mlp(3, 8, 8, 2)
    a, b = random_batch(architecture, 6, 0), random_batch(architecture, 6, 1)
    distance = [
        (other.networks[0].weights - a.networks[0].weights).norm(dim=1)
        for other in (b, apply(b, align(b, a)))
    ]
    assert (distance[1] < distance[0]).all()

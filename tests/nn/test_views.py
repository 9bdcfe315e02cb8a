"""Two views of a network, and NT-Xent by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sneframe.batch import join
from sneframe.nn.nt_xent import nt_xent
from sneframe.nn.views import Views
from sneframe.rng import Draw
from sneframe.testing import mlp

ARCHITECTURE = mlp(2, 6, 5, 1)


def batch(ids=range(4)):
    weights = torch.randn(4, ARCHITECTURE.num_weights, generator=torch.Generator().manual_seed(0))
    return join({ARCHITECTURE: weights[list(ids)]}, {ARCHITECTURE: list(ids)})


def draw(count=4, step=3):
    return Draw(seed=5, step=step, positions=np.arange(count), size=count)


def weights(view):
    return view.networks[0].weights


def test_nt_xent_is_the_cross_entropy_of_the_similarity_matrix():
    """For each of the six vectors, the class is its partner among the five others."""
    first, second = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    both = torch.cat([first, second])
    total = 0.0
    for row in range(6):
        others = [column for column in range(6) if column != row]
        similarity = torch.stack([F.cosine_similarity(both[row], both[o], dim=0) / 0.2 for o in others])
        partner = torch.tensor(others.index((row + 3) % 6))
        total += float(F.cross_entropy(similarity, partner))
    assert float(nt_xent(first, second, 0.2)) == pytest.approx(total / 2, rel=1e-5)


def test_nt_xent_by_hand():
    """Two pairs of equal unit vectors, at a right angle: each loss is log(e + 2) − 1."""
    pair = torch.eye(2)
    assert float(nt_xent(pair, pair, 1.0)) == pytest.approx(2 * (math.log(math.e + 2) - 1))


def test_a_network_without_others_has_no_contrast():
    """With one pair there is nothing to tell apart, and the loss is 0."""
    assert float(nt_xent(torch.ones(1, 3), -torch.ones(1, 3), 0.1)) == pytest.approx(0)


def test_the_two_views_are_moved_apart():
    """Each view has the weights of the networks in another order, and the two orders differ."""
    first, second = Views().pair(batch(), draw())
    for view in (first, second):
        assert view.shown is view.moved
        assert torch.equal(weights(view.moved).sort(1).values, weights(batch()).sort(1).values)
        assert not torch.equal(weights(view.moved), weights(batch()))
    assert not torch.equal(weights(first.moved), weights(second.moved))


def test_noise_and_erasing_change_what_is_shown():
    """The target keeps all weights; what is shown has zeros, in one range, and noisy weights."""
    view, _ = Views(noise=0.1, erasing=1.0, shortest=0.2, longest=0.3).pair(batch(), draw())
    assert torch.equal(weights(view.moved).sort(1).values, weights(batch()).sort(1).values)
    count = ARCHITECTURE.num_weights
    for moved, shown in zip(weights(view.moved), weights(view.shown), strict=True):
        erased = (shown == 0).nonzero().flatten()
        assert 0.2 * count - 1 <= len(erased) <= 0.3 * count + 1
        assert int(erased[-1] - erased[0]) == len(erased) - 1
        kept = shown != 0
        factors = shown[kept] / moved[kept]
        assert 0.01 < float((factors - 1).std()) < 0.3


def test_a_view_depends_on_the_network_and_not_on_its_batch():
    """A network alone has the views that it has in a batch; another step gives other views."""
    views = Views(noise=0.1, erasing=0.5)
    together, alone = views.pair(batch(), draw()), views.pair(batch([2]), draw(1))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(weights(one.shown)[2:3], weights(other.shown))
    later, _ = views.pair(batch(), draw(step=4))
    assert not torch.equal(weights(later.shown), weights(together[0].shown))


def test_without_actions_nothing_is_moved():
    """An empty list of actions leaves the neurons where they are."""
    view, _ = Views(actions=()).pair(batch(), draw())
    assert torch.equal(weights(view.shown), weights(batch()))


def test_wrong_options_are_refused():
    """An unknown action, and limits of erasing in the wrong order."""
    with pytest.raises(ValueError, match="actions"):
        Views(actions=("rotate",))
    with pytest.raises(ValueError, match=r"shortest must be at most longest = 0\.33, but got 0\.5"):
        Views(shortest=0.5)

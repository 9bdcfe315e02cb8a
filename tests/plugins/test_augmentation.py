"""Augmentations: what each does to weights and targets, by hand and by running networks."""

import numpy as np
import pytest
import torch
from sneframe_augmentation.mixup import MixUp
from sneframe_augmentation.perturbation import Dropout, Erasing, Noise
from sneframe_augmentation.symmetry import Symmetry
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, join
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample
from sneframe.symmetry.describe import from_modules
from sneframe.testing import mlp

WIDE = mlp(1, 200, 1)


def changed(cls, batch, target=None, *, positions=None, size=None, step=4, **options):
    spec = Spec(carrier=Batch, width=1, architectures=batch.architectures)
    positions = np.arange(len(batch)) if positions is None else np.array(positions)
    draw = Draw(seed=3, step=step, positions=positions, size=size or len(batch))
    target = torch.zeros(len(batch), 1) if target is None else target
    return cls(cls.Config(**options), spec)(batch, target, draw)


def random_batch(architecture=WIDE, networks=50, scale=1.0):
    weights = torch.randn(networks, architecture.num_weights, generator=torch.Generator().manual_seed(0))
    return join({architecture: weights * scale}, {architecture: range(networks)})


def weights_of(batch):
    return batch.networks[0].weights


# -- symmetry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "action"), [(nn.ReLU, "scale"), (nn.Tanh, "sign"), (nn.GELU, "permute")]
)
def test_a_moved_network_computes_the_same(activation, action):
    """A permuted, scaled or flipped network has the same outputs, other weights and the same target."""
    network = nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, 2))
    batch = from_modules([network])
    target = torch.tensor([[0.7]])
    moved, targets = changed(Symmetry, batch, target, actions=("permute", action))
    other = nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, 2))
    other.load_state_dict({name: value[0] for name, value in moved.networks[0].parameters().items()})
    x = torch.randn(5, 3)
    assert torch.allclose(other(x), network(x), atol=1e-5)
    assert not torch.equal(weights_of(moved), weights_of(batch))
    assert targets is target


def test_only_the_given_actions_are_applied():
    """With ``actions=("sign",)`` weights change their sign and nothing else."""
    network = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
    batch = from_modules([network])
    flipped, _ = changed(Symmetry, batch, actions=("sign",))
    assert torch.equal(weights_of(flipped).abs(), weights_of(batch).abs())
    assert not torch.equal(weights_of(flipped), weights_of(batch))


# -- noise ---------------------------------------------------------------------------------------------------


# Two published code bases add the constant σ · std(w) to every weight; here the noise is random.
def test_noise_is_relative_to_each_parameter():
    """Its standard deviation is ``std`` times the root mean square of each parameter, and its mean is 0."""
    batch = random_batch()
    factors = torch.cat([torch.full((p.size,), 10.0**n) for n, p in enumerate(WIDE.parameters)])
    batch = batch.replace([weights_of(batch) * factors])
    noisy, _ = changed(Noise, batch, std=0.2)
    change = noisy.replace([weights_of(noisy) - weights_of(batch)])
    for (name, own), other in zip(
        batch.networks[0].parameters().items(), change.networks[0].parameters().values(), strict=True
    ):
        if own[0].numel() > 1:
            ratio = other.flatten(1).std(1) / own.flatten(1).square().mean(1).sqrt()
            assert ratio.mean() == pytest.approx(0.2, rel=0.05), name
            assert abs(float((other / own.flatten(1).norm()).mean())) < 1e-3


def test_a_parameter_with_one_weight_gets_noise():
    """Its root mean square exists where its standard deviation does not."""
    batch = random_batch()
    noisy, _ = changed(Noise, batch, std=0.1)
    assert (weights_of(noisy)[:, -1] != weights_of(batch)[:, -1]).all()


def test_each_network_gets_its_own_noise():
    """Equal networks differ after noise."""
    batch = join({WIDE: torch.ones(5, WIDE.num_weights)}, {WIDE: range(5)})
    noisy, _ = changed(Noise, batch)
    assert len(torch.unique(weights_of(noisy), dim=0)) == 5


# -- dropout -------------------------------------------------------------------------------------------------


def test_dropout_sets_a_fraction_to_zero():
    """About ``probability`` of the weights are 0, and the others do not change."""
    batch = random_batch()
    thinned, _ = changed(Dropout, batch, probability=0.3)
    gone = weights_of(thinned) == 0
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(weights_of(thinned)[~gone], weights_of(batch)[~gone])


# -- erasing -------------------------------------------------------------------------------------------------


def test_one_range_within_the_bounds_is_erased():
    """The erased weights are contiguous, and their number lies between the two bounds."""
    batch = random_batch(networks=200)
    erased, _ = changed(Erasing, batch, probability=1.0, shortest=0.1, longest=0.25)
    lengths = []
    for row in (weights_of(erased) == 0).numpy():
        (places,) = np.nonzero(row)
        assert places[-1] - places[0] + 1 == len(places)
        lengths.append(len(places) / WIDE.num_weights)
    assert min(lengths) == pytest.approx(0.1, abs=0.01)
    assert max(lengths) == pytest.approx(0.25, abs=0.01)


def test_every_weight_can_be_erased():
    """Over many networks, each weight is erased in some of them."""
    erased, _ = changed(Erasing, random_batch(mlp(1, 8, 1), networks=500), probability=1.0)
    assert (weights_of(erased) == 0).any(0).all()


def test_a_fraction_of_the_networks_is_erased():
    """About ``probability`` of the networks lose weights."""
    batch = random_batch(networks=400)
    erased, _ = changed(Erasing, batch, probability=0.25, shortest=0.1)
    touched = (weights_of(erased) != weights_of(batch)).any(1)
    assert float(touched.float().mean()) == pytest.approx(0.25, abs=0.07)


# -- mix-up --------------------------------------------------------------------------------------------------


def test_a_mixture_and_its_target_have_the_same_fraction():
    """All weights of a network equal its target, and so do those of every mixture of two networks."""
    values = torch.tensor([1.0, 2.0, 4.0, 8.0])
    batch = join({WIDE: values[:, None].expand(-1, WIDE.num_weights)}, {WIDE: range(4)})
    mixed, targets = changed(MixUp, batch, values[:, None], alpha=1.0, align=False)
    assert torch.allclose(weights_of(mixed), targets.expand(-1, WIDE.num_weights))
    pairs = [(8.0, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0)]
    assert all(
        min(pair) <= target <= max(pair) for pair, target in zip(pairs, targets[:, 0].tolist(), strict=True)
    )
    assert not torch.equal(targets[:, 0], values)


@pytest.mark.parametrize("align", [True, False])
def test_alignment_undoes_a_permutation_before_mixing(align):
    """A network and a permuted copy of it mix to the same network only if they are aligned."""
    own = weights_of(random_batch(networks=1))
    pair = join({WIDE: own.expand(2, -1)}, {WIDE: range(2)})
    moved = weights_of(apply(pair, sample(pair, seed=0, step=0)))[1:]
    pair = pair.replace([torch.cat([own, moved])])
    mixed, _ = changed(MixUp, pair, alpha=5.0, align=align)
    assert torch.allclose(weights_of(mixed), weights_of(pair), atol=1e-5) == align


def test_networks_of_two_architectures_are_not_mixed():
    """A network without a partner of its architecture keeps its weights and its target."""
    other = mlp(1, 3, 1)
    batch = join(
        {WIDE: torch.ones(1, WIDE.num_weights), other: torch.full((1, other.num_weights), 5.0)},
        {WIDE: [0], other: [1]},
    )
    target = torch.tensor([[1.0], [2.0]])
    mixed, targets = changed(MixUp, batch, target)
    assert torch.equal(targets, target)
    assert [float(n.weights.mean()) for n in mixed.networks] == [1.0, 5.0]


def test_targets_follow_their_networks_in_a_mixed_batch():
    """Targets stay with their networks where two architectures alternate in the batch."""
    other = mlp(1, 3, 1)
    rows = {
        WIDE: torch.tensor([0.0, 2.0])[:, None].expand(-1, WIDE.num_weights),
        other: torch.tensor([5.0, 7.0])[:, None].expand(-1, other.num_weights),
    }
    batch = join(rows, {WIDE: [0, 2], other: [1, 3]})
    mixed, targets = changed(MixUp, batch, torch.tensor([[0.0], [5.0], [2.0], [7.0]]), align=False, alpha=1.0)
    means = mixed.restore([n.weights.mean(1) for n in mixed.networks])
    assert torch.allclose(means, targets[:, 0], atol=1e-5)


def test_the_fraction_depends_on_the_position_in_the_step():
    """A network at the same position of the step has the same λ, whatever else its process holds."""
    # The targets are 0 and 1, so that a mixed target is λ or 1 − λ.
    values = torch.tensor([0.0, 1.0])
    batch = join({WIDE: values[:, None].expand(-1, WIDE.num_weights)}, {WIDE: range(2)})
    _, whole = changed(MixUp, batch, values[:, None], positions=[4, 7], size=8, alpha=1.0, align=False)
    _, again = changed(MixUp, batch, values[:, None], positions=[4, 6], size=8, alpha=1.0, align=False)
    assert whole[0] == again[0]
    assert whole[1] != again[1]


# -- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (Symmetry, {"actions": ()}, "actions"),
        (Symmetry, {"actions": ("turn",)}, "actions"),
        (Noise, {"std": 0.0}, "std"),
        (Dropout, {"probability": 1.0}, "probability"),
        (Erasing, {"shortest": 0.5, "longest": 0.2}, "shortest must be at most longest = 0.2, but got 0.5"),
        (Erasing, {"probability": 0.0}, "probability"),
        (MixUp, {"alpha": 0.0}, "alpha"),
    ],
)
def test_impossible_options_are_refused(cls, options, said):
    """The error names the option."""
    with pytest.raises(ValueError, match=said):
        cls.Config(**options)


def test_a_permuted_cnn_computes_the_same():
    """A convolution and the linear layer after a flatten move together."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(2, 1, 4, 4)
    architecture = Architecture.from_module(network, x)
    flat = torch.cat([p.detach().flatten() for p in network.parameters()])[None]
    moved, _ = changed(Symmetry, join({architecture: flat}, {architecture: [0]}))
    expected = network(x)
    network.load_state_dict({name: value[0] for name, value in moved.networks[0].parameters().items()})
    assert torch.allclose(network(x), expected, atol=1e-5)
    assert not torch.equal(weights_of(moved), flat)

"""Normalisations: their constants by hand, how they are fitted, and that they commute with permutations."""

import math
import statistics
import weakref

import pytest
import torch
from sneframe_normalise.normalise import FanIn, NoNormalise, PerParameter

from sneframe.architecture import Architecture
from sneframe.batch import Batch, join
from sneframe.errors import PartError
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import Spec
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

ONE, TWO = mlp(1, 4, 4, 1), mlp(1, 3, 1)


def build(cls, *architectures):
    return cls(cls.Config(), Spec(carrier=Batch, width=1, architectures=architectures))


def batch_of(architecture: Architecture, count=5, seed=0):
    weights = torch.randn(count, architecture.num_weights, generator=torch.Generator().manual_seed(seed))
    return join({architecture: weights}, {architecture: range(count)})


def test_none_leaves_weights_unchanged():
    """It returns the batch itself."""
    batch = batch_of(ONE)
    assert build(NoNormalise, ONE)(batch) is batch


def test_fan_in_gives_each_parameter_unit_mean_square():
    """The training networks themselves have a root mean square of 1 in each parameter."""
    batch = batch_of(ONE)
    part = build(FanIn, ONE)
    part.fit([batch])
    for view in part(batch).networks[0].parameters().values():
        assert float(view.square().mean().sqrt()) == pytest.approx(1, abs=1e-5)


def test_fan_in_by_hand():
    """Hidden weights of 4 inputs, all 3.0: w √4 / rms(w √4) = 1; twice as large in another network: 2."""
    architecture = mlp(1, 4, 4, 1)
    batch = join({architecture: torch.full((1, architecture.num_weights), 3.0)}, {architecture: [0]})
    part = build(FanIn, architecture)
    part.fit([batch])
    doubled = part(batch.replace([batch.networks[0].weights * 2])).networks[0].parameters()
    assert torch.allclose(doubled["1.weight"], torch.full((1, 4, 4), 2.0))
    assert float(part.scale[part.keys.index(("linear.weight", "hidden"))]) == pytest.approx(3 * math.sqrt(4))


def test_an_unseen_width_is_scaled_by_its_fan_in():
    """A wider layer of the same type and position takes the same scale and its own √fan_in."""
    part = build(FanIn, ONE)
    part.fit([batch_of(ONE)])
    wide = mlp(1, 64, 64, 1)
    scale = float(part.scale[part.keys.index(("linear.weight", "hidden"))])
    batch = batch_of(wide)
    found = part(batch).networks[0].parameters()["1.weight"]
    assert torch.allclose(found, batch.networks[0].parameters()["1.weight"] * 8 / scale)


def test_an_unseen_position_takes_the_scale_of_its_type():
    """A hidden layer takes the scale of linear weights where no training network has a hidden layer."""
    part = build(FanIn, TWO)
    part.fit([batch_of(TWO)])
    deep = batch_of(ONE)
    found = part(deep).networks[0].parameters()["1.weight"]
    scale = float(part.scale[part.keys.index(("linear.weight", "*"))])
    assert torch.allclose(found, deep.networks[0].parameters()["1.weight"] * 2 / scale)


def test_per_parameter_standardises():
    """Each parameter of the training networks has mean 0 and standard deviation 1."""
    batch = batch_of(ONE)
    part = build(PerParameter, TWO, ONE)
    part.fit([batch])
    for name, view in part(batch).networks[0].parameters().items():
        if view[0].numel() > 1:
            assert float(view.mean()) == pytest.approx(0, abs=1e-5), name
            assert float(view.std(correction=0)) == pytest.approx(1, abs=1e-5), name


def test_per_parameter_refuses_an_unseen_architecture():
    """The error suggests a normalisation that takes any architecture."""
    part = build(PerParameter, ONE)
    part.fit([batch_of(ONE)])
    with pytest.raises(PartError, match="normalise/fan-in"):
        part(batch_of(TWO))


@pytest.mark.parametrize("cls", [FanIn, PerParameter])
def test_a_constant_parameter_stays_finite(cls):
    """A parameter that is 0 in all training networks does not become infinite."""
    batch = batch_of(ONE)
    zero = batch.networks[0].weights.clone()
    zero[:, 4:8] = 0.0
    batch = batch.replace([zero])
    part = build(cls, ONE)
    part.fit([batch])
    assert part(batch).networks[0].weights.isfinite().all()


def pieces(batch, size):
    return (batch.select(range(start, min(start + size, len(batch)))) for start in range(0, len(batch), size))


def test_fan_in_is_fitted_over_all_batches():
    """The scale is the root mean square over all networks, whatever the batches."""
    batch = batch_of(ONE, count=7)
    part = build(FanIn, ONE)
    part.fit(pieces(batch, 3))
    hidden = batch.networks[0].parameters()["1.weight"].flatten().tolist()
    expected = math.sqrt(4 * sum(w * w for w in hidden) / len(hidden))
    assert float(part.scale[part.keys.index(("linear.weight", "hidden"))]) == pytest.approx(expected)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_per_parameter_is_fitted_over_all_batches(offset):
    """Mean and standard deviation are those over all networks, even far from 0."""
    batch = batch_of(ONE, count=7)
    batch = batch.replace([batch.networks[0].weights + offset])
    part = build(PerParameter, ONE)
    part.fit(pieces(batch, 3))
    for number, view in enumerate(batch.networks[0].parameters().values()):
        assert float(part.mean[number]) == pytest.approx(statistics.fmean(view.flatten().tolist()))
        assert float(part.std[number]) == pytest.approx(statistics.pstdev(view.flatten().tolist()))


@pytest.mark.parametrize("cls", [NoNormalise, FanIn, PerParameter])
def test_no_batch_is_kept(cls):
    """A zoo that does not fit in memory can be normalised: at most one earlier batch is alive."""
    given, kept = [], []

    def passing():
        for piece in pieces(batch_of(ONE, count=8), 2):
            kept.append(sum(weights() is not None for weights in given[:-1]))
            given.append(weakref.ref(piece.networks[0].weights))
            yield piece

    part = build(cls, ONE)
    part.fit(passing())
    assert kept == ([] if cls is NoNormalise else [0, 0, 0, 0])


@pytest.mark.parametrize("cls", [NoNormalise, FanIn, PerParameter])
def test_normalising_commutes_with_permutations(cls):
    """Permuted and then normalised is normalised and then permuted."""
    batch = batch_of(ONE)
    part = build(cls, ONE)
    part.fit([batch])
    moves = sample(batch, seed=0, step=0)
    one, other = part(apply(batch, moves)), apply(part(batch), moves)
    assert torch.allclose(one.networks[0].weights, other.networks[0].weights)


@pytest.mark.parametrize("cls", [FanIn, PerParameter])
def test_the_constants_are_saved_with_the_model(cls):
    """They are part of the state dict."""
    batch = batch_of(ONE)
    fitted, loaded = build(cls, ONE), build(cls, ONE)
    fitted.fit([batch])
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(fitted(batch).networks[0].weights, loaded(batch).networks[0].weights)


@pytest.mark.parametrize("cls", [NoNormalise, FanIn, PerParameter])
def test_the_original_weights_stay_known(cls):
    """A normalised batch also has the weights as stored, in the order of its own networks."""
    batch = batch_of(ONE)
    part = build(cls, ONE)
    part.fit([batch])
    found = part(batch).select([3, 1]).networks[0]
    assert torch.equal(found.stored, batch.networks[0].weights[[3, 1]])


def test_a_move_after_normalising_also_moves_the_original_weights():
    """The original weights of moved networks are the moved original weights."""
    batch = batch_of(ONE)
    part = build(FanIn, ONE)
    part.fit([batch])
    elements = sample(batch, seed=1, step=2)
    moved = apply(part(batch), elements)
    assert torch.equal(moved.networks[0].stored, apply(batch, elements).networks[0].weights)
    assert torch.equal(part(batch).networks[0].act(elements[0]).stored, moved.networks[0].stored)


# -- a network whose training diverged -----------------------------------------------------------------------


def with_one_diverged(count=9, size=1e21):
    """Return a batch of networks without, and one with, a last network whose weights are ``size`` times."""
    batch = batch_of(ONE, count)
    weights = batch.networks[0].weights
    larger = torch.cat([weights, weights[:1] * size])
    return batch, join({ONE: larger}, {ONE: range(count + 1)})


@pytest.mark.parametrize("cls", [FanIn, PerParameter])
def test_a_diverged_network_decides_no_constant(cls):
    """The constants are those of the other networks, and a warning counts the networks without effect."""
    usual, both = with_one_diverged()
    expected, found = build(cls, ONE), build(cls, ONE)
    expected.fit([usual])
    with pytest.warns(UserWarning, match="1 of the training networks have unusually large weights"):
        found.fit([both])
    for name, constant in expected.named_buffers():
        assert torch.equal(dict(found.named_buffers())[name], constant), name


@pytest.mark.parametrize("cls", [FanIn, PerParameter])
def test_rescaled_weights_are_cut(cls):
    """Weights of a diverged network are cut at ±10⁴, so that their squares are finite in float32."""
    usual, both = with_one_diverged()
    part = build(cls, ONE)
    part.fit([usual])
    networks = part(both).networks[0]
    assert float(networks.weights.abs().max()) == 1e4
    assert torch.equal(networks.stored, both.networks[0].weights)
    assert torch.equal(networks.weights[:-1], part(usual).networks[0].weights)


@pytest.mark.parametrize("cls", [FanIn, PerParameter])
def test_a_zoo_near_zero_is_scaled_by_its_large_networks(cls, recwarn):
    """If weight decay has brought nine of ten networks near 0, the tenth still decides the scale."""
    batch = batch_of(ONE, 10)
    weights = batch.networks[0].weights * torch.tensor([1e-6] * 9 + [1.0])[:, None]
    part = build(cls, ONE)
    part.fit([batch.replace([weights])])
    assert not recwarn
    assert float(part(batch.replace([weights])).networks[0].weights.abs().max()) < 100


@pytest.mark.parametrize("cls", [FanIn, PerParameter])
def test_networks_that_diverged_in_different_parameters_are_counted_once_each(cls):
    """Of ten networks, one has a large weight, one a large bias and one both a NaN and a large weight."""
    batch = batch_of(ONE, 10)
    weights = batch.networks[0].weights.clone()
    views = ONE.views(weights)
    views["0.weight"][0], views["1.bias"][1], views["1.bias"][2], views["0.weight"][2] = (
        1e9,
        1e9,
        1e9,
        math.nan,
    )
    part = build(cls, ONE)
    with pytest.warns(UserWarning, match="3 of the training networks"):
        part.fit([batch.replace([weights])])
    assert all(bool(constant.isfinite().all()) for constant in part.buffers())


def test_a_cut_of_a_streamed_parameter_is_that_of_the_whole():
    """Weights that are rescaled by themselves, as when a large file is streamed, are cut, too."""
    usual, both = with_one_diverged()
    part = build(FanIn, ONE)
    part.fit([usual])
    views, whole = both.networks[0].parameters(), part(both).networks[0].parameters()
    for number, (name, view) in enumerate(views.items()):
        assert torch.allclose(part.rescale(ONE, number, view), whole[name])


@pytest.mark.parametrize("cls", [NoNormalise, FanIn, PerParameter])
def test_what_was_rescaled_is_restored(cls):
    """``undo`` gives the weights of networks of two architectures that ``forward`` rescaled."""
    batch = join(
        {ONE: 3 * batch_of(ONE).networks[0].weights, TWO: batch_of(TWO).networks[0].weights - 7},
        {ONE: range(5), TWO: range(5, 10)},
    )
    part = build(cls, ONE, TWO)
    part.fit([batch])
    restored = part.undo(part(batch))
    for own, given in zip(restored.networks, batch.networks, strict=True):
        torch.testing.assert_close(own.weights, given.weights)


def test_a_rescaling_of_unknown_constants_is_not_restored():
    """Without constants for an architecture there is nothing to restore with."""
    part = build(PerParameter, ONE)
    part.fit([batch_of(ONE)])
    with pytest.raises(PartError, match="was fitted on 1 architectures, not on linear 1×3"):
        part.undo(batch_of(TWO))


def test_a_part_that_cannot_restore_says_so():
    """A normalisation of others need not define ``undo``."""

    class Halves(Normalise):
        name = "toy/halves"
        Config = NoNormalise.Config

        def forward(self, batch):
            return batch.replace(networks.weights / 2 for networks in batch.networks)

    with pytest.raises(PartError, match="normalise 'toy/halves' cannot undo its rescaling"):
        build(Halves, ONE).undo(batch_of(ONE))

"""Invariance losses: 0 for an invariant model, checked by hand for another, and equal over processes."""

import numpy as np
import pytest
import torch
from sneframe_invariance.branches import COPY
from sneframe_invariance.invariance import Contrastive, EmbeddingDistance, Logit, nt_xent
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import join
from sneframe.parts.carriers import Embedding
from sneframe.parts.invariance import Output
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

ARCHITECTURE = mlp(1, 6, 6, 1)


class Sum(nn.Module):
    """An invariant model: the sum of all weights."""

    def forward(self, batch):
        value = batch.restore([n.weights.sum(1, keepdim=True) for n in batch.networks])
        return Output(embedding=value, value=value)


class First(nn.Module):
    """A model that is not invariant: the first weight, which belongs to a hidden neuron."""

    def forward(self, batch):
        value = batch.restore([n.weights[:, :1] for n in batch.networks])
        return Output(embedding=value, value=value)


def loss_of(model, positions=range(8), fraction=1.0, size=8):
    weights = torch.randn(8, ARCHITECTURE.num_weights, generator=torch.Generator().manual_seed(0))
    positions = np.array(list(positions))
    batch = join({ARCHITECTURE: weights}, {ARCHITECTURE: range(8)}).select(positions)
    part = Logit(
        Logit.Config(fraction=fraction), Spec(carrier=Embedding, width=1, architectures=(ARCHITECTURE,))
    )
    draw = Draw(seed=3, step=4, positions=positions, size=size)
    return part(model, batch, model(batch), draw), batch


def test_an_invariant_model_has_no_loss():
    """The loss of a model that no permutation changes is 0."""
    term, _ = loss_of(Sum())
    assert float(term.total) == pytest.approx(0, abs=1e-8)


def test_the_loss_is_the_squared_change():
    """The loss of another model is its squared change under the same group elements."""
    term, batch = loss_of(First())
    moved = apply(batch, sample(batch, seed=3, step=4))
    change = moved.networks[0].weights[:, 0] - batch.networks[0].weights[:, 0]
    assert float(term.total) == pytest.approx(float(change.square().sum()))
    assert float(term.total) > 0
    assert term.count == 8


def test_two_halves_of_a_batch_have_the_loss_of_the_whole():
    """Two processes that share a batch have together the loss of one process."""
    whole, _ = loss_of(First())
    halves = [loss_of(First(), range(rank, 8, 2))[0] for rank in range(2)]
    assert float(sum(half.total for half in halves)) == pytest.approx(float(whole.total))


def test_a_fraction_of_the_batch_has_a_loss():
    """With ``fraction=0.3`` the loss is that of the first 3 of 8 networks."""
    part, _ = loss_of(First(), fraction=0.3)
    first, _ = loss_of(First(), positions=range(3), size=3)
    assert part.count == 3
    assert float(part.total) == pytest.approx(float(first.total))


@pytest.mark.parametrize(("positions", "pays"), [([0, 7], True), ([6, 7], False)])
def test_a_process_without_a_chosen_network_calls_the_model(positions, pays):
    """Its loss is 0, but it calls the model: a part may wait for the statistics of all processes."""
    model, calls = First(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    term, _ = loss_of(model, positions=positions, fraction=0.5)
    assert (float(term.total) > 0) == pays
    assert term.count == 4
    assert len(calls) == 2


# -- options of all losses -----------------------------------------------------------------------------------


class Linear(nn.Module):
    """A trainable model that is not invariant: embedding = weights @ matrix, value = sum of the embedding."""

    def __init__(self, width=4):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.matrix = nn.Parameter(torch.randn(ARCHITECTURE.num_weights, width, generator=generator))

    def forward(self, batch):
        embedding = batch.restore([n.weights @ self.matrix for n in batch.networks])
        return Output(embedding=embedding, value=embedding.sum(1, keepdim=True))


def made(cls, **options):
    return cls(cls.Config(**options), Spec(carrier=Embedding, width=4, architectures=(ARCHITECTURE,)))


def batch_of_eight():
    weights = torch.randn(8, ARCHITECTURE.num_weights, generator=torch.Generator().manual_seed(0))
    return join({ARCHITECTURE: weights}, {ARCHITECTURE: range(8)})


def term_of(part, model):
    batch = batch_of_eight()
    draw = Draw(seed=3, step=4, positions=np.arange(8), size=8)
    return part(model, batch, model(batch), draw)


@pytest.mark.parametrize("cls", [Logit, EmbeddingDistance, Contrastive])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2, 2, 2, 2]),
        ({"schedule": "linear", "ramp": 0.5}, [0, 1, 2, 2]),
        ({"schedule": "cosine", "ramp": 1.0}, [0, 2 * (1 - 2**-0.5) / 2, 1, 2]),
    ],
)
def test_lambda_rises_as_scheduled(cls, options, expected):
    """λ is constant, or rises over the ramp linearly or as a cosine, and then stays."""
    part = made(cls, weight=2.0, **options)
    assert [part.weight(progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx(expected)


def test_copies_have_their_own_draws_and_are_averaged():
    """Each copy has group elements of its own, and the loss is the mean over copies."""
    model, batch = Linear(), batch_of_eight()
    changes = []
    for copy in range(3):
        moved = model(apply(batch, sample(batch, seed=3, step=4 + copy * COPY)))
        changes.append((moved.value - model(batch).value).square().sum().detach())
    assert len({float(change) for change in changes}) == 3
    term = term_of(made(Logit, copies=3), model)
    assert float(term.total.detach()) == pytest.approx(float(sum(changes)) / 3, rel=1e-5)


def test_stop_gradient_trains_only_the_moved_branch():
    """With ``stop_gradient`` the output for the unmoved networks is a constant."""
    model, batch = Linear(), batch_of_eight()
    term_of(made(Logit, stop_gradient=True), model).total.backward()
    fixed = model(batch).value.detach()
    moved = model(apply(batch, sample(batch, seed=3, step=4))).value
    (expected,) = torch.autograd.grad((fixed - moved).square().sum(), model.matrix)
    assert torch.allclose(model.matrix.grad, expected, rtol=1e-4)


def test_the_embedding_loss_is_a_mean_over_the_width():
    """It is the squared change of the embedding, divided by its width."""
    model, batch = Linear(), batch_of_eight()
    moved = model(apply(batch, sample(batch, seed=3, step=4)))
    expected = (moved.embedding - model(batch).embedding).square().mean(1).sum()
    assert float(term_of(made(EmbeddingDistance), model).total.detach()) == pytest.approx(
        float(expected.detach()), rel=1e-5
    )


def test_nt_xent_equals_its_definition():
    """Chen et al. (2020), eq 1, as loops: each of 2n points looks for its partner among all other points."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 3, 5, generator=generator)
    points = [point / point.norm() for point in (*first, *second)]
    expected = 0.0
    for i, point in enumerate(points):
        partner = (i + 3) % 6
        others = sum(torch.exp(point @ points[k] / 0.5) for k in range(6) if k != i)
        expected -= torch.log(torch.exp(point @ points[partner] / 0.5) / others)
    assert float(nt_xent(first, second, 0.5)) == pytest.approx(float(expected) / 2, rel=1e-5)


def test_an_invariant_encoder_gains_from_a_low_temperature():
    """Its contrastive loss is smaller at a lower temperature, because every copy is the nearest point."""

    class Statistics(nn.Module):
        def forward(self, batch):
            rows = [
                torch.stack([w.sum(1), w.square().sum(1), w.amax(1), w.amin(1)], 1)
                for w in [n.weights for n in batch.networks]
            ]
            value = batch.restore(rows)
            return Output(embedding=value, value=value)

    torch.manual_seed(0)
    warm = made(Contrastive, temperature=1.0)
    cool = made(Contrastive, temperature=0.01)
    cool.load_state_dict(warm.state_dict())
    assert float(term_of(cool, Statistics()).total.detach()) < float(
        term_of(warm, Statistics()).total.detach()
    )


def test_the_contrastive_loss_trains_its_projection():
    """The weights of the projection get a gradient."""
    part = made(Contrastive)
    term_of(part, Linear()).total.backward()
    assert all(
        parameter.grad.abs().sum() > 0 for parameter in part.project[2].parameters() if parameter.ndim > 1
    )


@pytest.mark.parametrize("options", [{"actions": ()}, {"actions": ("turn",)}, {"copies": 0}, {"ramp": 0.0}])
def test_impossible_options_are_refused(options):
    """The error names the option."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Logit.Config(**options)


def test_only_the_given_actions_are_applied():
    """With ``actions=("sign",)`` weights of ±1 stay ±1, and some change their sign."""
    linear = Architecture.from_module(nn.Sequential(nn.Linear(1, 6), nn.Identity(), nn.Linear(6, 1)))
    batch = join({linear: torch.ones(2, linear.num_weights)}, {linear: range(2)})
    seen = []

    class Look(nn.Module):
        def forward(self, batch):
            seen.append(batch.networks[0].weights)
            return Output(embedding=batch.networks[0].weights, value=batch.networks[0].weights)

    part = Logit(Logit.Config(actions=("sign",)), Spec(carrier=Embedding, width=1, architectures=(linear,)))
    part(Look(), batch, Look()(batch), Draw(seed=0, step=0, positions=np.arange(2), size=2))
    assert set(seen[-1].unique().tolist()) == {-1, 1}

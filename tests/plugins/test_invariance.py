"""Logit invariance: zero for an invariant model, by hand for one that is not, the same over processes."""

import numpy as np
import pytest
import torch
from sneframe_invariance.invariance import Logit
from torch import nn

from sneframe.batch import join
from sneframe.invariance import Draw, Output
from sneframe.part import Embedding, Spec
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

ARCHITECTURE = mlp(1, 6, 6, 1)


class Sum(nn.Module):
    """Invariant: the sum of all weights."""

    def forward(self, batch):
        value = batch.restore([n.weights.sum(1, keepdim=True) for n in batch.networks])
        return Output(embedding=value, value=value)


class First(nn.Module):
    """Not invariant: the first weight, which belongs to a hidden neuron."""

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


def test_an_invariant_model_pays_nothing():
    term, _ = loss_of(Sum())
    assert float(term.total) == pytest.approx(0, abs=1e-8)


def test_another_pays_its_squared_change():
    term, batch = loss_of(First())
    moved = apply(batch, sample(batch, seed=3, step=4))
    change = moved.networks[0].weights[:, 0] - batch.networks[0].weights[:, 0]
    assert float(term.total) == pytest.approx(float(change.square().sum()))
    assert float(term.total) > 0
    assert term.count == 8


def test_two_halves_of_a_batch_pay_what_the_whole_pays():
    whole, _ = loss_of(First())
    halves = [loss_of(First(), range(rank, 8, 2))[0] for rank in range(2)]
    assert float(sum(half.total for half in halves)) == pytest.approx(float(whole.total))


def test_a_fraction_of_the_whole_batch_pays():
    part, _ = loss_of(First(), fraction=0.3)
    first, _ = loss_of(First(), positions=range(3), size=3)
    assert part.count == 3
    assert float(part.total) == pytest.approx(float(first.total))


@pytest.mark.parametrize(("positions", "pays"), [([0, 7], True), ([6, 7], False)])
def test_a_slice_without_a_chosen_network_pays_nothing_but_calls_the_model(positions, pays):
    """A part that takes statistics over all processes waits for all of them."""
    model, calls = First(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    term, _ = loss_of(model, positions=positions, fraction=0.5)
    assert (float(term.total) > 0) == pays
    assert term.count == 4
    assert len(calls) == 2

"""A network whose training diverged: its weights are finite, but as large as 1e21."""

import pytest
import torch

import sneframe
from sneframe.batch import join
from sneframe.plugins import installed, load
from sneframe.testing import mlp

ARCHITECTURE = mlp(2, 4, 4, 3)


@pytest.mark.parametrize("recipe", sorted(load(installed()).recipes))
@pytest.mark.filterwarnings("ignore::UserWarning")  # one says that the training of a network diverged
def test_a_diverged_network_and_all_others_have_finite_embeddings(recipe):
    """Every recipe gives finite embeddings, whether it reads weights, statistics or outputs."""
    weights = torch.randn(10, ARCHITECTURE.num_weights, generator=torch.Generator().manual_seed(0))
    weights[-1] *= 1e21
    batch = join({ARCHITECTURE: weights}, {ARCHITECTURE: range(10)})
    encoder = sneframe.encoder(recipe, batch).eval()
    with torch.no_grad():
        assert encoder(batch).isfinite().all()


@pytest.mark.parametrize("size", [1e6, 1e21])
@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu"])
@pytest.mark.parametrize(
    "recipe",
    [
        "probe/classifier",
        "sne/probe",
        "sne/message",
        "sne/default",
        "neural-graph/default",
        "scale-gmn/default",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_diverged_network_gives_finite_gradients(recipe, activation, size):
    """A step on a batch with such a network gives finite gradients, so the others are learned."""
    architecture = mlp(2, 4, 4, 3, activation=activation)
    weights = torch.randn(10, architecture.num_weights, generator=torch.Generator().manual_seed(0))
    weights[-1] *= size
    batch = join({architecture: weights}, {architecture: range(10)})
    encoder = sneframe.encoder(recipe, batch)
    encoder(batch).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)

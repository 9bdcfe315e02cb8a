"""Derived neuron groups of residual and flattened convolutional networks, from training to the report."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sneframe
from sneframe import Architecture
from sneframe.symmetry import verify
from sneframe.zoo import create


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.back, self.last = (
            nn.Linear(1, 6), nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 1)
        )  # fmt: skip

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.last(x + self.back(F.relu(self.inner(x))))


def flattened():
    return nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6, 1))


def trained(make, shape, slope):
    """Train a network for a few steps to return the mean of its inputs times a slope."""
    network = make()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    x = torch.linspace(-1, 1, 16 * shape[-1]).view(16, *shape)
    for _ in range(15):
        loss = (network(x).flatten() - slope * x.flatten(1).mean(1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "residual.zarr"
    torch.manual_seed(0)
    with create(path, name="residual") as writer:
        for number in range(48):
            make, shape = ((Residual, (1,)), (flattened, (1, 8)))[number % 2]
            slope = float(torch.rand(()) * 4 - 2)
            network = trained(make, shape, slope)
            architecture = Architecture.from_module(network, torch.randn(2, *shape))
            if number < 2:
                assert verify(network, architecture, torch.randn(5, *shape)).error <= 1e-10
            weights = {p.name: network.state_dict()[p.name][None] for p in architecture.parameters}
            writer.append(architecture, weights, {"slope": [slope]}, group=number)
    return path


def test_derived_groups_are_stored(zoo):
    """The zoo stores the derived neuron groups of both architectures."""
    found = [{g.name: (g.size, g.actions) for g in a.groups} for a in sneframe.open_zoo(zoo).architectures]
    assert found == [
        {"hidden0": (6, ("permute", "sign")), "hidden1": (8, ("permute", "scale"))},
        {"hidden0": (4, ("permute", "scale"))},
    ]


def test_sne_learns_from_them_with_logit_invariance(zoo, tmp_path):
    """SNE runs on residual and flattened networks, and reports scores for both."""
    words = ("layer_encoder.width=16", "tokenizer.chunk_size=8", "train.epochs=3", "train.batch_size=8")
    config = sneframe.recipe("sne", f"zoo.path={zoo}", "zoo.property=slope", *words)
    metrics = sneframe.run(config, tmp_path / "run").metrics
    assert len(metrics["by_architecture"]) == 2
    assert metrics["invariance"]["e_g"] > 0
    assert (tmp_path / "run" / "report.html").is_file()

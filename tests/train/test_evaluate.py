"""The invariance error, computed by hand for a linear model of networks with two hidden neurons."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import nn

from sneframe import devices
from sneframe.config.schema import ZooConfig
from sneframe.errors import RunError
from sneframe.parts.invariance import Output
from sneframe.progress import Reporter
from sneframe.tasks import Regression, Tasks
from sneframe.testing import toy_zoo
from sneframe.train import evaluate
from sneframe.train.data import Split, load_data

COUNT = 12
COEFFICIENTS = torch.arange(1.0, 8.0, dtype=torch.float64)


class Linear(nn.Module):
    """f(x) = factor · (x₁ + 2 x₂ + … + 7 x₇) plus a constant; it keeps its inputs."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.encoder = SimpleNamespace(width=1, aggregator=SimpleNamespace(out=SimpleNamespace(values=1)))
        self.factor, self.given = factor, []

    def forward(self, batch):
        (networks,) = batch.networks
        self.given.append(batch.restore([networks.weights]))
        value = self.factor * batch.restore([networks.weights @ COEFFICIENTS.float()[:, None]]) + 0.1
        return Output(embedding=value, value=value)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve test networks with weights a a′, biases b b′, weights v v′ and bias c."""
    path = toy_zoo(tmp_path_factory.mktemp("zoo") / "toy.zarr", hidden=((2,),), networks=COUNT)
    loaded = load_data(ZooConfig(path=str(path)), Reporter())
    return evolve(loaded, split=Split(train=np.arange(1), val=np.arange(1), test=np.arange(COUNT)))


def measure(data, model):
    """Return e_g and e_noise, and the inputs ``(12, 7)`` of the model: x, g·x, and x with noise."""
    accelerator = devices.prepare("cpu", "no")
    value = evaluate.predict(model, data, data.split.test, accelerator, batch_size=5).value
    found = evaluate.invariance(model, data, data.split.test, value, accelerator, seed=0, batch_size=5)
    return found, torch.cat(model.given).split(COUNT)


def variance_of(values):
    return ((values - values.mean()) ** 2).mean()


def test_e_g_is_the_relative_change_under_permutations(data):
    """Swapped neurons change f by (a − a′) + (b − b′) + (v − v′)."""
    found, (x, moved, _) = measure(data, Linear())
    swapped = (moved != x).any(1)
    assert 0 < swapped.sum() < COUNT
    assert torch.equal(moved[swapped], x[swapped][:, [1, 0, 3, 2, 5, 4, 6]])
    f = x.double() @ COEFFICIENTS
    change = x[:, [0, 2, 4]].sum(1) - x[:, [1, 3, 5]].sum(1)
    expected = (change[swapped].double() ** 2).sum() / COUNT / variance_of(f)
    assert found.e_g == pytest.approx(float(expected), rel=1e-5)


def test_e_noise_uses_noise_of_the_same_size(data):
    """The noise moves each network as far as the permutation does, in every weight."""
    found, (x, moved, noised) = measure(data, Linear())
    noise = noised - x
    assert torch.allclose(noise.norm(dim=1), (moved - x).norm(dim=1), atol=1e-5)
    assert (noise[(moved != x).any(1)].abs() > 0).all()  # every weight, even c, which no permutation moves
    f = x.double() @ COEFFICIENTS
    change = noise.double() @ COEFFICIENTS
    assert found.e_noise == pytest.approx(float((change**2).mean() / variance_of(f)), rel=1e-4)


def test_a_constant_model_has_no_invariance_errors(data):
    """The errors are undefined for a model whose predictions do not vary."""
    assert measure(data, Linear(factor=0.0))[0] is None


def test_a_network_without_a_finite_prediction_is_named(data):
    """One such network among others is an error that names it and says how large its weights are."""
    (name,) = data.columns
    value = torch.zeros(COUNT, 1)
    value[3] = float("nan")
    tasks = Tasks(each=[Regression(name=name, mean=0.0, std=1.0)])
    largest = float(data.select(data.split.test[3:4]).networks[0].weights.abs().max())
    said = rf"^1 of 12 networks have no finite prediction, such as network 3 \(.*\), .* is {largest:.3g}; if"
    with pytest.raises(RunError, match=said):
        evaluate.scores(tasks, data, data.split.test, value)

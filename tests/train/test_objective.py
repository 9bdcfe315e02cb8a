"""The objective, computed by hand for first weights 1 and 3 and a model that doubles them (θ = 2)."""

import numpy as np
import pytest
import torch
from torch import nn

from sneframe.batch import join
from sneframe.parts.invariance import LossTerm, Output
from sneframe.rng import Draw
from sneframe.tasks import Regression, Tasks
from sneframe.testing import mlp
from sneframe.train.objective import Objective

ARCHITECTURE = mlp(1, 2, 1)


class Times(nn.Module):
    """The output is θ times the first weight: 2 and 6."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(2.0))

    def forward(self, batch):
        value = self.theta * batch.restore([n.weights[:, :1] for n in batch.networks])
        return Output(embedding=value, value=value)


class Squares(nn.Module):
    """The loss is the sum of squares over four networks, (4 + 36) / 4 = 10; λ = 0.3 in the second half."""

    def weight(self, progress):
        return 0.3 if progress >= 0.5 else 0.0

    def forward(self, model, batch, output, draw):
        assert self.weight(1.0) > 0
        return LossTerm(total=output.value.square().sum(), count=4)


def step(*, invariance, task_weight=0.5, size=2, processes=1, progress=0.5):
    """Return the loss, its parts, and the gradient of θ, for targets 0.5 and 2."""
    weights = torch.zeros(2, ARCHITECTURE.num_weights)
    weights[:, 0] = torch.tensor([1.0, 3.0])
    batch = join({ARCHITECTURE: weights}, {ARCHITECTURE: [0, 1]})
    tasks = Tasks(each=[Regression(name="f", mean=100.0, std=7.0)])
    model = Times()
    objective = Objective(model, tasks, invariance, task_weight=task_weight, processes=processes)
    draw = Draw(seed=0, step=0, positions=np.arange(2), size=size)
    loss, parts = objective(batch, torch.tensor([[0.5], [2.0]]), draw, progress)
    loss.backward()
    return float(loss.detach()), parts.tolist(), float(model.theta.grad)


def test_the_task_loss_is_the_standardised_mse():
    """The loss is (1.5² + 4²) / 2 = 9.125, its gradient is (2 · 1.5 · 1 + 2 · 4 · 3) / 2 = 13.5."""
    loss, parts, gradient = step(invariance=None, task_weight=1.0)
    assert (loss, parts, gradient) == (9.125, [9.125, 9.125, 0.0], 13.5)


def test_the_invariance_loss_is_added_lambda_times():
    """The loss is 0.5 · 9.125 + 0.3 · 10 = 7.5625; ∂(Σ (θ w)² / 4)/∂θ = 2 · 2 · (1 + 9) / 4 = 10."""
    loss, parts, gradient = step(invariance=Squares())
    assert loss == pytest.approx(7.5625)
    assert parts == pytest.approx([7.5625, 9.125, 10.0])
    assert gradient == pytest.approx(0.5 * 13.5 + 0.3 * 10.0)


def test_lambda_may_depend_on_the_progress():
    """The weight of the invariance loss may depend on the progress of the training."""
    loss, parts, gradient = step(invariance=Squares(), progress=0.4)
    assert (loss, parts, gradient) == (0.5 * 9.125, [0.5 * 9.125, 9.125, 0.0], 0.5 * 13.5)


def test_each_of_two_processes_gives_twice_its_loss():
    """Each process has two of four networks and doubles its loss, since gradients are averaged."""
    loss, parts, gradient = step(invariance=Squares(), size=4, processes=2)
    assert parts == pytest.approx([0.5 * 4.5625 + 0.3 * 10.0, 4.5625, 10.0])
    assert loss == pytest.approx(2 * parts[0])
    assert gradient == pytest.approx(2 * (0.5 * 6.75 + 0.3 * 10.0))

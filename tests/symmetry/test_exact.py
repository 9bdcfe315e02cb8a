"""A description is compared with its module: a difference is found, said, and forbids evaluation."""

import warnings

import pytest
import torch
from attrs import evolve
from torch import nn

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import obstacle
from sneframe.symmetry import verify
from sneframe.symmetry.describe import describe


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


class Dependent(nn.Module):
    """Computes another function for more than two examples, which one run cannot show."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        y = self.last(torch.tanh(self.first(x)))
        return 2 * y if len(x) > 2 else y


class Infinite(nn.Module):
    """Returns no finite number."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return (-(self.last(torch.tanh(self.first(x))) ** 2) - 1).log()


def test_a_right_description_has_no_difference():
    """The description that is derived from a module computes what the module computes."""
    module = mlp()
    assert verify(module, Architecture.from_module(module), torch.randn(2, 3)).difference is None


@pytest.mark.parametrize(
    "wrong",
    [{"activation": "erf"}, {"attributes": {"factor": 2.0}}, {"attributes": {"shift": 0.001}}],
    ids=["activation", "factor", "shift"],
)
def test_a_wrong_description_has_a_difference(wrong):
    """Verifying finds a wrong activation, factor or shift, although the symmetry is right."""
    module = mlp()
    first, last = Architecture.from_module(module).layers
    architecture = evolve(Architecture.from_module(module), layers=(evolve(first, **wrong), last))
    assert "differ by" in verify(module, architecture, torch.randn(2, 3)).difference


def test_a_function_of_the_number_of_examples_is_not_evaluated():
    """The difference shows with one example more; describing warns, and the description has an obstacle."""
    with pytest.warns(UserWarning, match="cannot be used to evaluate the network: its outputs differ"):
        architecture = describe(Dependent(), torch.randn(2, 3))
    assert "its outputs differ" in obstacle(architecture)
    assert architecture.symmetry == "verified"


def test_what_cannot_be_compared_is_not_evaluated():
    """A module without finite outputs cannot be compared, so its description is not trusted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its symmetry cannot be verified either
        architecture = describe(Infinite(), torch.randn(2, 3))
    assert "not finite" in obstacle(architecture)

"""Architectures from live modules and from state dicts: what is found, and what is refused."""

import pytest
import torch
from torch import nn

from sneframe import batch as batches
from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.symmetry import apply, sample


class SmallCNN(nn.Module):
    """The Small CNN Zoo's network, written without nn.Sequential."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 16, 3, 2), nn.Conv2d(16, 16, 3, 2), nn.Conv2d(16, 16, 3, 2)])
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.head(x.mean((2, 3)))


class Siren(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(torch.sin(30 * self.first(x))) + 0.5


MLP = nn.Sequential(
    nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 6, bias=False), nn.Tanh(), nn.Linear(6, 2)
)
GAP = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 6, 3),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(6, 5),
)
FLAT = nn.Sequential(
    nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 7), nn.ReLU(), nn.Linear(7, 2)
)


def groups(architecture):
    return {group.name: group.size for group in architecture.groups}


def test_an_mlp_has_one_group_per_hidden_layer():
    found = Architecture.from_module(MLP)
    assert groups(found) == {"hidden0": 8, "hidden1": 6}
    assert found.parameters[2].axes == ((("hidden1",),), (("hidden0",),))
    assert found.types == ("linear.weight", "linear.bias", "linear.weight", "linear.weight", "linear.bias")
    assert [layer.activation for layer in found.layers] == ["relu", "tanh", "none"]


def test_the_small_cnn_zoo_network_has_three_groups_of_sixteen():
    found = Architecture.from_module(SmallCNN())
    assert groups(found) == {"hidden0": 16, "hidden1": 16, "hidden2": 16}
    assert found.num_weights == 4970
    assert [layer.kind for layer in found.layers] == [
        "conv2d",
        "conv2d",
        "conv2d",
        "global_average_pool",
        "linear",
    ]


def test_the_columns_after_a_flattened_convolution_are_blocks():
    found = Architecture.from_module(FLAT)
    assert found.parameters[2].axes[1] == (("hidden0", 36),)


def test_the_constants_of_a_sine_network_are_kept():
    found = Architecture.from_module(Siren())
    assert found.layers[0].activation == "sine"
    assert found.layers[0].attributes["affine"] == [["mul", 30.0]]
    assert found.layers[1].attributes["affine"] == [["add", 0.5]]


@pytest.mark.parametrize(
    ("module", "shape"),
    [(MLP, (3,)), (GAP, (3, 12, 12)), (FLAT, (1, 8, 8)), (SmallCNN(), (1, 28, 28)), (Siren(), (2,))],
)
def test_moving_neurons_does_not_change_what_the_network_computes(module, shape):
    module = module.double().eval()
    batch = batches.from_modules([module]).to(dtype=torch.float64)
    torch.manual_seed(0)
    batch = batch.replace([torch.randn_like(batch.networks[0].weights)])
    moved = apply(batch, sample(batch, seed=1, step=2))
    x = torch.randn(4, *shape, dtype=torch.float64)
    outputs = []
    for weights in (batch, moved):
        state = {name: value[0] for name, value in weights.networks[0].parameters().items()}
        outputs.append(torch.func.functional_call(module, state, x))
    assert not torch.equal(batch.networks[0].weights, moved.networks[0].weights)
    assert torch.allclose(*outputs, atol=1e-10, rtol=0)


def test_a_state_dict_gives_what_its_module_gives():
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    assert Architecture.from_state_dict(network.state_dict()) == Architecture.from_module(network)


def test_a_state_dict_with_unclear_flattening_takes_the_neurons_as_fixed():
    with pytest.warns(UserWarning, match=r"'0.weight'"):
        found = Architecture.from_state_dict(FLAT.state_dict())
    assert groups(found) == {"hidden1": 7}


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.b(x) + self.a(x)


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Residual(), "branches or joins"),
        (Looping(), "cannot be traced"),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), "BatchNorm1d"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "grouped"),
        (nn.Sequential(nn.Flatten()), "no linear"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "before the first layer"),
    ],
)
def test_what_cannot_be_followed_is_named(module, said):
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_module(module)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "no linear"),
        ({"a.weight": torch.zeros(3, 2), "b.weight": torch.zeros(4, 5)}, "takes 5 inputs"),
        ({"a.weight": torch.zeros(3, 2), "a.bias": torch.zeros(4)}, "expected \\(3,\\)"),
        ({"bn.running_mean": torch.zeros(3)}, "running_mean"),
        ({"a.weight": torch.zeros(3, 2), "b.weight": torch.zeros(4, 3, 3, 3)}, "after a linear"),
    ],
)
def test_a_state_dict_that_is_no_chain_is_refused(state, said):
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_state_dict(state)

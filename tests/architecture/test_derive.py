"""Architectures derived from modules: layers, activations and attributes; unknown operations are fixed."""

import pytest
import torch
import torch.nn.functional as F
from networks import LeNet, SmallCNN, Twice
from torch import nn

from sneframe import from_modules
from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.symmetry import apply, sample, verify


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


def kinds(architecture):
    return [layer.kind for layer in architecture.layers]


def groups(architecture):
    return {group.name: group.size for group in architecture.groups}


def test_mlp_has_one_group_per_hidden_layer():
    """Each hidden layer of an MLP is one group, which its rows, bias and reader share."""
    found = Architecture.from_module(MLP)
    assert groups(found) == {"hidden0": 8, "hidden1": 6}
    assert found.parameters[2].axes == ((("hidden1",),), (("hidden0",),))
    assert found.types == ("linear.weight", "linear.bias", "linear.weight", "linear.weight", "linear.bias")
    assert [layer.activation for layer in found.layers] == ["relu", "tanh", "none"]


def test_relu_keeps_scales_and_tanh_keeps_signs():
    """Neurons before ReLU can be scaled, and neurons before tanh can be flipped."""
    found = Architecture.from_module(MLP)
    assert [group.actions for group in found.groups] == [("permute", "scale"), ("permute", "sign")]
    weights = [p for p in found.parameters if p.role == "weight"]
    assert [p.scale for p in weights] == [((1,), (0,)), ((0,), (-1,)), ()]
    assert [p.sign for p in weights] == [(), ((1,), (0,)), ((0,), (1,))]


@pytest.mark.parametrize(
    "activation", [nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.ReLU6(), nn.ELU(), nn.Softplus()]
)
def test_other_activations_only_allow_permutations(activation):
    """Neurons before any other activation can only be permuted."""
    found = Architecture.from_module(nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 1)))
    assert found.groups[0].actions == ("permute",)


def test_cnn_layers_have_kinds_and_attributes():
    """The layers of a CNN have their kinds, and convolutions have stride, padding and dilation."""
    found = Architecture.from_module(SmallCNN())
    assert kinds(found) == ["conv2d", "conv2d", "conv2d", "global_average_pool", "linear"]
    assert found.num_weights == 4970
    assert found.layers[0].attributes == {"stride": [2, 2], "padding": [0, 0], "dilation": [1, 1]}


def test_flattening_is_a_layer():
    """A flatten between convolutions and linear layers is a layer without parameters."""
    found = Architecture.from_module(LeNet())
    before = ["conv2d", "max_pool", "conv2d", "max_pool"]
    assert kinds(found) == [*before, "flatten", "linear", "linear"]


def test_average_and_maximum_pooling_have_different_kinds():
    """Global average pooling and global maximum pooling are layers of different kinds."""
    found = [
        kinds(
            Architecture.from_module(nn.Sequential(nn.Conv2d(1, 4, 3), pool, nn.Flatten(), nn.Linear(4, 1)))
        )[1]
        for pool in (nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1))
    ]
    assert found == ["global_average_pool", "global_max_pool"]


def test_constants_of_a_sine_network_are_attributes():
    """The factor before a sine and the offset at the end are attributes of their layers."""
    found = Architecture.from_module(Siren())
    assert found.layers[0].activation == "sine"
    assert found.layers[0].attributes == {"factor": 30.0}
    assert found.layers[1].attributes == {"shift": 0.5}
    assert found.groups[0].actions == ("permute", "sign")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.c(x + self.b(x))


def test_residual_connection_is_a_layer_that_adds():
    """A residual connection is a layer that adds two others, and its stream is one group."""
    found = Architecture.from_module(Residual())
    assert [(layer.kind, layer.inputs) for layer in found.layers] == [
        ("linear", ()),
        ("linear", (0,)),
        ("add", (0, 1)),
        ("linear", (2,)),
    ]
    assert groups(found) == {"hidden0": 4}


@pytest.mark.parametrize(
    ("module", "shape"),
    [(MLP, (3,)), (GAP, (3, 12, 12)), (LeNet(), (1, 28, 28)), (SmallCNN(), (1, 28, 28)), (Siren(), (2,))],
)
def test_moving_neurons_leaves_the_outputs_unchanged(module, shape):
    """Random elements of the derived groups do not change the outputs of a network."""
    module = module.double().eval()
    batch = from_modules([module]).to(dtype=torch.float64)
    torch.manual_seed(0)
    batch = batch.replace([torch.randn_like(batch.networks[0].weights)])
    moved = apply(batch, sample(batch, seed=1, step=2, actions=("permute", "scale", "sign")))
    x = torch.randn(4, *shape, dtype=torch.float64)
    outputs = []
    for weights in (batch, moved):
        state = {name: value[0] for name, value in weights.networks[0].parameters().items()}
        outputs.append(torch.func.functional_call(module, state, x))
    assert not torch.equal(batch.networks[0].weights, moved.networks[0].weights)
    assert torch.allclose(*outputs, atol=1e-10, rtol=1e-10)


def test_deriving_leaves_the_module_unchanged():
    """Deriving changes neither weights, nor modes, nor hooks of a module."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    Architecture.from_module(module)
    assert module.training
    assert module[1].training
    assert not module[0]._forward_hooks
    assert not module[0]._forward_pre_hooks
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class Between(nn.Module):
    """A function between two linear layers."""

    def __init__(self, between, reads=6):
        super().__init__()
        self.first, self.between, self.last = nn.Linear(3, 6), between, nn.Linear(reads, 2)

    def forward(self, x):
        return self.last(self.between(self.first(x)))


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x.cumsum(-1),
        lambda x: x.flip(-1),
        lambda x: x * torch.arange(6.0).to(x),
        lambda x: x + x[:, [1, 2, 3, 4, 5, 0]],
        lambda x: torch.fft.rfft(x).real.repeat(1, 2)[:, :6],
        lambda x: x.roll(1, -1),
    ],
)
def test_neurons_that_are_treated_differently_are_fixed(between):
    """Neurons that an operation treats differently are in no group."""
    module = Between(between)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        found = Architecture.from_module(module, torch.randn(5, 3))
    assert found.groups == ()


def test_operation_without_a_rule_is_named_in_a_warning():
    """An operation without a rule fixes the axes of its inputs, and a warning names both."""
    message = "not followed at scatter_add, so these axes are fixed: 'first.bias' axis 0"

    def between(x):
        return torch.zeros_like(x).scatter_add(1, torch.zeros(x.shape, dtype=torch.int64), x)

    with pytest.warns(UserWarning, match=message):
        found = Architecture.from_module(Between(between), torch.randn(5, 3))
    assert found.groups == ()


def test_unused_parameter_is_fixed_with_a_warning():
    """A parameter that the forward pass does not use is described with fixed axes, and a warning names it."""
    module = Between(nn.ReLU())
    module.spare = nn.Linear(2, 2)
    with pytest.warns(UserWarning, match=r"does not use 'spare.weight', 'spare.bias'"):
        found = Architecture.from_module(module, torch.randn(5, 3))
    assert [p.name for p in found.parameters][-2:] == ["spare.weight", "spare.bias"]
    assert groups(found) == {"hidden0": 6}


def test_layer_used_twice_is_described_once():
    """A layer that is used twice is one layer, whose inputs and outputs share a group."""
    module = Twice()
    found = Architecture.from_module(module)
    assert groups(found) == {"hidden0": 5}
    assert verify(module, found, torch.randn(4, 3)).error <= 1e-10


def test_mapping_is_passed_as_keyword_arguments():
    """An example input that is a mapping is passed as keyword arguments."""

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 4)

        def forward(self, *, signal):
            return self.linear(signal).sum(-1)

    assert groups(Architecture.from_module(Named(), {"signal": torch.randn(2, 3)})) == {"hidden0": 4}


def test_only_floating_point_buffers_are_parameters():
    """The running statistics of a batch norm are described, and its counter of batches is not."""
    found = Architecture.from_module(nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.Conv1d(3, 1, 1)))
    assert [p.name for p in found.parameters if p.name.startswith("1.")] == [
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    ]


@pytest.mark.parametrize(
    ("module", "example", "reason"),
    [
        (nn.Sequential(nn.Flatten()), None, "no parameter"),
        (nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)), None, "found no input that the module accepts"),
        (nn.Sequential(nn.Linear(3, 2)), torch.randn(2, 5), "fails on the example input: RuntimeError"),
        (nn.Bilinear(2, 2, 2), None, "found no input that the module accepts"),
    ],
)
def test_module_that_cannot_be_run_is_refused(module, example, reason):
    """A module without parameters, or one that cannot run on any input, raises an error."""
    with pytest.raises(ArchitectureError, match=reason):
        Architecture.from_module(module, example)

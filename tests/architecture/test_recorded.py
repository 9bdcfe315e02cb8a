"""Descriptions that were recorded from modules compute what the modules compute."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, Twice
from test_grammar import cnns, networks
from torch import nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import arguments
from sneframe.architecture.evaluate import layer_values, obstacle
from sneframe.architecture.evaluate.plan import plan
from sneframe.architecture.outputs import tensors
from sneframe.architecture.trace import input_tensors
from sneframe.batch import flatten


def recorded(module, example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # axes that cannot be followed are another matter
        return Architecture.from_module(module, example)


def wide(example):
    """Return an example input with its floating-point tensors in float64."""
    return torch.utils._pytree.tree_map(
        lambda v: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v, example
    )


def error(module, architecture, example):
    """Return the largest difference between the values of a description and those of its module."""
    weights = flatten(architecture, dict(module.state_dict()), dtype=torch.float64)[None]
    args, kwargs = arguments(example)
    with torch.no_grad():
        expected = [value for _, value in tensors(module(*args, **kwargs))]
    values = layer_values(architecture, weights, tuple(input_tensors((args, kwargs))))
    found = [values[number][0] for number in plan(architecture).outputs]
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


def prepared(module):
    """Return a module in float64 and evaluation mode, with running statistics that are not 0 and 1."""
    module = module.double().eval()
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return module


@pytest.mark.parametrize("name", NETWORKS)
def test_description_of_each_family_computes_what_the_module_computes(name):
    """MLPs, INRs, CNNs, residual networks, transformers and recurrent networks are described exactly."""
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    module, example = prepared(make()), wide(example)
    architecture = recorded(module, example)
    assert obstacle(architecture) is None
    assert error(module, architecture, example) <= 1e-10


@settings(max_examples=25, deadline=None)
@given(network=networks(), seed=st.integers(0, 2**16))
def test_random_linear_networks_are_described_exactly(network, seed):
    """Random networks of linear layers are described exactly, for any number of examples."""
    torch.manual_seed(seed)
    module, example = prepared(network), torch.randn(3, 2, 3).double()
    architecture = recorded(module, example)
    assert obstacle(architecture) is None
    assert error(module, architecture, example) <= 1e-10
    assert error(module, architecture, torch.randn(5, 2, 3).double()) <= 1e-10


@settings(max_examples=15, deadline=None)
@given(network=cnns(), seed=st.integers(0, 2**16))
def test_random_cnns_are_described_exactly(network, seed):
    """Random convolutional networks are described exactly, for any number of examples."""
    torch.manual_seed(seed)
    module, example = prepared(network), torch.randn(2, 2, 12, 12).double()
    architecture = recorded(module, example)
    assert obstacle(architecture) is None
    assert error(module, architecture, torch.randn(4, 2, 12, 12).double()) <= 1e-10


class Between(nn.Module):
    """A function between two linear layers of width 6."""

    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(4, 6), nn.Linear(6, 2), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def _counted(x):
    """Add a constant, and add it again after it was written into."""
    number = torch.full((6,), 1.0).to(x)
    number[0] = 2.0
    x = x + number
    number += 3
    return x + number


#: Functions between two layers, which must be recorded exactly.
EXACT = {
    "relu6": F.relu6,
    "leaky relu with its slope": lambda x: F.leaky_relu(x, 0.3),
    "elu with its alpha": lambda x: F.elu(x, 0.5),
    "selu": F.selu,
    "approximate gelu": lambda x: F.gelu(x, approximate="tanh"),
    "softplus with its settings": lambda x: F.softplus(x, 2.0, 5.0),
    "softsign": F.softsign,
    "hardswish": F.hardswish,
    "log-sigmoid": F.logsigmoid,
    "sum with alpha": lambda x: torch.add(x, x.tanh(), alpha=3),
    "number with alpha": lambda x: torch.sub(x, 1.0, alpha=3),
    "number minus value": lambda x: 2 - x,
    "number divided by value": lambda x: 2 / (x.abs() + 1),
    "two factors and a shift": lambda x: 3 * (2 * x + 1) - 5,
    "factor, sine, factor": lambda x: 0.5 * torch.sin(30 * x) + 1,
    "value before and behind the activation": lambda x: x + x.relu(),
    "product of a value with itself": lambda x: x * x,
    "activation in place": lambda x: x.relu_(),
    "sum in place": lambda x: x.add_(1.0).mul_(2.0),
    "square and root": lambda x: (x**2 + 1).sqrt(),
    "clamp from below": lambda x: x.clamp(min=-0.2),
    "halves": lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
    "every second": lambda x: torch.cat([x[:, ::2]] * 2, 1),
    "standardised": lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-3),
    "largest of all": lambda x: x - x.amax(-1, keepdim=True),
    "fixed order": lambda x: x[:, torch.tensor([3, 1, 0, 2, 5, 4])],
    "reversed": lambda x: x.flip(1),
    "mask": lambda x: x.masked_fill(torch.tensor([True, False, False, True, False, False]), 0.5),
    "outer shape": lambda x: x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1),
    "constant vector": lambda x: x * torch.arange(6.0).to(x),
    "constant that is written into": _counted,
    "einsum": lambda x: torch.einsum("bi,bj->bij", x, x).sum(1),
    "padded": lambda x: F.pad(x, (1, 2))[:, 2:8],
    "softmax": lambda x: F.softmax(x, -1) + F.log_softmax(x, 1),
    "blocks of pixels": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x[:, :4, None, None], 2), 2).flatten(1)[
        :, [0, 1, 2, 3, 3, 2]
    ],
    "gated": lambda x: F.glu(torch.cat([x, x.sin()], 1)),
}


@pytest.mark.parametrize("name", EXACT)
def test_functions_between_layers_are_recorded_exactly(name):
    """Each function is evaluated as torch computes it, for any number of examples."""
    torch.manual_seed(0)
    module = prepared(Between(EXACT[name]))
    architecture = recorded(module, torch.randn(3, 4).double())
    assert obstacle(architecture) is None
    for examples in (1, 3, 5):
        assert error(module, architecture, torch.randn(examples, 4).double()) <= 1e-10


class View(nn.Module):
    """Writes into a view, and then reads the whole tensor."""

    def forward(self, x):
        x = x.clone()
        x[:, :3].relu_()
        return x


class Branch(nn.Module):
    """Depends on a number that left torch."""

    def forward(self, x):
        return x.relu() if x.sum().item() > 0 else x.tanh()


#: Functions that no description covers, with words of the reason.
NOT_COVERED = {
    "write into a view": (View(), "write into shared memory"),
    "number that leaves torch": (Branch(), "values left torch"),
    "order of values": (lambda x: x.sort(-1).values, "sort"),
    "random numbers": (lambda x: x + torch.randn_like(x), "random"),
    "running product": (lambda x: x.cumprod(1), "cumprod"),
}


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_no_description_covers_is_named(name):
    """A computation that is not described is never evaluated; the obstacle says which operation it is."""
    function, reason = NOT_COVERED[name]
    found = obstacle(recorded(prepared(Between(function)), torch.randn(3, 4).double()))
    assert found is not None
    assert reason in found


def test_weight_norm_is_named_as_a_weight_that_is_computed():
    """The weight of a layer with weight norm is computed from two parameters, and is not evaluated."""
    module = Between(nn.ReLU())
    nn.utils.parametrizations.weight_norm(module.first)
    found = obstacle(recorded(module, torch.randn(3, 4)))
    assert found is not None
    assert "weight" in found


def test_layer_used_twice_is_evaluated_twice():
    """A layer that is called twice is described twice, and its parameters once."""
    torch.manual_seed(0)
    module, example = prepared(Twice()), torch.randn(3, 3).double()
    architecture = recorded(module, example)
    assert [len(layer.parameters) for layer in architecture.layers] == [2, 2, 0, 2]
    assert error(module, architecture, example) <= 1e-10


def test_input_shape_that_the_layers_tell_is_not_recorded():
    """The columns of a first linear layer tell the shape of a vector, but not that of a sequence."""
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    assert recorded(module, torch.zeros(2, 4)) == recorded(module, None)
    assert recorded(module, torch.zeros(2, 7, 4)).input_shapes == ((7, 4),)


def test_input_shape_is_recorded_only_if_it_was_given():
    """A made-up input does not say which size the inputs of a network have."""
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1)
    )
    assert recorded(module, None).input_shapes == ()
    assert recorded(module, torch.zeros(2, 1, 28, 28)).input_shapes == ((1, 28, 28),)


@pytest.mark.parametrize("returned", ["sequence", "state"])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_say_what_the_network_reads(cell, returned):
    """Networks that read the sequence or the last state of a recurrent layer are described exactly."""

    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = cell(3, 4, num_layers=2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            sequence, state = self.rnn(x)
            state = state[0] if isinstance(state, tuple) else state
            return self.head(sequence.mean(1) if returned == "sequence" else state[-1])

    torch.manual_seed(0)
    module, example = prepared(Reads()), torch.randn(3, 5, 3).double()
    assert error(module, recorded(module, example), example) <= 1e-10

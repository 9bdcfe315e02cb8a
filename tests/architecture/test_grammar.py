"""Random small networks from a grammar: the architecture derived for each is verified by running it."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sneframe.architecture import Architecture
from sneframe.symmetry import verify

ACTIVATIONS = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "silu": F.silu,
    "sine": lambda x: torch.sin(2 * x),
}
WIDTHS = st.sampled_from([4, 6, 8])


class Dense(nn.Module):
    def __init__(self, inputs, width, activation):
        super().__init__()
        self.linear, self.activation = nn.Linear(inputs, width), ACTIVATIONS[activation]

    def forward(self, x):
        return self.activation(self.linear(x))


class Skip(nn.Module):
    """x + f(x), where f has its own width."""

    def __init__(self, width, inner, activation):
        super().__init__()
        self.up, self.down, self.activation = (
            nn.Linear(width, inner),
            nn.Linear(inner, width),
            ACTIVATIONS[activation],
        )

    def forward(self, x):
        return x + self.down(self.activation(self.up(x)))


class Fork(nn.Module):
    """Two branches side by side."""

    def __init__(self, inputs, left, right, activation):
        super().__init__()
        self.left, self.right, self.activation = (
            nn.Linear(inputs, left),
            nn.Linear(inputs, right),
            ACTIVATIONS[activation],
        )

    def forward(self, x):
        return torch.cat([self.activation(self.left(x)), self.right(x)], -1)


class Gate(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * width)

    def forward(self, x):
        return F.glu(self.linear(x))


class Heads(nn.Module):
    """Self-attention between the two rows of every example."""

    def __init__(self, width):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return x + self.out((q @ k.mT).softmax(-1).matmul(v).transpose(1, 2).flatten(2))


class Chunked(nn.Module):
    """The gates of an LSTM cell, without the recurrence."""

    def __init__(self, inputs, width):
        super().__init__()
        self.linear = nn.Linear(inputs, 3 * width)

    def forward(self, x):
        gate, new, out = self.linear(x).chunk(3, -1)
        return torch.sigmoid(out) * torch.tanh(torch.sigmoid(gate) * torch.tanh(new))


@st.composite
def networks(draw):
    """Draw a stack of three to six layers, for examples of two rows of three numbers."""
    width, layers = 3, []
    for _ in range(draw(st.integers(2, 5))):
        kind = draw(
            st.sampled_from(["dense", "skip", "fork", "gate", "heads", "norm", "scale", "chunked", "dropout"])
        )
        activation, other = draw(st.sampled_from(sorted(ACTIVATIONS))), draw(WIDTHS)
        if kind == "dense":
            layers.append(Dense(width, other, activation))
            width = other
        elif kind == "skip":
            layers.append(Skip(width, other, activation))
        elif kind == "fork":
            layers.append(Fork(width, other, 4, activation))
            width = other + 4
        elif kind == "gate":
            layers.append(Gate(width, other))
            width = other
        elif kind == "chunked":
            layers.append(Chunked(width, other))
            width = other
        elif kind == "heads" and width % 2 == 0:
            layers.append(Heads(width))
        elif kind == "norm":
            layers.append(draw(st.sampled_from([nn.LayerNorm, nn.RMSNorm]))(width))
        elif kind == "scale":
            layers.append(nn.Linear(width, width, bias=draw(st.booleans())))
        else:
            layers.append(nn.Dropout())
    return nn.Sequential(*layers, nn.Linear(width, 2))


@settings(max_examples=30, deadline=None)
@given(network=networks(), seed=st.integers(0, 2**16))
def test_derived_symmetry_of_random_linear_networks_holds(network, seed):
    """The architecture that is derived for a random network of linear layers is verified."""
    torch.manual_seed(seed)
    example = torch.randn(3, 2, 3)
    architecture = Architecture.from_module(network, example)
    assert verify(network, architecture, example, seed=seed).error <= 1e-10
    assert Architecture.from_json(architecture.to_json()) == architecture


@st.composite
def cnns(draw):
    channels, side, layers = 2, 12, []
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.sampled_from([4, 6]))
        groups = draw(st.sampled_from([1, 2])) if channels % 2 == 0 else 1
        layers.append(nn.Conv2d(channels, width, 3, groups=groups, bias=draw(st.booleans())))
        channels, side = width, side - 2
        norm = draw(st.sampled_from(["none", "batch", "group", "instance"]))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(width))
        elif norm == "group":
            layers.append(nn.GroupNorm(2, width))
        elif norm == "instance":
            layers.append(nn.InstanceNorm2d(width, affine=True))
        layers.append(draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.SiLU(), nn.PReLU(width)])))
    if draw(st.booleans()):
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        inputs = channels
    else:
        layers.append(nn.Flatten())
        inputs = channels * side * side
    return nn.Sequential(*layers, nn.Linear(inputs, 3))


@settings(max_examples=20, deadline=None)
@given(network=cnns(), seed=st.integers(0, 2**16))
def test_derived_symmetry_of_random_cnns_holds(network, seed):
    """The architecture that is derived for a random convolutional network is verified."""
    torch.manual_seed(seed)
    example = torch.randn(2, 2, 12, 12)
    architecture = Architecture.from_module(network, example)
    assert verify(network, architecture, example, seed=seed).error <= 1e-10

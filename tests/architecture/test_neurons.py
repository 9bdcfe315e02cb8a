"""Tokens of neurons: every weight is in exactly one token, and which one a loop over the module tells."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sneframe.architecture import Architecture
from sneframe.architecture.neurons import PADDING, neuron_layout, units_of, widest
from sneframe.testing import mlp


class Small(nn.Module):
    """A convolution with batch norm, a transposed convolution, and an attention."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.up = nn.ConvTranspose2d(3, 4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.up(self.norm(self.conv(x)).relu())
        x = x.flatten(2).transpose(1, 2)
        x, _ = self.attention(x, x, x, need_weights=False)
        return self.head(x.mean(1))


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    small = Small().eval()
    with torch.no_grad():
        for tensor in small.norm.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return small.requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def architecture(module):
    return Architecture.from_module(module, torch.randn(2, 2, 5, 5))


def flat(architecture, module):
    state = module.state_dict()
    return torch.cat([state[p.name].flatten() for p in architecture.parameters]).numpy()


def weights_of(architecture, module, layer_of):
    """Return the tokens of the unit that holds the parameter ``layer_of``."""
    names = [p.name for p in architecture.parameters]
    start = architecture.offsets[names.index(layer_of)]
    (unit,) = [u for u in units_of(architecture) if start in u.weights]
    return flat(architecture, module)[unit.weights]


def test_a_token_holds_row_and_bias():
    """Token i of a linear layer is row i of its weight and entry i of its bias."""
    architecture = mlp(2, 4, 3)
    weights = np.arange(architecture.num_weights)
    views = architecture.views(torch.from_numpy(weights[None]))
    for number, unit in enumerate(units_of(architecture)):
        for neuron in range(unit.neurons):
            row = views[f"{number}.weight"][0, neuron].tolist()
            bias = views[f"{number}.bias"][0, neuron].tolist()
            assert weights[unit.weights[neuron]].tolist() == [*row, bias]


def test_a_channel_has_its_kernel_its_bias_and_its_norm(module, architecture):
    """The token of a channel holds its kernel, its bias, and what the batch norm behind it has for it."""
    found = weights_of(architecture, module, "conv.weight")
    norm = module.norm
    for channel in range(3):
        expected = [
            *module.conv.weight[channel].flatten().tolist(),
            float(module.conv.bias[channel]),
            *(float(getattr(norm, n)[channel]) for n in ("weight", "bias", "running_mean", "running_var")),
        ]
        assert sorted(found[channel].tolist()) == sorted(expected)
        assert found[channel][:19].tolist() == expected[:19]


def test_the_neurons_of_a_transposed_convolution_are_its_second_axis(module, architecture):
    """Its weight is (in, out, …)."""
    found = weights_of(architecture, module, "up.weight")
    for channel in range(4):
        expected = [*module.up.weight[:, channel].flatten().tolist(), float(module.up.bias[channel])]
        assert found[channel].tolist() == expected


def test_the_projections_of_an_attention_are_units_of_their_own(architecture):
    """Rows of queries, keys and values are 12 tokens, and those of the output are 4."""
    sizes = [unit.neurons for unit in units_of(architecture)]
    assert sorted(sizes) == [2, 3, 4, 4, 12]


@pytest.mark.parametrize("size", [1, 5, 64])
def test_every_weight_is_in_exactly_one_token(architecture, size):
    """The index is a permutation of all weights, whatever the size of a token is."""
    layout = neuron_layout(architecture, size)
    held = layout.index[layout.mask]
    assert sorted(held.tolist()) == list(range(architecture.num_weights))
    assert (layout.index[~layout.mask] == PADDING).all()
    assert layout.index.ravel()[layout.places].tolist() == list(range(architecture.num_weights))
    assert layout.mask.any(axis=1).all()


def test_a_long_token_is_split():
    """A neuron of seven weights makes tokens of 3, 3 and 1, which differ only in their first position."""
    layout = neuron_layout(mlp(6, 2, 1), 3)
    assert layout.mask[:6].sum(axis=1).tolist() == [3, 3, 1, 3, 3, 1]
    assert layout.positions[:4].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 1]]
    assert layout.positions[-1].tolist() == [6, 1, 0]


def test_the_widest_neuron():
    """A neuron with six inputs has seven weights."""
    assert widest([mlp(1, 3, 1), mlp(6, 2, 1)]) == 7


@given(widths=st.lists(st.integers(1, 5), min_size=2, max_size=4), size=st.integers(1, 8))
def test_tokens_of_any_mlp_hold_all_weights_in_order(widths, size):
    """Tokens count from 0, layers never fall, and a token is full unless it is the last of its neuron."""
    architecture = mlp(*widths)
    layout = neuron_layout(architecture, size)
    held = layout.index[layout.mask]
    assert sorted(held.tolist()) == list(range(architecture.num_weights))
    numbers, layers, _ = layout.positions.T
    assert numbers.tolist() == list(range(len(numbers)))
    assert (np.diff(layers) >= 0).all()
    last = np.array(
        [
            tuple(a) != tuple(b)
            for a, b in zip(layout.positions[:-1, 1:], layout.positions[1:, 1:], strict=True)
        ]
        + [True]
    )
    assert layout.mask[~last].all()

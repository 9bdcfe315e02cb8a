"""Chains are read link by link; any other architecture is refused with the reason."""

import pytest
import torch
from attrs import evolve
from torch import nn

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.architecture.chain import read_chain
from sneframe.architecture.layer import INPUT
from sneframe.errors import ArchitectureError
from sneframe.testing import mlp


def sizes(architecture):
    return [(link.outputs, link.inputs, link.positions) for link in read_chain(architecture)]


def cnn(*head, side=6):
    layers = (nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 2), nn.ReLU(), *head)
    return Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 2, side, side))


def test_mlp_is_a_chain():
    """Each layer of an MLP is a link with its sizes and one position."""
    assert sizes(mlp(2, 5, 4, 3)) == [(5, 2, 1), (4, 5, 1), (3, 4, 1)]


def test_cnn_kernels_are_positions_of_a_chain():
    """A CNN with global pooling is a chain, whose positions are the entries of its kernels."""
    architecture = cnn(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    assert sizes(architecture) == [(5, 2, 9), (4, 5, 4), (3, 4, 1)]


def test_flattened_positions_belong_to_the_linear_layer():
    """The positions that were flattened are those of the linear layer that reads them."""
    assert sizes(cnn(nn.Flatten(), nn.Linear(36, 3))) == [(5, 2, 9), (4, 5, 4), (3, 4, 9)]


def test_one_dimensional_chain_with_biases_first():
    """A chain may have 1-d convolutions, and biases that come before the weights."""
    network = nn.Sequential(nn.Conv1d(3, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    found = Architecture.from_module(network, torch.zeros(2, 3, 6)).to_json()
    for layer in found["layers"]:
        layer["parameters"].reverse()

    links = read_chain(Architecture.from_json(found))

    assert [link.weight.name for link in links] == ["0.weight", "3.weight"]
    assert [link.bias.name for link in links] == ["0.bias", "3.bias"]
    assert [(link.outputs, link.inputs, link.positions) for link in links] == [(4, 3, 5), (2, 4, 2)]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.c(h + torch.relu(self.b(h)))


class ResidualCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.c(h + torch.relu(self.b(h)))


class PositionsFirst(nn.Module):
    """Flattens like Keras: channels vary fastest."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3), nn.Linear(80, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).permute(0, 2, 3, 1).flatten(1))


def of(*layers, given=None):
    return Architecture.from_module(nn.Sequential(*layers), given)


def between_convolutions(layer):
    layers = (nn.Conv2d(2, 4, 3), nn.ReLU(), layer, nn.ReLU(), nn.Conv2d(4, 2, 3))
    return of(*layers, given=torch.zeros(2, 2, 9, 9))


def flatten_without_blocks():
    """Return an architecture that flattens four positions, but whose columns are not blocks of four."""
    rows = (("hidden0",),)
    layers = [
        Layer(
            kind="conv2d",
            parameters=(
                Parameter(name="0.weight", shape=(4, 2, 3, 3), axes=(rows, ((2,),), ((3,),), ((3,),))),
                Parameter(name="0.bias", shape=(4,), role="bias", axes=(rows,)),
            ),
        ),
        Layer(kind="flatten", inputs=(0,)),
        Layer(
            kind="linear",
            parameters=(
                Parameter(name="2.weight", shape=(3, 16)),
                Parameter(name="2.bias", shape=(3,), role="bias"),
            ),
            inputs=(1,),
        ),
    ]
    return Architecture(layers=layers, groups=[NeuronGroup(name="hidden0", size=4)])


def fixed():
    with pytest.warns(UserWarning, match="are taken as fixed"):
        return Architecture.from_state_dict(cnn_state())


def cnn_state():
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)).state_dict()


REFUSED = {
    "there is one layer with parameters": lambda: mlp(3, 2),
    "layer 1 (linear) has weight (2, 4) instead of a weight matrix and a bias": lambda: of(
        nn.Linear(3, 4), nn.Linear(4, 2, bias=False)
    ),
    "layer 1 (batch_norm) has weight (4,), bias (4,), running_mean (4,), running_var (4,) instead": lambda: (
        of(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    ),
    "layer 1 (linear) writes hidden0 instead of a group of neurons of its own that": lambda: (
        Architecture.from_module(Residual())
    ),
    "layer 3 (linear) reads 16 × hidden0 instead of 'hidden0', which the layer before it writes": lambda: (
        Architecture.from_module(PositionsFirst(), torch.zeros(2, 2, 6, 6))
    ),
    "layer 0 (conv2d) writes 5 instead of a group of neurons of its own that can be permuted": fixed,
    "layer 1 (conv2d) writes hidden0 instead of a group of neurons of its own that can be permuted": lambda: (
        Architecture.from_module(ResidualCNN(), torch.zeros(2, 2, 9, 9))
    ),
    "layer 0 (conv2d) writes hidden0 × hidden1 instead of a group of neurons of its own that": lambda: (
        between_convolutions(nn.Conv2d(4, 4, 3, groups=2))
    ),
    "layer 1 (conv2d) reads 1 × 3 × 3 instead of 'hidden0', which the layer before": lambda: (
        between_convolutions(nn.Conv2d(4, 4, 3, groups=4))
    ),
    "layer 1 (conv_transpose2d) reads hidden1 × 3 × 3 instead of 'hidden0', which the layer before": lambda: (
        between_convolutions(nn.ConvTranspose2d(4, 4, 3))
    ),
    "layer 0 (conv_transpose2d) reads hidden0 × 3 × 3 instead of the fixed inputs": lambda: of(
        nn.ConvTranspose2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), given=torch.zeros(2, 2, 9, 9)
    ),
    "layer 2 (linear) reads 16 instead of 'hidden0', which the layer before": flatten_without_blocks,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_other_architectures_are_refused_with_the_reason(reason):
    """An architecture that is no chain raises an error of one line that begins with the reason."""
    with pytest.raises(ArchitectureError) as caught:
        read_chain(REFUSED[reason]())

    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_too_few_layers_are_refused():
    """A chain with fewer layers than requested is refused."""
    assert len(read_chain(mlp(1, 4, 4, 1), layers=3)) == 3
    with pytest.raises(ArchitectureError, match=r"^there are 2 layers with parameters$"):
        read_chain(mlp(1, 4, 1), layers=3)


def test_layer_with_two_inputs_is_refused():
    """A layer of a chain reads only the layer before it."""
    found = mlp(1, 4, 4, 1).to_json()
    found["layers"][2]["inputs"] = [0, 1]

    with pytest.raises(
        ArchitectureError, match=r"layer 2 \(linear\) reads layers \[0, 1\], not just the layer before it"
    ):
        read_chain(Architecture.from_json(found))


def test_bias_of_other_neurons_is_refused():
    """A bias must have the same group as the rows of its weight."""
    found = mlp(1, 4, 4, 1).to_json()
    found["layers"][1]["parameters"][1]["axes"] = [[["hidden0"]]]

    with pytest.raises(
        ArchitectureError,
        match=r"the bias of layer 1 \(linear\) is not permuted together with the outputs of the layer",
    ):
        read_chain(Architecture.from_json(found))


def test_outputs_that_can_be_moved_are_refused():
    """The outputs of the last layer must be fixed."""
    found = mlp(1, 4, 4).to_json()
    for parameter in found["layers"][1]["parameters"]:
        parameter["axes"][0] = [["hidden0"]]

    with pytest.raises(
        ArchitectureError,
        match=r"layer 1 \(linear\) is the last layer and must write fixed outputs, but writes \w+$",
    ):
        read_chain(Architecture.from_json(found))


def test_a_first_layer_may_name_the_input_of_the_network():
    """A chain is the same whether or not its first layer says that it reads the input."""
    left_out = mlp(2, 4, 1)
    first, *others = left_out.layers
    named = evolve(left_out, layers=[evolve(first, inputs=(INPUT,)), *others])
    assert read_chain(named) == read_chain(left_out)


def test_a_later_layer_that_reads_the_input_of_the_network_is_refused():
    """Every layer of a chain reads the layer before it."""
    whole = mlp(2, 4, 1)
    *others, last = whole.layers
    with pytest.raises(ArchitectureError, match="reads layers \\[-1\\], not just the layer before it"):
        read_chain(evolve(whole, layers=[*others, evolve(last, inputs=(INPUT,))]))

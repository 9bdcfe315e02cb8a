"""Architectures guessed from state dicts: kinds of layers, and groups if there is no doubt."""

import pytest
import torch
from networks import NETWORKS, VGG, LeNet, SmallCNN
from torch import nn

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.symmetry import verify


def groups(architecture):
    return {group.name: group.size for group in architecture.groups}


@pytest.mark.parametrize(
    ("activation", "layer"),
    [("relu", nn.ReLU()), ("tanh", nn.Tanh()), ("gelu", nn.GELU()), ("none", nn.Identity())],
)
def test_guess_equals_derivation_for_a_chain(activation, layer):
    """The guess for a sequential MLP with a known activation equals the derived architecture."""
    network = nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 5), layer, nn.Linear(5, 2))
    found = Architecture.from_state_dict(network.state_dict(), activation=activation)
    assert found == Architecture.from_module(network)


def test_guess_for_convolutions_with_batch_norm():
    """The groups that are guessed for convolutions with a batch norm are verified."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2),
    )  # fmt: skip
    found = Architecture.from_state_dict(network.state_dict())
    assert groups(found) == {"hidden0": 4, "hidden1": 6}
    assert verify(network, found, torch.randn(2, 1, 9, 9)).error <= 1e-10


def test_channels_before_a_possible_max_pool_are_not_flipped():
    """Channels of a convolution, which a max-pool may follow, are never flipped."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2),
    )  # fmt: skip
    found = Architecture.from_state_dict(network.state_dict(), activation="tanh")
    assert [group.actions for group in found.groups] == [("permute",), ("permute", "sign")]
    assert verify(network, found, torch.randn(2, 1, 9, 9)).error <= 1e-10


def test_trusted_names_make_a_chain_where_sizes_fit():
    """With trust_names, any layers whose sizes fit are a chain, and the symmetry is still guessed."""
    state = SmallCNN().state_dict()
    with pytest.warns(UserWarning, match="have the same width, 16.*--trust-names"):
        assert Architecture.from_state_dict(state).groups == ()
    found = Architecture.from_state_dict(state, trust_names=True)
    assert groups(found) == {"hidden0": 16, "hidden1": 16, "hidden2": 16}
    assert found.symmetry == "guessed"


def test_unclear_flattening_fixes_the_channels_before_it():
    """If the order of flattening is unknown, the channels before it are fixed, and a warning says so."""
    with pytest.warns(UserWarning, match=r"channels of '3.weight', so these channels are taken as fixed"):
        found = Architecture.from_state_dict(LeNet().state_dict())
    assert groups(found) == {"hidden0": 6, "hidden1": 20}


def test_known_flattening_frees_the_channels_before_it():
    """If the order of flattening is known, the channels before it are a group, which is verified."""
    found = Architecture.from_state_dict(LeNet().state_dict(), flatten="channels_first")
    assert len(found.groups) == 3
    moved = verify(LeNet(), found, NETWORKS["lenet"][1])
    assert moved.groups == 3
    assert moved.error <= 1e-10


@pytest.mark.parametrize("name", ["resnet18", "vit", "gpt", "gru", "unet", "transformer-encoder"])
def test_networks_that_are_no_chain_are_fixed(name):
    """A network that is no chain gets fixed axes and a warning, and all of its parameters are described."""
    module = NETWORKS[name][0]()
    with pytest.warns(UserWarning, match="every axis is taken as fixed"):
        found = Architecture.from_state_dict(module.state_dict())
    assert found.groups == ()
    floating = {key for key, value in module.state_dict().items() if value.is_floating_point()}
    assert {p.name for p in found.parameters} == floating
    assert found.symmetry == "none"


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.LSTM(3, 4), "lstm"),
        (nn.GRU(3, 4), "gru"),
        (nn.RNN(3, 4), "rnn"),
        (nn.LayerNorm(3), "layer_norm"),
        (nn.RMSNorm(3), "rms_norm"),
        (nn.BatchNorm1d(3), "batch_norm"),
        (nn.Conv3d(1, 2, 3), "conv3d"),
        (nn.Linear(3, 2), "linear"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*taken as fixed")
def test_kinds_follow_from_names_and_shapes(layer, kind):
    """The kind of a layer follows from the names and shapes of its parameters."""
    assert Architecture.from_state_dict(layer.state_dict()).layers[0].kind == kind


@pytest.mark.filterwarnings("ignore:.*taken as fixed")
def test_embedding_table_is_known_by_its_name():
    """A weight matrix with the name of a table, such as ``wte``, is an embedding."""
    state = {"wte.weight": torch.zeros(5, 4), "head.weight": torch.zeros(5, 4)}
    assert [layer.kind for layer in Architecture.from_state_dict(state).layers] == ["linear", "embedding"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"a.weight": torch.zeros(3, 2), "b.weight": torch.zeros(4, 5)}, "takes 5 inputs"),
        ({"a.weight": torch.zeros(3, 2), "a.bias": torch.zeros(4)}, "must have shape \\(3,\\)"),
        ({"a.weight": torch.zeros(3, 2), "b.weight": torch.zeros(4, 3, 3, 3)}, "takes 2 inputs"),
        ({"1.weight": torch.zeros(8, 3), "2.weight": torch.zeros(4, 8, 3)}, "takes 3 inputs"),
        ({"bn.running_mean": torch.zeros(3)}, "cannot be part of a plain chain"),
        (VGG()[1].state_dict(), "there is no linear or convolution layer"),
    ],
)
def test_warning_says_what_breaks_the_chain(state, reason):
    """The warning gives the reason why layers are no chain."""
    with pytest.warns(UserWarning, match=reason):
        assert Architecture.from_state_dict(state).groups == ()


@pytest.mark.parametrize("state", [{}, {"steps": torch.tensor(3)}])
def test_state_dict_without_weights_is_refused(state):
    """A state dict without floating-point tensors is refused."""
    with pytest.raises(ArchitectureError, match="describes no network"):
        Architecture.from_state_dict(state)

"""Guesses from names and shapes: which chains are certain, and which neurons are fixed."""

import warnings
from collections import OrderedDict
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sneframe.architecture import Architecture
from sneframe.symmetry import verify

L, RELU = nn.Linear, nn.ReLU


def named(**layers):
    return nn.ModuleDict(layers)


def guessed(module, **options):
    """Return the architecture that is guessed for a module, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = Architecture.from_state_dict(module.state_dict(), **options)
    return found, [str(each.message) for each in caught]


def dqn():
    def net():
        return nn.Sequential(L(4, 64), RELU(), L(64, 64), RELU(), L(64, 4))

    return named(q_net=net(), q_net_target=net())


def autoencoder():
    encoder = nn.Sequential(L(64, 32), RELU(), L(32, 8))
    decoder = nn.Sequential(L(8, 32), RELU(), L(32, 64))
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))


DOUBTFUL = {
    "two networks of one size": dqn(),
    "encoder and decoder": autoencoder(),
    "experts beside each other": named(experts=nn.ModuleList([L(8, 8) for _ in range(3)])),
    "experts of two layers": named(experts=nn.ModuleList([nn.Sequential(L(8, 6), RELU(), L(6, 8))] * 2)),
    "hidden layer that may be residual": nn.ModuleList([L(1, 32), L(32, 32), L(32, 1)]),
    "the same, numbered words": named(fc1=L(2, 8), fc2=L(8, 8), fc3=L(8, 3)),
    "skip over a bottleneck": nn.ModuleList([L(2, 8), L(8, 4), L(4, 8), L(8, 3)]),
    "skip from the input": named(fc1=L(8, 8), fc2=L(8, 3)),
    "skip to the output": named(fc1=L(4, 8), fc2=L(8, 8)),
    "order of two layers": named(up1=L(4, 8), up2=L(8, 4)),
    "words without numbers": named(inp=L(4, 8), out=L(8, 3)),
    "prelu": nn.Sequential(L(4, 8), nn.PReLU(8), L(8, 3)),
    "layer norm": nn.Sequential(L(4, 8), nn.LayerNorm(8), L(8, 3)),
    "batch norm of the input": nn.Sequential(nn.BatchNorm1d(4), L(4, 8), RELU(), L(8, 3)),
    "batch norm after flattening": nn.Sequential(
        nn.Conv1d(1, 8, 3), RELU(), nn.Flatten(), nn.BatchNorm1d(16), L(16, 3)
    ),
    "embedding": nn.Sequential(OrderedDict(embed=nn.Embedding(8, 8), out=L(8, 3))),
    "transposed convolutions": nn.Sequential(
        nn.Conv2d(3, 8, 3), RELU(), nn.ConvTranspose2d(8, 8, 3), RELU(), nn.Conv2d(8, 3, 3)
    ),
    "transposed convolutions of two widths": nn.Sequential(
        nn.ConvTranspose2d(8, 3, 3, bias=False), RELU(), nn.ConvTranspose2d(3, 8, 3, bias=False)
    ),
    "transposed convolution with a bias": nn.Sequential(
        nn.ConvTranspose1d(4, 8, 3), RELU(), nn.Conv1d(8, 3, 3)
    ),
    "depthwise convolution": nn.Sequential(nn.Conv2d(3, 8, 1), RELU(), nn.Conv2d(8, 8, 3, groups=8)),
    "gated linear units": nn.Sequential(L(4, 8), nn.GLU(), L(4, 3)),
    "recurrence": nn.Sequential(OrderedDict(rnn=nn.GRU(4, 8), out=L(8, 3))),
}


@pytest.mark.parametrize("module", DOUBTFUL.values(), ids=DOUBTFUL)
def test_doubtful_chains_are_fixed(module):
    """If names and shapes leave a doubt, there is no group, and a warning gives the reason."""
    found, messages = guessed(module)
    assert found.groups == ()
    assert found.symmetry == "none"
    assert all("fixed" in line for line in messages)
    assert messages


CERTAIN = {
    "sequential": (nn.Sequential(L(1, 32), RELU(), L(32, 32), RELU(), L(32, 1)), (4, 1), [32, 32]),
    "sequential with batch norm": (
        nn.Sequential(L(4, 8), nn.BatchNorm1d(8), RELU(), L(8, 8), nn.BatchNorm1d(8), RELU(), L(8, 3)),
        (5, 4),
        [8, 8],
    ),
    "sequential with a skip around it": (nn.Sequential(L(4, 8), RELU(), L(8, 4)), (5, 4), [8]),
    "sequential autoencoder": (
        nn.Sequential(L(16, 8), RELU(), L(8, 3), RELU(), L(3, 8), RELU(), L(8, 16)), (5, 16), [8, 3, 8]
    ),
    "sequential of convolutions": (
        nn.Sequential(
            nn.Conv2d(1, 4, 3), RELU(), nn.Conv2d(4, 6, 3), RELU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), L(6, 8), RELU(), L(8, 8), RELU(), L(8, 2),
        ),
        (2, 1, 9, 9),
        [4, 6, 8, 8],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("module", "shape", "sizes"), CERTAIN.values(), ids=CERTAIN)
def test_certain_chain_has_its_true_groups(module, shape, sizes):
    """A Sequential with gaps in its numbers has one group for each hidden layer, and these are verified."""
    found, messages = guessed(module)
    assert messages == []
    assert [group.size for group in found.groups] == sizes
    assert found.symmetry == "guessed"
    assert verify(module, found, torch.randn(shape)).error <= 1e-10


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        (named(fc1=L(2, 8), fc2=L(8, 5), fc3=L(5, 3)), [8, 5]),
        (nn.ModuleList([L(2, 32), L(32, 16), L(16, 1)]), [32, 16]),
        (
            named(conv1=nn.Conv2d(1, 6, 3), conv2=nn.Conv2d(6, 12, 3), fc1=L(12, 20), fc2=L(20, 10)),
            [6, 12, 20],
        ),
        (
            named(
                conv1=nn.Conv2d(1, 6, 3), bn1=nn.BatchNorm2d(6),
                conv2=nn.Conv2d(6, 12, 3), bn2=nn.BatchNorm2d(12),
                fc=L(12, 10),
            ),
            [6, 12],
        ),
        (
            named(
                classifier=nn.Sequential(L(16, 24), RELU(), L(24, 24), RELU(), L(24, 5)),
                features=nn.Sequential(nn.Conv2d(3, 8, 3), RELU(), nn.Conv2d(8, 16, 3)),
            ),
            [8, 16, 24, 24],
        ),
    ],
    ids=["words", "list", "two stages", "batch norm by number", "two sequentials"],
)  # fmt: skip
def test_layers_of_different_widths_are_a_chain(module, sizes):
    """Numbered layers are a chain if no two widths are equal, since no skip connection can fit."""
    found, messages = guessed(module)
    assert [group.size for group in found.groups] == sizes
    assert messages == []


def test_square_convolution_only_fixes_its_neighbours():
    """One square convolution only fixes the neurons that it reads and writes."""
    layers = [
        nn.Conv1d(1, 4, 3),
        RELU(),
        nn.Conv1d(4, 8, 3),
        RELU(),
        nn.Conv1d(8, 8, 3),
        RELU(),
        nn.Conv1d(8, 5, 3),
    ]
    module = nn.Sequential(*layers, RELU(), nn.Conv1d(5, 2, 3))
    found, (line,) = guessed(module)
    assert [group.size for group in found.groups] == [4, 5]
    assert line.startswith("'4.weight' may be a transposed convolution")


def test_square_first_table_fixes_its_outputs():
    """A first square weight without bias may be an embedding, so its outputs are fixed."""
    found, messages = guessed(nn.Sequential(nn.Embedding(8, 8), RELU(), L(8, 6), RELU(), L(6, 2)))
    assert [group.size for group in found.groups] == [6]
    assert "may be an embedding table" in messages[0]


def test_scales_and_signs_need_a_given_activation():
    """Without a given activation, neurons are only permuted, and the activation is ``other``."""
    module = nn.Sequential(L(2, 8), RELU(), L(8, 1))
    assert guessed(module)[0].groups[0].actions == ("permute",)
    assert guessed(module)[0].layers[0].activation == "other"
    assert guessed(module, activation="relu")[0].groups[0].actions == ("permute", "scale")
    assert guessed(module, activation="tanh")[0].groups[0].actions == ("permute", "sign")


def test_numbers_in_names_are_compared_as_numbers():
    """Layer 10 comes after layer 9."""
    widths = [*range(20, 7, -1)]
    layers = [L(a, b) for a, b in pairwise(widths)]
    found, messages = guessed(nn.ModuleList(layers))
    assert messages == []
    assert [layer.parameters[0].name for layer in found.layers][9:11] == ["9.weight", "10.weight"]


@pytest.mark.parametrize("name", ["²1", "9" * 40, "1.2", "0", "a", "..", "", "01", "net.0.0"])
def test_strange_names_are_described(name):
    """Parameters with strange names are described without an error."""
    state = {f"{name}.weight": torch.zeros(3, 2), f"{name}1.weight": torch.zeros(0, 3), "x.": torch.zeros(())}
    with pytest.warns(UserWarning, match="fixed"):
        assert len(Architecture.from_state_dict(state).parameters) == 3


ANY = st.sampled_from([*DOUBTFUL.values(), *(module for module, _, _ in CERTAIN.values())])


@given(ANY, st.randoms(use_true_random=False), st.booleans())
def test_order_of_the_keys_does_not_matter(module, random, trust):
    """A state dict with its keys in any order gives the same architecture."""
    state = module.state_dict()
    names = list(state)
    random.shuffle(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            Architecture.from_state_dict(each, trust_names=trust)
            for each in (state, {name: state[name] for name in names})
        ]
    assert found[0].canonical() == found[1].canonical()
    assert found[0].symmetry == found[1].symmetry

"""The weights and biases of a chain: folded, unfolded, and moved channel by channel."""

import pytest
import torch
from attrs import evolve
from torch import nn

from sneframe.architecture import Architecture
from sneframe.architecture.chain import read_chain
from sneframe.architecture.layout import layout
from sneframe.batch import Batch, join
from sneframe.errors import PartError
from sneframe.nn.chain_tensors import fold, members_of, pools, spread, subsets, unfold
from sneframe.parts.carriers import NeuronFeatures, WeightFeatures
from sneframe.parts.part import Spec
from sneframe.parts.tokenizer import Tokenizer
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp
from sneframe.testing.compare import difference


@pytest.fixture(scope="module")
def cnn():
    """Two convolutions, and a linear layer that reads four positions of each channel; no activations."""
    layers = (nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    return Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 2, 6, 6))


def batch_of(architecture, networks=3):
    weights = torch.arange(networks * architecture.num_weights).reshape(networks, -1).double()
    return join({architecture: weights + 1}, {architecture: range(networks)})


def features_of(batch):
    return WeightFeatures.of(batch.networks[0], read_chain(batch.architectures[0]))


def random_neuron_features(architecture, channels=2):
    links = read_chain(architecture)
    torch.manual_seed(0)
    return NeuronFeatures(
        architecture=architecture,
        weights=tuple(torch.randn(3, channels, link.outputs, link.inputs) for link in links),
        biases=tuple(torch.randn(3, channels, link.outputs) for link in links),
    )


def test_the_weights_of_a_chain_are_one_channel(cnn):
    """It makes no difference whether weight or bias comes first in a layer."""
    found = cnn.to_json()
    for layer in found["layers"]:
        layer["parameters"].reverse()
    batch = batch_of(Architecture.from_json(found))
    views = batch.networks[0].parameters()

    features = features_of(batch)

    assert [tuple(w.shape) for w in features.weights] == [
        (3, 1, 3, 2, 3, 3),
        (3, 1, 4, 3, 3, 3),
        (3, 1, 2, 16),
    ]
    for number, name in enumerate(("0", "1", "3")):
        assert torch.equal(features.weights[number][:, 0], views[f"{name}.weight"])
        assert torch.equal(features.biases[number][:, 0], views[f"{name}.bias"])


def test_positions_and_fixed_axes_become_channels(cnn):
    """Kernel positions, inputs and outputs are folded into the channels."""
    batch = batch_of(cnn)
    views = batch.networks[0].parameters()
    members = members_of(read_chain(cnn), exchangeable="hidden")

    folded = fold(features_of(batch), members)

    assert [m.axes for m in members] == [(1,), (1,), (2, 1), (2,), (2,), ()]
    assert [tuple(x.shape) for x in folded] == [
        (3, 3, 18),
        (3, 3, 1),
        (3, 4, 3, 9),
        (3, 4, 1),
        (3, 4, 8),
        (3, 2),
    ]
    # The first weight has every position and input as a channel, the last one every position and output.
    assert folded[0][1, 2, 2 * 5 + 1] == views["0.weight"][1, 2, 1, 5 // 3, 5 % 3]
    assert folded[2][1, 3, 2, 7] == views["1.weight"][1, 3, 2, 7 // 3, 7 % 3]
    assert folded[4][1, 3, 2 * 2 + 1] == views["3.weight"][1, 1, 4 * 3 + 2]


@pytest.mark.parametrize("exchangeable", ["all", "hidden"])
def test_unfolding_undoes_folding_in_any_order(cnn, exchangeable):
    """Unfolding inverts folding, whatever the order of the members."""
    given = features_of(batch_of(cnn)), random_neuron_features(cnn)
    for features in given:
        carrier = type(features)
        members = members_of(read_chain(cnn), exchangeable=exchangeable, carrier=carrier)[::-1]

        assert difference(unfold(fold(features, members), members, carrier, cnn), features) == 0


def test_features_on_pairs_of_neurons_have_one_position(cnn):
    """NeuronFeatures have no positions to fold."""
    features = random_neuron_features(cnn)
    members = members_of(read_chain(cnn), exchangeable="all", carrier=NeuronFeatures)

    folded = fold(features, members)

    assert [m.folded for m in members] == [1] * 6
    assert torch.equal(folded[2], features.weights[1].permute(0, 2, 3, 1))


def test_subsets_are_ordered():
    """Subsets with few axes come first, then those with low axes."""
    assert subsets((2, 1)) == [(), (1,), (2,), (2, 1)]


def test_pools_cover_every_subset_of_axes():
    """Each subset of axes has its sum over the others."""
    x = torch.arange(24.0).reshape(1, 2, 3, 4)

    found = pools(x, (5, 4), torch.sum)

    assert set(found) == {(), (4,), (5,), (5, 4)}
    assert found[5, 4] is x
    assert found[5,].tolist() == [[[12, 15, 18, 21], [48, 51, 54, 57]]]  # along the rows, over the columns
    assert found[4,].tolist() == [[[12, 14, 16, 18], [20, 22, 24, 26], [28, 30, 32, 34]]]
    assert found[()].tolist() == [[60, 66, 72, 78]]


def test_spread_adds_missing_axes():
    """Every missing axis becomes a dimension of size 1."""
    x = torch.randn(3, 4, 5)

    assert spread(x, (2,), (2, 1)).shape == (3, 4, 1, 5)
    assert spread(x, (1,), (2, 1)).shape == (3, 1, 4, 5)


@pytest.mark.parametrize("action", ["permute", "scale", "sign"])
def test_weight_features_move_as_the_weights(cnn, action):
    """Each channel is permuted, scaled and flipped like the weights."""
    batch = batch_of(cnn)
    elements = sample(batch, seed=0, step=0, actions=(action,))
    moved = apply(batch, elements)
    features = features_of(batch)
    twice = evolve(features, weights=tuple(torch.cat([w, -w], dim=1) for w in features.weights))
    twice = evolve(twice, biases=tuple(torch.cat([b, -b], dim=1) for b in features.biases))

    found = twice.act(elements[0])

    assert difference(batch, moved) > 0.1
    for sign, channel in ((1, 0), (-1, 1)):
        weights = tuple(sign * w[:, channel : channel + 1] for w in found.weights)
        biases = tuple(sign * b[:, channel : channel + 1] for b in found.biases)
        assert difference(evolve(found, weights=weights, biases=biases), features_of(moved)) < 1e-12


def test_neuron_features_move_along_rows_and_columns(cnn):
    """Rows and columns are permuted like the neurons."""
    features = random_neuron_features(cnn)
    (element,) = sample(batch_of(cnn), seed=0, step=0)
    before, after = element.permutations.values()  # of the channels of either convolution

    found = features.act(element)

    assert difference(found, features) > 0.1
    for network in range(3):
        rows, columns = after[network], before[network]
        assert torch.equal(found.weights[1][network], features.weights[1][network][:, rows][:, :, columns])
        assert torch.equal(found.weights[2][network], features.weights[2][network][:, :, rows])
        assert torch.equal(found.biases[0][network], features.biases[0][network][:, columns])


class Chained(Tokenizer):
    name = "test/chained"

    def __init__(self, spec, layers):
        super().__init__(None, spec)
        self.links = self.one_chain(spec, layers=layers)

    def forward(self, batch):
        return batch.networks


def chained(*architectures, layers=2):
    return Chained(Spec(carrier=Batch, width=1, architectures=architectures), layers)


def test_a_part_for_chains_gets_the_links(cnn):
    """A part for chains gets the links of the only layout."""
    assert chained(cnn, layers=3).links == read_chain(layout(cnn))


def test_a_part_for_chains_refuses_a_short_chain():
    """The refusal says why the architecture is no chain of so many layers."""
    with pytest.raises(PartError) as caught:
        chained(mlp(1, 4, 1), layers=3)

    assert str(caught.value) == (
        "tokenizer 'test/chained' takes a chain of at least 3 layers with weight and bias, "
        f"but there are 2 layers with parameters in {mlp(1, 4, 1).summary}"
    )


def test_a_part_for_chains_refuses_a_mixed_zoo():
    """A part for chains takes only one layout."""
    with pytest.raises(PartError, match="one layout, but the zoo has 2 layouts"):
        chained(mlp(1, 4, 1), mlp(1, 5, 1))

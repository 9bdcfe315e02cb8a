"""``tokenizer/neurons``: the tokens of a loop, padding of zeros, and how group elements move them."""

import numpy as np
import pytest
import torch
from sneframe_tokenizer.tokenizer import Neurons

from sneframe.batch import Batch, join
from sneframe.errors import PartError
from sneframe.parts.carriers import NeuronTokens
from sneframe.parts.part import Spec
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

ONE, OTHER = mlp(2, 4, 3, 1), mlp(2, 5, 1)


def build(*architectures, **options):
    return Neurons(Neurons.Config(**options), Spec(carrier=Batch, width=1, architectures=architectures))


def batch(*architectures, count=2):
    generator = torch.Generator().manual_seed(1)
    weights = {a: torch.randn(count, a.num_weights, generator=generator) for a in architectures}
    return join(weights, {a: range(n * count, (n + 1) * count) for n, a in enumerate(architectures)})


def literal(parameters, size):
    """Return the tokens of one MLP, by a loop over layers, neurons and pieces, and their masks."""
    tokens = []
    for number in range(len(parameters) // 2):
        for row, bias in zip(parameters[f"{number}.weight"], parameters[f"{number}.bias"], strict=True):
            whole = [*row.tolist(), float(bias)]
            tokens += [whole[start : start + size] for start in range(0, len(whole), size)]
    padded = [token + [0.0] * (size - len(token)) for token in tokens]
    return padded, [[place < len(token) for place in range(size)] for token in tokens]


@pytest.mark.parametrize("size", [None, 2, 7])
def test_the_tokens_are_those_of_a_loop(size):
    """Tokens and masks of networks of two architectures are those of a literal loop."""
    networks = batch(ONE, OTHER)
    part = build(ONE, OTHER, token_size=size)
    assert part.out.width == (
        size or 6
    )  # the last neuron of the second architecture reads five, and has a bias
    for entry, source in zip(part(networks), networks.networks, strict=True):
        assert entry.extent == (2, part.out.width)
        for row in range(2):
            parameters = {name: view[row] for name, view in source.parameters().items()}
            tokens, mask = literal(parameters, part.out.width)
            assert torch.equal(entry.tokens[row], torch.tensor(tokens))
            assert entry.mask.tolist() == mask


@pytest.mark.parametrize("size", [None, 2])
def test_the_weights_come_back(size):
    """The tokens give the flat weights in the order of the architecture."""
    networks = batch(ONE)
    (entry,) = build(ONE, token_size=size)(networks)
    assert torch.equal(entry.weights, networks.networks[0].weights)


def test_an_element_moves_the_tokens_as_it_moves_the_weights():
    """The tokens of moved networks are the moved tokens."""
    networks = batch(ONE, OTHER)
    part, elements = build(ONE, OTHER), sample(networks, seed=1, step=2)
    moved = part(apply(networks, elements))
    for entry, element, other in zip(part(networks), elements, moved, strict=True):
        assert torch.equal(entry.act(element).tokens, other.tokens)
        assert not torch.equal(entry.tokens, other.tokens)


def test_an_infinite_weight_stays_out_of_padding():
    """Padding is zero, also if the first weight of a network is not finite."""
    networks = batch(ONE)
    networks.networks[0].weights[:, 0] = float("inf")
    (entry,) = build(ONE)(networks)
    assert (entry.tokens[:, ~entry.mask] == 0).all()


def test_an_unseen_architecture_has_tokens():
    """A wider network than any in training has longer neurons, which are split."""
    wide = mlp(2, 40, 1)
    (entry,) = build(ONE)(batch(wide))
    assert entry.tokens.shape == (2, 40 + 9, 5)


def test_a_carrier_of_another_shape_is_told():
    """The mask must have the shape of the tokens."""
    (entry,) = build(ONE)(batch(ONE))
    wrong = NeuronTokens(
        architecture=ONE, tokens=entry.tokens, mask=entry.mask[1:], positions=entry.positions
    )
    with pytest.raises(ValueError, match=r"mask must be \(8, 5\) or \(2, 8, 5\), but got"):
        wrong.extent  # noqa: B018  # reading it raises


def test_a_size_of_zero_is_refused():
    """A token has at least one weight."""
    with pytest.raises((PartError, ValueError), match="token_size"):
        build(ONE, token_size=0)


def test_positions_count_tokens_layers_and_neurons():
    """The three positions of each token, for three layers."""
    (entry,) = build(ONE)(batch(ONE))
    expected = [
        (q, layer, neuron)
        for q, (layer, neuron) in enumerate(
            (layer, neuron) for layer, neurons in enumerate((4, 3, 1)) for neuron in range(neurons)
        )
    ]
    assert np.array_equal(entry.positions.numpy(), np.array(expected))

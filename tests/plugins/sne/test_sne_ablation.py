"""Ablations of SNE: what is left out has no effect and no weights, and the rest passes all checks."""

import pytest
import torch

import sneframe
from sneframe.batch import join
from sneframe.testing import laws, mlp

# The normalisation is left unfitted on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

SMALL = (
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.points=2",
    "aggregator.heads=2",
    "tokenizer.chunk_size=4",
)
PLAIN = ("layer_encoder.set_functions=false", "aggregator.set_functions=false")
SWITCHES = {
    "level": ("layer_encoder.level_encoding=false",),
    "type": ("layer_encoder.type_encoding=false",),
    "scale": ("layer_encoder.scale_encoding=false",),
    "level and type": ("layer_encoder.level_encoding=false", "layer_encoder.type_encoding=false"),
    "set functions": PLAIN,
    "set functions of the encoder": PLAIN[:1],
    "set functions of the aggregator": PLAIN[1:],
}


def networks(architecture, weights):
    return join({architecture: weights}, {architecture: range(len(weights))})


def embedding(architecture, weights, *words):
    torch.manual_seed(0)
    encoder = sneframe.encoder("sne", [architecture], *SMALL, *words).eval()
    with torch.no_grad():
        return encoder(networks(architecture, weights))


@pytest.mark.parametrize("words", SWITCHES.values(), ids=SWITCHES)
def test_ablated_parts_keep_the_laws(words):
    """A part without encodings or set functions still passes all checks of its claims."""
    config = sneframe.recipe("sne", *SMALL, *words)
    findings = list(laws.check(config, only={"sne/chunk-set", "sne/layer-set"}))
    assert {finding.part for finding in findings} == {"sne/chunk-set", "sne/layer-set"}
    assert [finding for finding in findings if finding.is_fault] == []


def swapped_layers(architecture, weights):
    """Exchange weights and biases of the two square hidden layers."""
    offset = dict(zip((p.name for p in architecture.parameters), architecture.offsets, strict=True))
    moved = weights.clone()
    for kind, size in (("weight", 16), ("bias", 4)):
        first, second = offset[f"1.{kind}"], offset[f"2.{kind}"]
        moved[:, first : first + size] = weights[:, second : second + size]
        moved[:, second : second + size] = weights[:, first : first + size]
    return moved


@pytest.mark.parametrize(
    ("words", "alike"), [((), False), (SWITCHES["level"], True), (SWITCHES["type"], False)]
)
def test_without_levels_equal_layers_can_be_exchanged(words, alike):
    """Exchanging two layers of one shape changes the embedding unless levels are not encoded."""
    architecture = mlp(1, 4, 4, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    one = embedding(architecture, weights, *words)
    other = embedding(architecture, swapped_layers(architecture, weights), *words)
    assert torch.allclose(one, other, atol=1e-6) is alike


def exchanged_weight_and_bias(architecture, weights):
    """Exchange the first layer's weight, of shape (4, 1), with its bias, of shape (4,)."""
    moved = weights.clone()
    moved[:, :4], moved[:, 4:8] = weights[:, 4:8], weights[:, :4]
    return moved


@pytest.mark.parametrize(
    ("words", "alike"), [((), False), (SWITCHES["type"], True), (SWITCHES["level"], False)]
)
def test_without_types_a_weight_equals_a_bias(words, alike):
    """Exchanging a weight and a bias of one size changes the embedding unless types are not encoded."""
    architecture = mlp(1, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    words = ("normalise.part=normalise/none", *words)
    one = embedding(architecture, weights, *words)
    other = embedding(architecture, exchanged_weight_and_bias(architecture, weights), *words)
    assert torch.allclose(one, other, atol=1e-6) is alike


@pytest.mark.parametrize(("words", "alike"), [((), True), (PLAIN[:1], False)])
def test_without_set_functions_order_in_a_chunk_matters(words, alike):
    """An MLP on chunks depends on the order of weights, and a set function does not."""
    architecture = mlp(1, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    moved = weights.clone()
    moved[:, :4] = weights[:, [2, 3, 1, 0]]
    one, other = (embedding(architecture, values, *words) for values in (weights, moved))
    assert torch.allclose(one, other, atol=1e-6) is alike


def test_ablated_parts_have_no_weights():
    """The model size falls by the size of what is left out."""
    architecture = mlp(1, 4, 1)

    def count(*words):
        encoder = sneframe.encoder("sne", [architecture], *SMALL, *words)
        return sum(parameter.numel() for parameter in encoder.parameters())

    # Two tables have 8 numbers for each of weight, bias and unknown type.
    assert count() - count(*SWITCHES["type"]) == 2 * 3 * 8
    assert count() == count(*SWITCHES["level"])
    assert count() - count(*SWITCHES["scale"]) == 2 * (8 + 8)
    # 4·8+8 + 2·(8·8+8) for a chunk, 2·(8·8+8) for chunks, the same for parameters, the tables, and scales
    assert count(*PLAIN) == 40 + 2 * 72 + 2 * 72 + 2 * 72 + 2 * 3 * 8 + 2 * (8 + 8)


def test_the_recipes_leave_nothing_out():
    """``sne/default`` and ``sne/paper`` encode level and type, and use all set functions."""
    for name in ("sne/default", "sne/paper"):
        config = sneframe.recipe(name)
        encoder = config.layer_encoder.config
        assert encoder.level_encoding
        assert encoder.type_encoding
        assert encoder.set_functions
        assert config.aggregator.config.set_functions


def test_scales_are_encoded_by_default_and_not_as_published():
    """``sne/paper`` has two blocks in Φ1, and weights enter it with their scale."""
    default, paper = (sneframe.recipe(name).layer_encoder.config for name in ("sne/default", "sne/paper"))
    assert (default.blocks, default.scale_encoding) == (1, True)
    assert (paper.blocks, paper.scale_encoding) == (2, False)

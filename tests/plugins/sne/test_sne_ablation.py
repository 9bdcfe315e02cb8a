"""SNE without one of its parts: what is gone is gone, and what is left keeps the laws."""

import pytest
import torch

import sneframe
from sneframe.batch import join
from sneframe.testing import laws, mlp

# The constants of an untrained encoder are 1 here, on purpose.
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
def test_what_is_left_keeps_the_laws(words):
    config = sneframe.recipe("sne", *SMALL, *words)
    findings = list(laws.check(config, only={"sne/chunk-set", "sne/layer-set"}))
    assert {finding.part for finding in findings} == {"sne/chunk-set", "sne/layer-set"}
    assert [finding for finding in findings if finding.is_fault] == []


def swapped_layers(architecture, weights):
    """Exchange the two hidden square layers, weights and biases."""
    place = dict(zip((p.name for p in architecture.parameters), architecture.offsets, strict=True))
    moved = weights.clone()
    for kind, size in (("weight", 16), ("bias", 4)):
        first, second = place[f"1.{kind}"], place[f"2.{kind}"]
        moved[:, first : first + size] = weights[:, second : second + size]
        moved[:, second : second + size] = weights[:, first : first + size]
    return moved


@pytest.mark.parametrize(
    ("words", "alike"), [((), False), (SWITCHES["level"], True), (SWITCHES["type"], False)]
)
def test_without_levels_the_order_of_equal_layers_is_not_seen(words, alike):
    architecture = mlp(1, 4, 4, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    one = embedding(architecture, weights, *words)
    other = embedding(architecture, swapped_layers(architecture, weights), *words)
    assert torch.allclose(one, other, atol=1e-6) is alike


def exchanged_weight_and_bias(architecture, weights):
    """Exchange the first layer's weight, four by one, with its bias of four."""
    moved = weights.clone()
    moved[:, :4], moved[:, 4:8] = weights[:, 4:8], weights[:, :4]
    return moved


@pytest.mark.parametrize(
    ("words", "alike"), [((), False), (SWITCHES["type"], True), (SWITCHES["level"], False)]
)
def test_without_types_a_bias_is_as_good_as_a_weight(words, alike):
    architecture = mlp(1, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    words = ("normalise.part=normalise/none", *words)
    one = embedding(architecture, weights, *words)
    other = embedding(architecture, exchanged_weight_and_bias(architecture, weights), *words)
    assert torch.allclose(one, other, atol=1e-6) is alike


@pytest.mark.parametrize(("words", "alike"), [((), True), (PLAIN[:1], False)])
def test_without_set_functions_the_order_within_a_chunk_is_seen(words, alike):
    architecture = mlp(1, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    moved = weights.clone()
    moved[:, :4] = weights[:, [2, 3, 1, 0]]
    one, other = (embedding(architecture, each, *words) for each in (weights, moved))
    assert torch.allclose(one, other, atol=1e-6) is alike


def test_what_is_left_out_has_no_weights():
    architecture = mlp(1, 4, 1)

    def count(*words):
        encoder = sneframe.encoder("sne", [architecture], *SMALL, *words)
        return sum(parameter.numel() for parameter in encoder.parameters())

    # two types, weight and bias, and none, 8 wide, in two tables
    assert count() - count(*SWITCHES["type"]) == 2 * 3 * 8
    assert count() == count(*SWITCHES["level"])
    # 4·8+8 + 2·(8·8+8) over a chunk, 2·(8·8+8) over chunks, the same over parameters, and the tables
    assert count(*PLAIN) == 40 + 2 * 72 + 2 * 72 + 2 * 72 + 2 * 3 * 8


def test_the_recipes_have_all_of_it():
    for name in ("sne/default", "sne/paper"):
        config = sneframe.recipe(name)
        encoder = config.layer_encoder.config
        assert encoder.level_encoding
        assert encoder.type_encoding
        assert encoder.set_functions
        assert config.aggregator.config.set_functions

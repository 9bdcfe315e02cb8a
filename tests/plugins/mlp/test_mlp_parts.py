"""The perceptron on flat weights: equal to ``nn.Sequential``, for one architecture; its recipes."""

import re
from itertools import pairwise

import pytest
import torch
from sneframe_mlp import sneframe_parts, sneframe_recipes
from torch import nn

import sneframe
from sneframe.batch import join
from sneframe.errors import ConfigError, PartError
from sneframe.model import build_model
from sneframe.parts.part import fault
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp, toy_zoo

ARCHITECTURE = mlp(2, 5, 4, 3)
SMALL = ("layer_encoder.width=6", "aggregator.hidden=[7]", "normalise.part=normalise/none")


def model(name, *words, architectures=(ARCHITECTURE,)):
    torch.manual_seed(0)
    config = sneframe.recipe(name, *words)
    return build_model(config, architectures)


def batch(architecture=ARCHITECTURE, count=3, dtype=torch.float64):
    weights = torch.randn(
        count, architecture.num_weights, generator=torch.Generator().manual_seed(1), dtype=dtype
    )
    return join({architecture: weights}, {architecture: range(count)})


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_the_registry_accepts_every_part(part):
    """No part has a fault."""
    assert fault(part) is None


@pytest.mark.parametrize("hidden", [(), (7,), (7, 3)])
def test_the_model_is_a_perceptron_on_flat_weights(hidden):
    """The two parts and the head equal an ``nn.Sequential`` with the same weights."""
    built = model("mlp", *SMALL, f"aggregator.hidden={list(hidden)}").double()
    nn.init.normal_(built.encoder.aggregator.bias)
    widths = (ARCHITECTURE.num_weights, 6, *hidden)
    plain = [nn.Linear(a, b) for a, b in pairwise(widths)]
    literal = nn.Sequential(
        *(layer for linear in plain for layer in (linear, nn.ReLU())), nn.Linear(widths[-1], 1)
    ).double()
    encoder = built.encoder
    state = [encoder.layer_encoder.linear.weight, encoder.aggregator.bias]
    state += [*(encoder.aggregator.layers or nn.Module()).parameters(), *built.head.parameters()]
    literal.load_state_dict(dict(zip(literal.state_dict(), state, strict=True)))
    given = batch()

    torch.testing.assert_close(built(given).value, literal(given.networks[0].weights), rtol=0, atol=1e-12)


def test_a_code_depends_on_its_own_parameter_only():
    """Changing all other parameters leaves the code unchanged."""
    encoder, given = model("mlp", *SMALL).double().encoder, batch()
    weights = given.networks[0].weights.clone()
    weights[:, ARCHITECTURE.offsets[1] :] += 1.0
    (codes,), (others,) = (encoder.layer_encoder(b.networks) for b in (given, given.replace([weights])))

    assert torch.equal(codes.codes[:, 0], others.codes[:, 0])
    assert not torch.isclose(codes.codes[:, 1:], others.codes[:, 1:]).any()


def test_permutations_change_the_embedding():
    """The baseline has no symmetry built in."""
    built, given = model("mlp", *SMALL).double().eval(), batch()
    moved = apply(given, sample(given, seed=0, step=0))

    assert (built(given).embedding - built(moved).embedding).abs().max() > 1e-2


def test_dropout_is_off_in_evaluation():
    """Outputs are random in training only."""
    built, given = model("mlp", *SMALL, "aggregator.dropout=0.5").double(), batch()

    assert not torch.equal(built.train()(given).value, built(given).value)
    assert torch.equal(built.eval()(given).value, built(given).value)


def test_a_mixed_zoo_is_refused_before_training(tmp_path):
    """The error names the part and the number of architectures."""
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=((4, 4), (3, 3)))
    with pytest.raises(
        PartError, match="layer_encoder 'mlp/columns' takes networks of one layout, but the zoo has 2 layouts"
    ):
        sneframe.run(sneframe.recipe("mlp", f"zoo.path={zoo}"), tmp_path / "run", report=False)


def test_networks_of_another_architecture_are_refused():
    """The error shows both architectures."""
    encoder = model("mlp", *SMALL).encoder
    with pytest.raises(PartError, match=r"layer_encoder 'mlp/columns' was built for .*2×5.*, but got .*2×9"):
        encoder.layer_encoder(batch(mlp(2, 9, 3)).networks)


@pytest.mark.parametrize(
    "option", ["layer_encoder.width=0", "aggregator.hidden=[0]", "aggregator.dropout=1.0"]
)
def test_impossible_options_are_refused(option):
    """The error names the key in the configuration."""
    with pytest.raises(ConfigError, match=re.sub(r"(.*)\.(.*)=.*", r"\1: '\2' must be", option)):
        sneframe.recipe("mlp", option)


# -- recipes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        # A network has 1153 weights. The perceptron has three layers of 256 units and one value.
        ("mlp/paper", 1153 * 256 + 256 + 2 * (256 * 256 + 256) + 256 + 1),
        ("mlp/default", 1153 * 256 + 256 + (256 * 256 + 256) + 256 + 1),
        ("mlp/fair", 1153 * 118 + 118 + (118 * 118 + 118) + 118 + 1),
    ],
)
def test_recipes_have_the_expected_size(recipe, expected):
    """The number of trainable weights is the sum over layers."""
    built = model(recipe, architectures=(mlp(1, 32, 32, 1),))
    assert sum(p.numel() for p in built.parameters()) == expected


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe_recipes()[name]().recipe == name


def test_the_recipe_beats_the_mean(tmp_path):
    """It predicts better than the mean."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=200)
    words = (f"zoo.path={zoo}", "zoo.property=scale", "train.epochs=20")
    result = sneframe.run(sneframe.recipe("mlp", *words), tmp_path / "run", report=False)
    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]


def test_the_published_recipe_trains(tmp_path):
    """``mlp/paper`` runs for an epoch."""
    zoo = toy_zoo(tmp_path / "toy.zarr")
    config = sneframe.recipe("mlp/paper", f"zoo.path={zoo}", "zoo.property=scale", "train.epochs=1")
    result = sneframe.run(config, tmp_path / "run", report=False)
    assert result.metrics["epochs"] == 1

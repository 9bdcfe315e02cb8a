"""The perceptron on flat weights: equal to the plain module, built for one architecture, of the sizes that are stated."""

import re
from itertools import pairwise

import pytest
import torch
from sneframe_mlp import sneframe_parts, sneframe_recipes
from torch import nn

import sneframe
from sneframe import plugins
from sneframe.batch import join
from sneframe.config.schema import plugins_named
from sneframe.config.structure import unstructure
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
    return build_model(config, plugins.load(plugins_named(unstructure(config))), architectures)


def batch(architecture=ARCHITECTURE, count=3, dtype=torch.float64):
    weights = torch.randn(
        count, architecture.num_weights, generator=torch.Generator().manual_seed(1), dtype=dtype
    )
    return join({architecture: weights}, {architecture: range(count)})


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_every_part_is_fit_to_be_offered(part):
    assert fault(part) is None


@pytest.mark.parametrize("hidden", [(), (7,), (7, 3)])
def test_it_is_a_perceptron_on_flat_weights(hidden):
    built = model("mlp", *SMALL, f"aggregator.hidden={list(hidden)}").double()
    nn.init.normal_(built.encoder.aggregator.bias)
    widths = (ARCHITECTURE.num_weights, 6, *hidden)
    plain = [nn.Linear(a, b) for a, b in pairwise(widths)]
    literal = nn.Sequential(
        *(each for linear in plain for each in (linear, nn.ReLU())), nn.Linear(widths[-1], 1)
    ).double()
    encoder = built.encoder
    state = [encoder.layer_encoder.linear.weight, encoder.aggregator.bias]
    state += [*(encoder.aggregator.layers or nn.Module()).parameters(), *built.head.parameters()]
    literal.load_state_dict(dict(zip(literal.state_dict(), state, strict=True)))
    given = batch()

    torch.testing.assert_close(built(given).value, literal(given.networks[0].weights), rtol=0, atol=1e-12)


def test_the_code_of_a_parameter_needs_no_other():
    encoder, given = model("mlp", *SMALL).double().encoder, batch()
    weights = given.networks[0].weights.clone()
    weights[:, ARCHITECTURE.offsets[1] :] += 1.0
    (codes,), (others,) = (encoder.layer_encoder(b.networks) for b in (given, given.replace([weights])))

    assert torch.equal(codes.codes[:, 0], others.codes[:, 0])
    assert not torch.isclose(codes.codes[:, 1:], others.codes[:, 1:]).any()


def test_it_knows_nothing_of_permutations():
    built, given = model("mlp", *SMALL).double().eval(), batch()
    moved = apply(given, sample(given, seed=0, step=0))

    assert (built(given).embedding - built(moved).embedding).abs().max() > 1e-2


def test_dropout_is_off_in_evaluation():
    built, given = model("mlp", *SMALL, "aggregator.dropout=0.5").double(), batch()

    assert not torch.equal(built.train()(given).value, built(given).value)
    assert torch.equal(built.eval()(given).value, built(given).value)


def test_a_mixed_zoo_is_refused_before_training(tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=((4, 4), (3, 3)))
    with pytest.raises(
        PartError, match="layer_encoder 'mlp/columns' is built for one architecture, the zoo holds 2"
    ):
        sneframe.run(sneframe.recipe("mlp", f"zoo.path={zoo}"), tmp_path / "run", report=False)


def test_networks_of_another_architecture_are_refused():
    encoder = model("mlp", *SMALL).encoder
    with pytest.raises(
        PartError, match=r"layer_encoder 'mlp/columns' was built for .*2×5.*, it is given .*2×9"
    ):
        encoder.layer_encoder(batch(mlp(2, 9, 3)).networks)


@pytest.mark.parametrize(
    "option", ["layer_encoder.width=0", "aggregator.hidden=[0]", "aggregator.dropout=1.0"]
)
def test_impossible_options_are_refused_by_their_key(option):
    with pytest.raises(ConfigError, match=re.sub(r"(.*)\.(.*)=.*", r"\1: '\2' must be", option)):
        sneframe.recipe("mlp", option)


# -- recipes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        # 1153 weights, three layers of 256, one value
        ("mlp/paper", 1153 * 256 + 256 + 2 * (256 * 256 + 256) + 256 + 1),
        ("mlp/default", 1153 * 256 + 256 + (256 * 256 + 256) + 256 + 1),
        ("mlp/fair", 1153 * 118 + 118 + (118 * 118 + 118) + 118 + 1),
    ],
)
def test_a_recipe_has_the_size_that_its_layers_have(recipe, expected):
    built = model(recipe, architectures=(mlp(1, 32, 32, 1),))
    assert sum(p.numel() for p in built.parameters()) == expected


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    assert sneframe_recipes()[name]().recipe == name


def test_a_recipe_learns(tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=200)
    words = (f"zoo.path={zoo}", "zoo.property=scale", "train.epochs=20")
    result = sneframe.run(sneframe.recipe("mlp", *words), tmp_path / "run", report=False)
    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]


def test_the_published_setting_takes_a_step(tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr")
    config = sneframe.recipe("mlp/paper", f"zoo.path={zoo}", "zoo.property=scale", "train.epochs=1")
    result = sneframe.run(config, tmp_path / "run", report=False)
    assert result.metrics["epochs"] == 1

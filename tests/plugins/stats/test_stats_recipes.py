"""The recipes of StatNN, run from zoo to metrics."""

import pytest
from sneframe_stats import sneframe_parts, sneframe_recipes

import sneframe
from sneframe.parts.part import fault
from sneframe.run_folder.checkpoint import load_model
from sneframe.testing import toy_zoo


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_the_registry_accepts_every_part(part):
    """No part has a fault."""
    assert fault(part) is None


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe_recipes()[name]().recipe == name


@pytest.mark.parametrize("hidden", [((4, 4),), ((4, 4), (3,))], ids=["one architecture", "mixed"])
@pytest.mark.parametrize("recipe", ["stats/boosting", "stats/pooled", "stats/ridge", "stats/mlp"])
def test_a_recipe_beats_the_mean(recipe, hidden, tmp_path):
    """It runs from zoo to metrics on one architecture and on two, and predicts better than the mean."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60, hidden=hidden)
    small = {
        "stats/ridge": (),
        "stats/boosting": ("head.trees=20",),
        "stats/pooled": ("head.trees=20",),
        "stats/mlp": ("head.hidden=[32]", "train.epochs=20"),
    }
    config = sneframe.recipe(recipe, f"zoo.path={zoo}", "zoo.property=scale", *small[recipe])
    result = sneframe.run(config, tmp_path / "run", report=False)
    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]


def test_the_mean_head_equals_the_baseline_of_a_run(tmp_path):
    """``stats/mean`` has the error of the baseline, and no rank correlation."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60)
    config = sneframe.recipe("stats/mean", f"zoo.path={zoo}", "zoo.property=scale")
    metrics = sneframe.run(config, tmp_path / "run", report=False).metrics
    assert metrics["test"]["mse"] == pytest.approx(metrics["baseline"]["test"]["mse"], rel=1e-6)
    assert metrics["test"]["tau"] is None


def test_pooled_statistics_predict_an_unseen_architecture(tmp_path):
    """A stored model takes networks of another depth and width."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60)
    config = sneframe.recipe("stats/pooled", f"zoo.path={zoo}", "zoo.property=scale", "head.trees=20")
    sneframe.run(config, tmp_path / "run", report=False)
    model, *_ = load_model(tmp_path / "run" / "best.safetensors")
    other = sneframe.open_zoo(toy_zoo(tmp_path / "other.zarr", networks=5, hidden=((3, 5, 2),)))
    assert model(other.load()).value.shape == (5, 1)

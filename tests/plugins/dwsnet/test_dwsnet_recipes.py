"""The recipes of DWSNet, run from zoo to metrics."""

import pytest
from sneframe_dwsnet import sneframe_recipes

import sneframe
from sneframe.errors import PartError
from sneframe.testing import toy_zoo

SMALL = ("layer_encoder.width=4", "layer_encoder.heads=1", "layer_encoder.hidden_layers=1", "train.epochs=5")


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe_recipes()[name]().recipe == name


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_beats_the_mean(name, tmp_path):
    """A short run predicts better than the mean."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60)
    settings = (f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=8", "train.lr=0.01", *SMALL)

    result = sneframe.run(sneframe.recipe(name, *settings), tmp_path / "run", report=False)

    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]


def test_a_mixed_zoo_is_refused_before_training(tmp_path):
    """The error says how many layouts the zoo has."""
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=((4, 4), (3, 3)))

    with pytest.raises(PartError, match="one layout, but the zoo has 2 layouts"):
        sneframe.run(sneframe.recipe("dwsnet/default", f"zoo.path={zoo}"), tmp_path / "run", report=False)

"""Recipes ``fair``: what methods are compared by has one size, and the budget of ``sne/default``."""

import pytest

import sneframe
from sneframe import plugins
from sneframe.config.structure import unstructure
from sneframe.model import build_model
from sneframe.testing import mlp

TRAINED = [
    name
    for plugin in sorted(plugins.installed())
    for name in plugins.load([plugin]).recipes
    if name.endswith(("/fair", "-fair"))
]
TRAINED.remove("stats/fair")  # fitted: there is nothing to train


def test_the_methods_that_have_one():
    assert {
        "sne/fair",
        "sne/message-fair",
        "dwsnet/fair",
        "nfn/hnp-fair",
        "mlp/fair",
        "deepsets/fair",
    } <= set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_it_has_150_000_parameters_on_the_architecture_of_the_sine_zoo(name):
    config = sneframe.recipe(name)
    model = build_model(config, (mlp(1, 32, 32, 1),))
    assert abs(sum(p.numel() for p in model.parameters()) - 150_000) <= 15_000


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_trained_as_long_as_sne(name):
    fair, default = sneframe.recipe(name).train, sneframe.recipe("sne/default").train
    assert (fair.epochs, fair.batch_size) == (default.epochs, default.batch_size)


@pytest.mark.parametrize("name", [*TRAINED, "stats/fair"])
def test_it_records_its_name(name):
    assert sneframe.recipe(name).recipe == name


def test_of_statnn_it_is_the_default():
    fair, default = (unstructure(sneframe.recipe(name)) for name in ("stats/fair", "stats/default"))
    assert {**fair, "recipe": None} == {**default, "recipe": None}

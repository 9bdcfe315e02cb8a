"""The ``fair`` recipes, by which methods are compared, have one model size and train like ``sne/default``."""

import pytest
import torch
from torch import nn

import sneframe
from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.config.structure import unstructure
from sneframe.model import build_model

TRAINED = [
    name
    for plugin in sorted(plugins.installed())
    for name in plugins.load([plugin]).recipes
    if name.endswith(("/fair", "-fair"))
]
TRAINED.remove("stats/fair")  # it is fitted, and has no trainable weights


def test_the_trained_methods_have_a_fair_recipe():
    """Every method that trains by gradients has one."""
    assert {
        "sne/fair",
        "sne/message-fair",
        "dwsnet/fair",
        "nfn/hnp-fair",
        "mlp/fair",
        "deepsets/fair",
        "probe/fair",
        "neural-graph/fair",
        "neural-graph/plain-fair",
        "neural-graph/transformer-fair",
        "scale-gmn/fair",
        "hyperrep/fair",
        "sane/fair",
    } <= set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_fair_recipe_has_150_000_trainable_weights(name):
    """On networks 1 → 32 → 32 → 1 the size is right within 10 %."""
    config = sneframe.recipe(name)
    tanh = nn.Tanh()  # its signs are known, as those of a sine are; ScaleGMN has weights for them
    module = nn.Sequential(nn.Linear(1, 32), tanh, nn.Linear(32, 32), tanh, nn.Linear(32, 1))
    model = build_model(config, (Architecture.from_module(module, torch.zeros(1, 1)),))
    assert abs(sum(p.numel() for p in model.parameters()) - 150_000) <= 15_000


@pytest.mark.parametrize("name", TRAINED)
def test_a_fair_recipe_trains_as_long_as_sne(name):
    """It has the epochs and the batch size of ``sne/default``."""
    fair, default = sneframe.recipe(name).train, sneframe.recipe("sne/default").train
    assert (fair.epochs, fair.batch_size) == (default.epochs, default.batch_size)


@pytest.mark.parametrize("name", [*TRAINED, "stats/fair"])
def test_a_fair_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe.recipe(name).recipe == name


def test_the_fair_recipe_of_statnn_is_the_default():
    """It has no trainable weights, so there is no size to match."""
    fair, default = (unstructure(sneframe.recipe(name)) for name in ("stats/fair", "stats/default"))
    assert {**fair, "recipe": None} == {**default, "recipe": None}

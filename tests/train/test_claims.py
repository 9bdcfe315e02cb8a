"""The claims of the pages about the numbers of a run, checked on its files and its zoo."""

import csv
import json
import math
import statistics

import numpy as np
import pytest
import torch
from attrs import evolve
from torch.optim.optimizer import register_optimizer_step_pre_hook

import sneframe
from sneframe.run_folder import checkpoint
from sneframe.testing import toy_zoo
from sneframe.zoo import open_zoo

SMALL = {
    "sne": (
        "layer_encoder.width=8",
        "layer_encoder.heads=2",
        "layer_encoder.points=2",
        "aggregator.heads=2",
        "tokenizer.chunk_size=3",
    ),
    "dwsnet": ("layer_encoder.width=4", "layer_encoder.heads=2", "layer_encoder.hidden_layers=2"),
    "nfn": ("layer_encoder.widths=[8,4]",),
}


def config_for(zoo, *words, recipe="stats/mlp"):
    return sneframe.recipe(
        recipe, f"zoo.path={zoo}", "train.batch_size=8", "device=cpu", *SMALL.get(recipe, ()), *words
    )


def history(run):
    return [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]


def predictions(run, split):
    """Return ids, true and predicted values."""
    with (run.folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return tuple(
        np.array([kind(row[key]) for row in rows])
        for key, kind in (("id", int), ("true", float), ("predicted", float))
    )


def training_ids(run, networks=40):
    """Return the ids of the networks that are in no row of predictions.csv."""
    others = {*predictions(run, "val")[0].tolist(), *predictions(run, "test")[0].tolist()}
    assert len(others) == 12
    return [network for network in range(networks) if network not in others]


# -- constants come from the training networks alone ---------------------------------------------------------


@pytest.mark.parametrize("part", ["normalise/fan-in", "normalise/parameter"])
def test_normalisation_is_fitted_on_training_networks(toy_zoo_path, tmp_path, part):
    """The scales of a run's model are those of the training networks alone."""
    run = sneframe.run(
        config_for(toy_zoo_path, f"normalise.part={part}", "train.epochs=1"), tmp_path / "run", report=False
    )
    normalise = checkpoint.load_model(run.folder / "best.safetensors")[0].encoder.normalise
    training = open_zoo(toy_zoo_path).load().select(training_ids(run))
    hidden = training.networks[0].parameters()["1.weight"].flatten().tolist()
    if part == "normalise/parameter":
        found = [float(normalise.mean[2]), float(normalise.std[2])]  # 0.weight, 0.bias, 1.weight
        expected = [statistics.fmean(hidden), statistics.pstdev(hidden)]
    else:
        found = float(normalise.scale[normalise.keys.index(("linear.weight", "hidden"))])
        expected = math.sqrt(4 * statistics.fmean(w * w for w in hidden))  # a unit has four inputs
    assert found == pytest.approx(expected, rel=1e-5)


def test_targets_are_standardised_by_training_networks(toy_zoo_path, tmp_path):
    """Mean and standard deviation of the targets come from the training networks alone."""
    run = sneframe.run(config_for(toy_zoo_path, "train.epochs=1"), tmp_path / "run", report=False)
    _, tasks, _ = checkpoint.load_model(run.folder / "best.safetensors")
    scales = open_zoo(toy_zoo_path).column("scale")[training_ids(run)].tolist()
    assert tasks.main.mean == pytest.approx(statistics.fmean(scales))
    assert tasks.main.std == pytest.approx(statistics.pstdev(scales))


def test_the_baseline_predicts_the_training_mean(toy_zoo_path, tmp_path):
    """The baseline scores the mean of the training networks."""
    run = sneframe.run(config_for(toy_zoo_path, "train.epochs=0"), tmp_path / "run", report=False)
    mean = statistics.fmean(open_zoo(toy_zoo_path).column("scale")[training_ids(run)].tolist())
    _, true, _ = predictions(run, "test")
    found = run.metrics["baseline"]["test"]
    assert found["mse"] == pytest.approx(statistics.fmean((t - mean) ** 2 for t in true.tolist()))
    assert found["tau"] is None


# -- training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("select", "best"), [("mse", min), ("tau", max)])
def test_the_best_epoch_is_that_of_the_best_validation_score(zoo_of, tmp_path, select, best):
    """The kept epoch has the best validation score, also if the model then learns noise by heart."""
    zoo = zoo_of(noise=lambda scale: np.random.default_rng(3).standard_normal(len(scale)))
    words = ("zoo.property=noise", "train.epochs=12", "train.lr=0.01", f"train.select={select}")
    run = sneframe.run(config_for(zoo, *words), tmp_path / "run", report=False)
    records = history(run)
    scores = [record["val"][select] for record in records]
    losses = [record["train"]["loss"] for record in records]
    expected = scores.index(best(scores))
    assert 0 < expected != losses.index(min(losses))
    assert run.metrics["best_epoch"] == expected + 1
    assert checkpoint.load_model(run.folder / "best.safetensors")[2]["epoch"] == expected + 1
    _, true, predicted = predictions(run, "val")
    assert np.mean((true - predicted) ** 2) == pytest.approx(records[expected]["val"]["mse"], rel=1e-5)
    assert run.metrics["val"][select] == pytest.approx(scores[expected])


def gradient_norms(config, folder):
    """Run, and return the norm of the gradient at each step of the optimiser."""
    norms = []

    def note(optimiser, args, kwargs):
        gradients = [p.grad.flatten() for group in optimiser.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))

    hook = register_optimizer_step_pre_hook(note)
    try:
        sneframe.run(config, folder, report=False)
    finally:
        hook.remove()
    return norms


def test_gradients_are_clipped_in_every_step(toy_zoo_path, tmp_path):
    """No step has a gradient longer than train.clip."""
    config = config_for(toy_zoo_path, "train.epochs=2", "train.clip=0.1")
    clipped = gradient_norms(config, tmp_path / "clipped")
    free = gradient_norms(evolve(config, train=evolve(config.train, clip=None)), tmp_path / "free")
    assert len(clipped) == len(free) == 8
    assert max(clipped) <= 0.1 * (1 + 1e-5)
    assert max(free) > 0.2


def test_loss_weights_come_from_the_configuration(toy_zoo_path, tmp_path):
    """The loss is the sum of task loss and invariance loss, weighted as the configuration says."""
    words = ("train.epochs=2", "train.task_weight=0.5", "invariance.weight=0.3")
    run = sneframe.run(config_for(toy_zoo_path, *words, recipe="sne"), tmp_path / "run", report=False)
    for record in history(run):
        train = record["train"]
        assert min(train["task"], train["invariance"]) > 0
        assert train["loss"] == pytest.approx(0.5 * train["task"] + 0.3 * train["invariance"], rel=1e-5)


# -- invariance is measured ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "invariant"), [("sne", False), ("dwsnet", True), ("nfn", True)])
def test_a_run_reports_how_invariant_its_model_is(toy_zoo_path, tmp_path, recipe, invariant):
    """sne chunks of three distinguish neurons; DWS layers are invariant, and react to noise."""
    run = sneframe.run(
        config_for(toy_zoo_path, "train.epochs=1", recipe=recipe), tmp_path / "run", report=False
    )
    found = json.loads((run.folder / "metrics.json").read_text())["invariance"]
    assert found["e_g"] < 1e-8 if invariant else found["e_g"] > 1e-3
    assert found["e_noise"] > 1e-2


def test_networks_without_a_group_have_no_invariance_error(tmp_path):
    """If no network has a neuron group, the invariance error is None."""
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=((),))
    run = sneframe.run(config_for(zoo, "train.epochs=1"), tmp_path / "run", report=False)
    assert run.metrics["invariance"] is None

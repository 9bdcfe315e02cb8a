"""Runs on properties of every kind: fractions, categories, several at once; balanced epochs."""

import csv
import json

import numpy as np
import pytest
import torch

import sneframe
from sneframe.errors import ZooError
from sneframe.run_folder.checkpoint import load_model
from sneframe.train.sampler import epoch_batches
from sneframe.zoo import open_zoo


def config_for(zoo, *words, recipe):
    return sneframe.recipe(recipe, f"zoo.path={zoo}", *words)


KINDS = {
    "accuracy": lambda scale: scale / 2,
    "dataset": lambda scale: np.where(scale > 1.2, "mnist", "digits"),
}


@pytest.mark.parametrize("recipe", ["stats", "stats/ridge", "stats/mlp"])
@pytest.mark.parametrize(
    ("name", "task", "metric"), [("accuracy", "fraction", "r2"), ("dataset", "category", "accuracy")]
)
def test_a_property_of_any_kind_is_learned(zoo_of, tmp_path, recipe, name, task, metric):
    """Fractions and categories are learnt better than the baseline by every kind of head."""
    zoo = zoo_of(networks=100, **KINDS)
    words = (
        f"zoo.property={name}",
        *(
            ("train.epochs=20", "train.lr=0.02", "train.batch_size=16", "head.hidden=[32]")
            if recipe == "stats/mlp"
            else ()
        ),
    )
    words += ("head.min_leaf=3", "head.trees=40") if recipe == "stats" else ()
    metrics = sneframe.run(config_for(zoo, *words, recipe=recipe), tmp_path / "run", report=False).metrics
    assert metrics["task"] == (task if recipe == "stats/mlp" or task == "category" else "regression")
    assert metrics["test"][metric] > (metrics["baseline"]["test"][metric] or 0) + 0.1


def test_task_category_holds_for_further_texts(zoo_of, tmp_path):
    """zoo.task = category applies to texts in zoo.also as well, but not to numbers there."""
    zoo = zoo_of(
        dataset=lambda scale: np.where(scale > 1.2, "mnist", "digits"),
        run=lambda scale: [f"run {number % 20}" for number in range(len(scale))],
    )
    words = ("zoo.property=dataset", 'zoo.also=["run", "scale"]', "head.trees=2")
    with pytest.raises(ZooError, match=r"property 'run' is text, and \d+ of \d+ values are distinct"):
        sneframe.run(config_for(zoo, *words, recipe="stats"), tmp_path / "refused", report=False)
    config = config_for(zoo, *words, "zoo.task=category", recipe="stats")
    metrics = sneframe.run(config, tmp_path / "run", report=False).metrics
    tasks = [metrics["task"], *(also["task"] for also in metrics["also"].values())]
    assert tasks == ["category", "category", "regression"]


def test_several_properties_are_predicted_together(zoo_of, tmp_path):
    """Metrics, predictions, history, report and saved model have all properties."""
    zoo = zoo_of(**KINDS)
    words = ("zoo.property=accuracy", 'zoo.also=["dataset", "scale"]', "train.epochs=2")
    run = sneframe.run(config_for(zoo, *words, recipe="stats/mlp"), tmp_path / "run")
    assert list(run.metrics["also"]) == ["dataset", "scale"]
    assert run.metrics["also"]["dataset"]["task"] == "category"
    with (run.folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    accuracy = np.mean([row["true dataset"] == row["predicted dataset"] for row in rows])
    assert run.metrics["also"]["dataset"]["test"]["accuracy"] == pytest.approx(accuracy)
    history = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    assert set(history[0]["also"]) == {"dataset", "scale"}
    page = run.report.read_text()
    assert page.count("coloured by dataset") >= 2
    model, tasks, _ = load_model(run.folder / "best.safetensors")
    batch = open_zoo(zoo).load().select([int(row["id"]) for row in rows])
    with torch.no_grad():
        predicted = {task.name: task.predict(own) for task, own in tasks.split(model(batch).value)}
    assert predicted["dataset"].tolist() == [row["predicted dataset"] for row in rows]
    assert predicted["scale"] == pytest.approx([float(row["predicted scale"]) for row in rows], rel=1e-4)


def test_a_network_without_all_properties_is_left_out(zoo_of, tmp_path):
    """A network must have every property that is predicted."""
    zoo = zoo_of(half=lambda scale: np.where(np.arange(len(scale)) % 2, np.nan, scale))
    words = ("zoo.property=scale", 'zoo.also=["half"]', "head.trees=2")
    metrics = sneframe.run(config_for(zoo, *words, recipe="stats"), tmp_path / "run", report=False).metrics
    assert metrics["val"]["n"] + metrics["test"]["n"] <= 8


def test_balance_gives_each_kind_the_same_part():
    """With zoo.balance each kind makes up the same part of an epoch."""
    kinds = np.array([0] * 40 + [1] * 8 + [2] * 12)
    train = np.arange(4, 60)
    (batches,) = epoch_batches(train, batch_size=10, seed=0, epoch=3, kinds=kinds)
    drawn = np.concatenate(batches)
    counts = np.bincount(kinds[drawn])
    assert len(drawn) == len(train)
    assert counts.max() - counts.min() <= 1
    assert set(drawn) <= set(train.tolist())
    # Networks of a rare kind repeat, each of them equally often.
    times = np.bincount(drawn, minlength=60)[40:48]
    assert times.max() - times.min() <= 1


def test_an_unknown_balance_column_is_named(zoo_of, tmp_path):
    """The error names a column of zoo.balance that the zoo lacks."""
    with pytest.raises(sneframe.errors.ZooError, match="'kinds'"):
        sneframe.run(
            config_for(zoo_of(), "zoo.balance=kinds", recipe="stats"), tmp_path / "run", report=False
        )

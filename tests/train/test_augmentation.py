"""Augmentations in a run: they act in training steps only and in order, and need training steps."""

import json
import tomllib

import numpy as np
import pytest
import torch
from attrs import evolve

import sneframe
from sneframe import plugins
from sneframe.batch import join
from sneframe.cli import main
from sneframe.compose import compose
from sneframe.config.schema import parse_set
from sneframe.config.structure import structure
from sneframe.errors import ConfigError, PartError
from sneframe.parts.invariance import Output
from sneframe.rng import Draw
from sneframe.tasks import Regression, Tasks
from sneframe.testing import mlp, toy_zoo
from sneframe.train.objective import Objective

NOISE = 'augmentation=[{part="augmentation/noise", std=0.5}]'


def config_for(zoo, *words, recipe="stats/mlp"):
    small = ("train.batch_size=8", "train.epochs=2", "head.hidden=[8]", "device=cpu")
    return compose(recipe, None, parse_set([f"zoo.path={zoo}", *small, *words]))


def losses(run):
    return [
        json.loads(line)["train"]["loss"] for line in (run.folder / "history.jsonl").read_text().splitlines()
    ]


def test_augmentations_are_options_of_a_configuration():
    """A configuration lists augmentations with their options."""
    config = sneframe.recipe("sne", NOISE)
    (choice,) = config.augmentation
    assert (choice.part.name, choice.config.std) == ("augmentation/noise", 0.5)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("augmentation=5", "augmentation: must be a list, got 5"),
        ('augmentation=["augmentation/noise"]', "augmentation.0: must be a table with part = 'PLUGIN/NAME'"),
        ('augmentation=[{part="augmentation/nois"}]', "unknown part 'augmentation/nois', did you mean"),
        (
            'augmentation=[{part="augmentation/noise", sdt=1}]',
            "unknown key 'augmentation.0.sdt', did you mean 'std'",
        ),
        ('augmentation=[{part="augmentation/noise", std=-1}]', "'std' must be > 0: -1"),
    ],
)
def test_a_mistake_says_where_and_what_was_meant(word, said):
    """The error for a bad augmentation names the key and suggests the right word."""
    with pytest.raises(ConfigError, match=said):
        sneframe.recipe("sne", word)


def test_a_part_of_another_slot_is_no_augmentation():
    """A part of another slot is refused as an augmentation."""
    with pytest.raises(ConfigError, match=r"^part 'head/linear' is a head and cannot be the augmentation$"):
        sneframe.recipe("sne", 'augmentation=[{part="head/linear"}]')


def test_augmented_training_differs_and_repeats(tmp_path):
    """Augmentation changes the training losses, and the written configuration repeats them."""
    zoo = toy_zoo(tmp_path / "toy.zarr")
    plain = sneframe.run(config_for(zoo), tmp_path / "plain", report=False)
    noisy = sneframe.run(config_for(zoo, NOISE), tmp_path / "noisy", report=False)
    written = tomllib.loads((noisy.folder / "config.toml").read_text())
    assert written["augmentation"] == [{"part": "augmentation/noise", "std": 0.5}]
    again = sneframe.run(structure(written, plugins.part), tmp_path / "again", report=False)
    assert losses(noisy) == losses(again)
    assert losses(noisy) != losses(plain)


def test_what_is_scored_is_not_augmented(tmp_path):
    """Scores are those of the stored weights: with a learning rate near zero they do not change."""
    zoo = toy_zoo(tmp_path / "toy.zarr")
    runs = [
        sneframe.run(
            config_for(zoo, "train.lr=1e-12", "train.weight_decay=0", *words), tmp_path / name, report=False
        )
        for name, words in (("plain", ()), ("noisy", (NOISE,)))
    ]
    assert runs[0].metrics["test"]["mse"] == pytest.approx(runs[1].metrics["test"]["mse"], rel=1e-5)


def test_a_fitted_head_has_no_steps_to_augment(tmp_path):
    """Augmentations with a fitted head are refused."""
    config = evolve(config_for(toy_zoo(tmp_path / "toy.zarr"), NOISE), head=sneframe.recipe("stats").head)
    with pytest.raises(PartError, match=r"'augmentation/noise' .* head 'stats/boosting' is fitted"):
        sneframe.run(config, tmp_path / "run", report=False)


# -- the step ------------------------------------------------------------------------------------------------


class First(torch.nn.Module):
    def forward(self, batch):
        value = batch.restore([n.weights[:, :1] for n in batch.networks])
        return Output(embedding=value, value=value)


class Step(torch.nn.Module):
    """Maps weights and targets x to factor · x + term, and keeps its draw."""

    def __init__(self, factor, term):
        super().__init__()
        self.factor, self.term = factor, term

    def forward(self, batch, target, draw):
        self.draw = draw
        moved = batch.replace(self.factor * n.weights + self.term for n in batch.networks)
        return moved, self.factor * target + self.term


def test_augmentations_run_in_order_with_their_own_seeds():
    """Augmentations are applied one after the other, each with a seed of its own."""
    architecture = mlp(1, 2, 1)
    batch = join({architecture: torch.ones(2, architecture.num_weights)}, {architecture: range(2)})
    steps = Step(2.0, 0.0), Step(1.0, 3.0)
    tasks = Tasks(each=[Regression(name="f", mean=0.0, std=1.0)])
    objective = Objective(First(), tasks, None, augmentations=steps, task_weight=1.0, processes=1)
    draw = Draw(seed=0, step=5, positions=np.arange(2), size=2)
    loss, _ = objective(batch, torch.tensor([[1.0], [2.0]]), draw, 0.0)
    # Weights 1 · 2 + 3 = 5; targets 5 and 7: (0 + 4) / 2.
    assert float(loss) == 2.0
    assert steps[0].draw.seed != steps[1].draw.seed != draw.seed
    assert steps[0].draw.step == 5


# -- e_g over training ---------------------------------------------------------------------------------------


def test_the_invariance_error_is_measured_every_n_epochs(tmp_path):
    """train.invariance_every = 2 records e_g and e_noise in every second epoch."""
    config = config_for(toy_zoo(tmp_path / "toy.zarr"), "train.epochs=4", "train.invariance_every=2")
    run = sneframe.run(config, tmp_path / "run", report=False)
    records = [json.loads(line)["val"] for line in (run.folder / "history.jsonl").read_text().splitlines()]
    assert ["e_g" in record for record in records] == [False, True, False, True]
    assert all(record["e_noise"] > 0 for record in records[1::2])


def test_measuring_invariance_changes_nothing_else(tmp_path):
    """Measuring the invariance error leaves losses and scores as they are."""
    zoo = toy_zoo(tmp_path / "toy.zarr")
    plain = sneframe.run(config_for(zoo, NOISE), tmp_path / "plain", report=False)
    measured = sneframe.run(
        config_for(zoo, NOISE, "train.invariance_every=1"), tmp_path / "measured", report=False
    )
    assert losses(plain) == losses(measured)
    assert plain.metrics["test"] == measured.metrics["test"]


def test_the_command_takes_augmentations(tmp_path):
    """`sneframe run --set augmentation=…` runs."""
    zoo = toy_zoo(tmp_path / "toy.zarr")
    words = [f"--set={word}" for word in ("train.epochs=1", "head.hidden=[4]", NOISE)]
    with pytest.raises(SystemExit) as end:
        main(
            [
                "run",
                "--no-report",
                "--plugin",
                "stats/mlp",
                "--zoo",
                str(zoo),
                "--out",
                str(tmp_path / "run"),
                *words,
            ]
        )
    assert end.value.code == 0

"""The interval of one prediction: its numbers, and the reasons why there is none."""

import math

import pytest
import torch

from sneframe.predict.doubt import Doubt
from sneframe.predict.interval import PredictionInterval, interval_of
from sneframe.run_folder.calibration import Calibration
from sneframe.tasks import Category, Regression

NUMBER = Regression(name="depth", mean=10.0, std=2.0)
LABEL = Category(name="animal", classes=("cat", "dog"), frequencies=(0.5, 0.5))
FAR = Doubt(about="distance", grade="serious", line="it is far from all training networks")
NEW = Doubt(about="architecture", grade="mild", line="no training network has its architecture")
ODD = Doubt(about="inputs", grade="meaningless", line="it has 3 inputs")


def calibration(networks=19, *, scaled=True, left_out=0, **scores):
    """By default the scores of the number are 1 to 19, so that the bound of 90 % is 18."""
    numbers = {"depth": tuple(map(float, range(1, networks + 1))), "animal": (0.5,) * networks}
    return Calibration(
        scaled=scaled, left_out=left_out, group=tuple(range(networks)), scores={**numbers, **scores}
    )


def ask(task=NUMBER, value=(1.5,), *, of=None, level=0.9, distance=0.5, doubts=()):
    given = calibration() if of is None else of
    row = torch.tensor([value], dtype=torch.float64)
    return interval_of(task, row, given, level=level, distance=distance, doubts=doubts)


def test_the_interval_widens_with_the_distance():
    """The prediction is 10 + 2 · 1.5 = 13, the bound 18, and the spread 1.5."""
    found = ask()
    assert (found.low, found.high) == (pytest.approx(13 - 27), pytest.approx(13 + 27))
    assert (found.level, found.labels, found.reason) == (0.9, None, None)
    assert ask(distance=0.0).high == pytest.approx(13 + 18)


def test_without_distances_all_intervals_are_equally_wide():
    """The scores of such a run are plain errors."""
    assert ask(of=calibration(scaled=False), distance=None).high == pytest.approx(13 + 18)


def test_a_higher_level_is_wider():
    """The bound of 95 % is the largest of 19 scores."""
    assert ask(level=0.95, distance=0.0).high == pytest.approx(13 + 19)
    assert ask(level=0.5, distance=0.0).high == pytest.approx(13 + 10)


def test_a_category_has_a_set():
    """The set has labels instead of limits."""
    found = ask(LABEL, (math.log(0.6), math.log(0.4)))
    assert found == PredictionInterval(level=0.9, labels=("cat",))
    wide = calibration(animal=(0.7,) * 19)
    assert ask(LABEL, (math.log(0.6), math.log(0.4)), of=wide).labels == ("cat", "dog")


@pytest.mark.parametrize("task", [NUMBER, LABEL])
@pytest.mark.parametrize("doubt", [FAR, ODD])
def test_a_doubtful_network_has_no_interval(task, doubt):
    """The reason is the doubt."""
    found = ask(task, (0.0,) * task.width, doubts=(doubt, NEW))
    assert found == PredictionInterval(level=0.9, reason=doubt.line)


def test_a_mild_doubt_leaves_the_interval():
    """So does the test error that is shown beside it."""
    assert ask(doubts=(NEW,)) == ask()


@pytest.mark.parametrize(
    ("of", "level", "reason"),
    [
        (calibration(8), 0.9, "a 90 % interval needs 9 run groups of validation networks, but got 8"),
        (
            calibration(3, left_out=16),
            0.5001,
            None,
        ),
        (
            calibration(1, left_out=16),
            0.6,
            "a 60 % interval needs 2 run groups of validation networks, but got 1 (16 networks are doubtful)",
        ),
    ],
)
def test_too_few_validation_networks_give_no_interval(of, level, reason):
    """The reason says how many are needed."""
    assert ask(of=of, level=level).reason == reason


def test_checkpoints_of_few_runs_are_too_few():
    """Run groups count, not networks."""
    of = Calibration(scaled=False, left_out=0, group=(0, 1) * 20, scores={"depth": (1.0,) * 40})
    assert "needs 9 run groups of validation networks, but got 2" in ask(of=of).reason


def test_a_run_without_calibration_says_so():
    """As runs of older versions are."""
    row = torch.zeros(1, 1)
    found = interval_of(NUMBER, row, None, level=0.9, distance=0.1, doubts=())
    assert found.reason == (
        "the run has no calibration.json, as adapted runs and runs of older versions of sneframe"
    )


def test_scaled_scores_need_a_distance():
    """Without the embeddings of training networks, it is not known how wide the interval is."""
    assert ask(distance=None).reason == (
        "its distance from the training networks is not known, because the run has no embeddings of them"
    )


def test_unknown_labels_of_validation_networks_give_no_set():
    """If two of nineteen have such a label, no set covers 95 %."""
    of = calibration(animal=(None, None, *(0.5,) * 17))
    assert ask(LABEL, (0.0, 0.0), of=of, level=0.8).reason is None
    assert ask(LABEL, (0.0, 0.0), of=of, level=0.95).reason == (
        "a 95 % interval cannot be computed, because too many validation networks have a value of 'animal' "
        "that no training network has"
    )

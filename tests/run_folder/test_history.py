"""``history.jsonl``: the values that are written for an epoch, and those that are left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sneframe.metrics import Scores
from sneframe.run_folder.history import Epoch, EpochScores, Losses, read_history, write_history
from sneframe.run_folder.measured import Invariance

NUMBER = Scores(n=4, mse=2.0, r2=None, tau=0.5)
CATEGORY = Scores(n=4, mse=0.5, accuracy=0.75, balanced_accuracy=0.5)


def epoch(val: EpochScores) -> Epoch:
    losses = Losses(loss=1.5, task=1.0, invariance=None)
    return Epoch(epoch=1, step=10, seconds=0.5, lr=0.1, train=losses, val=val)


@pytest.mark.parametrize(
    ("scores", "moved", "keys"),
    [
        (NUMBER, None, ["mse", "r2", "tau"]),
        (CATEGORY, None, ["mse", "accuracy"]),
        (NUMBER, Invariance(e_g=0.1, e_noise=0.2), ["mse", "r2", "tau", "e_g", "e_noise"]),
    ],
)
def test_an_epoch_keeps_the_scores_of_its_task(
    tmp_path: Path, scores: Scores, moved: Invariance | None, keys: list[str]
) -> None:
    """A number has R² and τ, a category has its accuracy; e_g is written only if it was measured."""
    write_history(tmp_path / "history.jsonl", [epoch(EpochScores.of(scores, moved))])
    (line,) = (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(json.loads(line)["val"]) == keys


def test_epochs_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Epochs are read back as they were written; undefined values stay None."""
    written = (epoch(EpochScores.of(NUMBER)), epoch(EpochScores.of(CATEGORY)))
    write_history(tmp_path / "history.jsonl", written)
    assert read_history(tmp_path / "history.jsonl", 2) == written

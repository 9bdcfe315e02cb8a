"""Write and read ``history.jsonl``, which has one line for each finished epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from sneframe import atomic
from sneframe.metrics import Scores
from sneframe.run_folder.json_files import CONVERTER, fault, parse_json, read_text, structured
from sneframe.run_folder.measured import Invariance


@frozen(kw_only=True)
class Losses:
    """The losses of one epoch, averaged over the steps of the epoch.

    Args:
        loss: the total loss, which is minimised.
        task: the task loss, before it is weighted; None if the head is fitted after the training.
        invariance: the invariance loss, before it is weighted; None if the run has no invariance loss.
    """

    loss: float
    task: float | None
    invariance: float | None


@frozen(kw_only=True)
class EpochScores:
    """Scores of the validation networks after one epoch.

    Args:
        mse: mean squared error, in squared units of the property; the Brier score for a category; None if
            the head is fitted after the training.
        r2: 1 − mse / variance; None for a category, or if it is undefined.
        tau: Kendall's τ-b; None for a category, or if it is undefined.
        accuracy: fraction of the networks whose class is predicted correctly; None for a number.
        e_g: change of the output under permuted neurons, as in
            :class:`~sneframe.run_folder.measured.Invariance`; None if it was not measured.
        e_noise: change of the output under noise of the same size; None if it was not measured.
        loss: the invariance loss, before it is weighted; None if the run does not train on it alone.
    """

    mse: float | None = None
    r2: float | None = None
    tau: float | None = None
    accuracy: float | None = None
    e_g: float | None = None
    e_noise: float | None = None
    loss: float | None = None

    @classmethod
    def of(
        cls, scores: Scores | None, invariance: Invariance | None = None, loss: float | None = None
    ) -> EpochScores:
        """Select those of the scores and invariance errors that ``history.jsonl`` records."""
        moved = {} if invariance is None else attrs.asdict(invariance)
        if scores is None:
            return cls(loss=loss, **moved)
        return cls(mse=scores.mse, r2=scores.r2, tau=scores.tau, accuracy=scores.accuracy, loss=loss, **moved)


@frozen(kw_only=True)
class Epoch:
    """The record of one finished epoch.

    Args:
        epoch: number of the epoch, counted from 1.
        step: number of steps from the start of the training to the end of this epoch.
        seconds: seconds of training so far, over all sessions.
        lr: the learning rate of the last step of the epoch.
        train: losses on the training networks.
        val: scores of the validation networks on the main property.
        also: scores of the validation networks on the other properties, by name.
    """

    epoch: int
    step: int
    seconds: float
    lr: float
    train: Losses
    val: EpochScores
    also: Mapping[str, EpochScores] = field(factory=dict)


def write_history(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write a line for each epoch. The file is replaced as a whole, so nobody reads half a file.

    Raises:
        MachineError: the file cannot be written.
    """
    atomic.write_text(path, "".join(json.dumps(CONVERTER.unstructure(each)) + "\n" for each in epochs))


def read_history(path: Path, expected: int) -> tuple[Epoch, ...]:
    """Read the epochs from the file. If ``expected`` is 0, the file may be missing.

    Raises:
        RunError: the file is missing or malformed, or the number of epochs is not ``expected``.
    """
    if not expected and not path.exists():
        return ()
    found = tuple(
        structured(path, parse_json(path, text, line), Epoch, line)
        for line, text in enumerate(read_text(path).splitlines(), start=1)
    )
    if len(found) != expected:
        fault(path, f"the file has {len(found)} epochs, but metrics.json counts {expected}")
    return found


def _plain_scores(scores: EpochScores) -> dict[str, Any]:
    """Return the scores to write, as a dict.

    R² and τ are left out for a category, and the accuracy is left out for a number. All of them are left out
    if the head is fitted after the training. e_g, e_noise and the loss are left out if they were not
    measured.
    """
    left_out = {"r2", "tau"} if scores.accuracy is not None or scores.mse is None else set()
    left_out |= {"accuracy"} if scores.accuracy is None else set()
    left_out |= {name for name in ("mse", "e_g", "e_noise", "loss") if getattr(scores, name) is None}
    return {name: value for name, value in attrs.asdict(scores).items() if name not in left_out}


CONVERTER.register_unstructure_hook(EpochScores, _plain_scores)

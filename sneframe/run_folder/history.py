"""``history.jsonl``: one line for each epoch of a training."""

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
    """Means over the training networks of one epoch.

    Args:
        loss: what was minimised.
        task: its part that is owed to the predictions.
        invariance: its part that is owed to the invariance loss; None where there is no such loss.
    """

    loss: float
    task: float
    invariance: float | None


@frozen(kw_only=True)
class EpochScores:
    """Scores of the validation networks after one epoch.

    Args:
        mse: mean squared error, in squared units of the property; of a category the Brier score.
        r2: of a number, 1 − mse / variance; None where that is undefined.
        tau: of a number, Kendall's τ-b; None where that is undefined.
        accuracy: of a category; None of a number.
        e_g: see :class:`~sneframe.run_folder.measured.Invariance`; None where it was not measured.
        e_noise: likewise.
    """

    mse: float
    r2: float | None = None
    tau: float | None = None
    accuracy: float | None = None
    e_g: float | None = None
    e_noise: float | None = None

    @classmethod
    def of(cls, scores: Scores, invariance: Invariance | None = None) -> EpochScores:
        """Return what of all scores an epoch keeps."""
        moved = {} if invariance is None else attrs.asdict(invariance)
        return cls(mse=scores.mse, r2=scores.r2, tau=scores.tau, accuracy=scores.accuracy, **moved)


@frozen(kw_only=True)
class Epoch:
    """One epoch.

    Args:
        epoch: counted from 1.
        step: steps since the training began, those of this epoch included.
        seconds: seconds of training so far, over all sessions.
        lr: the learning rate of the last step.
        train: losses of the training networks.
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
    """Write the epochs; the file appears whole.

    Raises:
        MachineError: the folder does not take it.
    """
    atomic.write_text(path, "".join(json.dumps(CONVERTER.unstructure(each)) + "\n" for each in epochs))


def read_history(path: Path, expected: int) -> tuple[Epoch, ...]:
    """Read the epochs; where none is expected there need be no file.

    Raises:
        RunError: the file is missing or malformed, or does not hold as many epochs as expected.
    """
    if not expected and not path.exists():
        return ()
    found = tuple(
        structured(path, parse_json(path, text, line), Epoch, line)
        for line, text in enumerate(read_text(path).splitlines(), start=1)
    )
    if len(found) != expected:
        fault(path, f"{len(found)} epochs, metrics.json counts {expected}")
    return found


def _plain_scores(scores: EpochScores) -> dict[str, Any]:
    """Return scores for the file: no R² and τ of a category, no accuracy of a number, nothing unmeasured."""
    left_out = {"r2", "tau"} if scores.accuracy is not None else {"accuracy"}
    left_out |= {name for name in ("e_g", "e_noise") if getattr(scores, name) is None}
    return {name: value for name, value in attrs.asdict(scores).items() if name not in left_out}


CONVERTER.register_unstructure_hook(EpochScores, _plain_scores)

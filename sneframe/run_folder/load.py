"""Read and check the folder of a finished run. An error is one line with the file and the problem."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from attrs import frozen

from sneframe.errors import RunError
from sneframe.run_folder.adapted import Adaptation, read_adaptation
from sneframe.run_folder.embeddings import Embeddings, read_embeddings
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.history import Epoch, read_history
from sneframe.run_folder.json_files import fault, read_json, read_text
from sneframe.run_folder.measured import Metrics
from sneframe.run_folder.predictions import Predictions, read_predictions
from sneframe.run_folder.shown import read_shown


@frozen(kw_only=True, eq=False)
class RunFolder:
    """The content of the folder of a finished run.

    Args:
        name: name of the folder.
        config: text of ``config.toml``.
        environment: content of ``environment.json``.
        history: epochs in ``history.jsonl``; empty for a run without epochs.
        predictions: predictions in ``predictions.csv``, one item for each property.
        metrics: content of ``metrics.json``.
        embeddings: test embeddings in ``embeddings.safetensors``; None if there is no such file.
        shown: columns in ``shown.json``, by name, with values in the order of the predictions. Empty if there
            is no such file.
        adapted: how the run was adapted to its zoo; None for a run that was trained.
    """

    name: str
    config: str
    environment: Environment
    history: tuple[Epoch, ...]
    predictions: tuple[Predictions, ...]
    metrics: Metrics
    embeddings: Embeddings | None
    shown: Mapping[str, np.ndarray]
    adapted: Adaptation | None = None


def read_folder(folder: Path) -> RunFolder:
    """Read the folder of a finished run.

    Raises:
        RunError: there is no such folder, or a file in it is missing, malformed or contradicts another file.
    """
    if not folder.is_dir():
        raise RunError(f"no such run folder: {folder}")
    metrics = read_json(path := folder / "metrics.json", Metrics)
    if metrics.test.n == 0:
        fault(path, "test.n is 0: there is nothing to report")
    predictions = read_predictions(folder / "predictions.csv", metrics)
    return RunFolder(
        name=folder.resolve().name,
        config=_config(folder / "config.toml"),
        environment=read_json(folder / "environment.json", Environment),
        history=read_history(folder / "history.jsonl", metrics.epochs),
        predictions=predictions,
        metrics=metrics,
        embeddings=read_embeddings(folder / "embeddings.safetensors", predictions[0].ids),
        shown=read_shown(folder / "shown.json", predictions[0].ids),
        adapted=read_adaptation(folder),
    )


def _config(path: Path) -> str:
    text = read_text(path)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault(path, f"not TOML: {error}", error)
    return text

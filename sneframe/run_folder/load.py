"""Reads and checks the folder of a finished run; a fault is a RunError of one line: file and problem."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from attrs import frozen

from sneframe.errors import RunError
from sneframe.run_folder.embeddings import Embeddings, read_embeddings
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.history import Epoch, read_history
from sneframe.run_folder.json_files import fault, read_json, read_text
from sneframe.run_folder.measured import Metrics
from sneframe.run_folder.predictions import Predictions, read_predictions
from sneframe.run_folder.shown import read_shown


@frozen(kw_only=True, eq=False)
class RunFolder:
    """All of a finished run.

    Args:
        name: of the folder.
        config: the text of its ``config.toml``.
        environment: from ``environment.json``.
        history: from ``history.jsonl``, empty where there was no epoch.
        predictions: from ``predictions.csv``, one for each property.
        metrics: from ``metrics.json``.
        embeddings: from ``embeddings.safetensors``, None where there is no such file.
        shown: from ``shown.json``, further columns in the order of the predictions.
    """

    name: str
    config: str
    environment: Environment
    history: tuple[Epoch, ...]
    predictions: tuple[Predictions, ...]
    metrics: Metrics
    embeddings: Embeddings | None
    shown: Mapping[str, np.ndarray]


def read_folder(folder: Path) -> RunFolder:
    """Read the folder of a finished run.

    Raises:
        RunError: it is no folder, or a file in it is missing, malformed or at odds with another.
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
    )


# -- one function per file -----------------------------------------------------------------------------------


def _config(path: Path) -> str:
    text = read_text(path)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault(path, f"not TOML: {error}", error)
    return text

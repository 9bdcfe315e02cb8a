"""A finished run's folder, read back, checked, as values; a fault is a RunError of one line: file and problem."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.errors import RunError
from sneframe.run_folder.embeddings import Embeddings, read_embeddings
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.history import Epoch, read_history
from sneframe.run_folder.json_files import fault, read_json, read_text
from sneframe.run_folder.measured import Metrics
from sneframe.run_folder.shown import read_shown

COLUMNS = ["id", "split", "architecture", "true", "predicted"]
CATEGORY = "category"  #: the task whose values are labels, not numbers


@frozen(kw_only=True, eq=False)
class Predictions:
    """The predictions for the test networks.

    Args:
        ids: ``(n,)`` int64, distinct.
        architecture: ``(n,)`` str, their architectures' ids.
        true: ``(n,)`` float64, or labels.
        predicted: ``(n,)``, the same.
    """

    ids: np.ndarray
    architecture: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


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
    predictions = _predictions(folder / "predictions.csv", metrics)
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


def _predictions(path: Path, metrics: Metrics) -> tuple[Predictions, ...]:
    others = [f"{what} {name}" for name in metrics.also for what in ("true", "predicted")]
    tasks = [each.task for each in metrics.by_property.values()]
    columns, expected = [*COLUMNS, *others], metrics.test.n
    ids, architectures, values = [], [], []
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if (header := next(rows, [])) != columns:
            fault(path, f"the columns must be {', '.join(columns)}, got {', '.join(header) or 'none'}")
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"must have {len(columns)} values, got {len(row)}")
            number, split, architecture, *pairs = row
            if split not in ("val", "test"):
                raise ValueError(f"split must be val or test, got {split!r}")
            read = [_value(text, tasks[place // 2]) for place, text in enumerate(pairs)]
            if split == "test":
                ids.append(np.int64(number))
                architectures.append(architecture)
                values.append(read)
    except (csv.Error, ValueError, OverflowError) as error:
        fault(path, f"line {rows.line_num}: {error}", error)
    if len(ids) != expected:
        fault(path, f"{len(ids)} test networks, metrics.json counts {expected}")
    if len(set(ids)) != len(ids):
        fault(path, "a test network stands in it twice")
    found = []
    for place, task in enumerate(tasks):
        kind: Any = object if task == CATEGORY else np.float64
        true, predicted = (np.array([row[2 * place + side] for row in values], kind) for side in (0, 1))
        found.append(
            Predictions(
                ids=np.array(ids, np.int64),
                architecture=np.array(architectures, dtype=str),
                true=true,
                predicted=predicted,
            )
        )
    return tuple(found)


def _value(text: str, task: str) -> float | str:
    if task == CATEGORY:
        return text
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a value must be finite, got {value}")
    return value

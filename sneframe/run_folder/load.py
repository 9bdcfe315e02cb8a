"""A finished run's folder, read back, checked, as values; a fault is a RunError of one line: file and problem."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.errors import RunError
from sneframe.metrics import Scores
from sneframe.run_folder.embeddings import Embeddings, read_embeddings
from sneframe.run_folder.record import Record, fault, parse_record, read_text, scores
from sneframe.run_folder.shown import read_shown

COLUMNS = ["id", "split", "architecture", "true", "predicted"]
CATEGORY = "category"  #: the task whose values are labels, not numbers


@frozen(kw_only=True)
class Zoo:
    """The zoo a run was made on.

    Args:
        name: its own name.
        path: where it lay.
        digest: of its content.
        networks: how many it holds.
        architectures: for each architecture's id its summary.
        symmetry: how many networks have a symmetry of each origin; empty for a run that did not write it down.
    """

    name: str
    path: str
    digest: str
    networks: int
    architectures: Mapping[str, str]
    symmetry: Mapping[str, int]


@frozen(kw_only=True)
class Environment:
    """What a run ran on.

    Args:
        sneframe: its version.
        python: its version.
        platform: operating system and machine.
        packages: for each package its version.
        plugins: for each plugin its distribution and that one's version.
        device: ``cpu`` or a GPU.
        precision: ``no`` (float32) or ``bf16``.
        processes: how many took part.
        threads: of each process.
        zoo: the networks.
        recipe: ``PLUGIN/NAME``, or None for a configuration that started from none.
        started: date and time, ISO 8601.
        resumed: for each time that it was gone on with, when, and on which device.
    """

    sneframe: str
    python: str
    platform: str
    packages: Mapping[str, str]
    plugins: Mapping[str, tuple[str, str]]
    device: str
    precision: str
    processes: int
    threads: int
    zoo: Zoo
    recipe: str | None
    started: str
    resumed: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class Epoch:
    """One line of the history.

    Args:
        number: counted from 1.
        task: mean task loss over the training networks.
        mse: of the validation networks, in squared units of the property; of a category the Brier score.
        group: e_g of the validation networks, None where it was not measured.
    """

    number: int
    task: float
    mse: float
    group: float | None = None


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


@frozen(kw_only=True)
class Invariance:
    """Mean squared change of the model's output over its variance.

    Args:
        group: under a random element of the symmetry group.
        noise: under Gaussian noise that moves the weights as far.
    """

    group: float
    noise: float


@frozen(kw_only=True)
class Told:
    """How well one property was predicted.

    Args:
        property: its name.
        task: ``regression``, ``fraction`` or ``category``.
        test: scores of the test networks.
        val: scores of the validation networks.
        baseline: scores of saying of all test networks what is the mean of the training networks.
        by_architecture: scores of the test networks of each architecture, by id.
    """

    property: str
    task: str
    test: Scores
    val: Scores
    baseline: Scores
    by_architecture: Mapping[str, Scores]


@frozen(kw_only=True)
class Metrics:
    """The numbers of a run.

    Args:
        told: of each property what was told, the main one first.
        invariance: None where it was not measured.
        parameters: trainable scalars of the model.
        epochs: trained; 0 for a method without gradients.
        best_epoch: the one kept, None where there was no epoch.
        cut_after: passes over the training networks, where a budget ended it; else None.
        train_seconds: of the training alone.
        total_seconds: of the whole run.
    """

    told: tuple[Told, ...]
    invariance: Invariance | None
    parameters: int
    epochs: int
    best_epoch: int | None
    cut_after: float | None
    train_seconds: float
    total_seconds: float

    @property
    def main(self) -> Told:
        """The first property."""
        return self.told[0]


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
    metrics = _metrics(folder / "metrics.json")
    predictions = _predictions(folder / "predictions.csv", metrics.told)
    return RunFolder(
        name=folder.resolve().name,
        config=_config(folder / "config.toml"),
        environment=_environment(folder / "environment.json"),
        history=_history(folder / "history.jsonl", metrics.epochs),
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


def _environment(path: Path) -> Environment:
    root = parse_record(path, read_text(path))
    zoo = root.record("zoo")
    plugins = root.record("plugins")
    return Environment(
        sneframe=root.string("sneframe"),
        python=root.string("python"),
        platform=root.string("platform"),
        packages=root.record("packages").each(Record.string),
        plugins={
            name: (plugin.string("distribution"), plugin.string("version"))
            for name, plugin in plugins.each(Record.record).items()
        },
        device=root.string("device"),
        precision=root.string("precision"),
        processes=root.count("processes"),
        threads=root.count("threads"),
        zoo=Zoo(
            name=zoo.string("name"),
            path=zoo.string("path"),
            digest=zoo.string("digest"),
            networks=zoo.count("networks"),
            architectures=zoo.record("architectures").each(Record.string),
            symmetry=zoo.record("symmetry").each(Record.count) if "symmetry" in zoo.data else {},
        ),
        recipe=root.maybe("recipe", Record.string),
        started=root.string("started"),
        resumed=tuple(
            (sitting.string("started"), sitting.string("device"))
            for sitting in (root.records("resumed") if "resumed" in root.data else ())
        ),
    )


def _history(path: Path, expected: int) -> tuple[Epoch, ...]:
    if not expected and not path.exists():
        return ()
    epochs = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        entry = parse_record(path, line, line=number)
        epochs.append(
            Epoch(
                number=entry.count("epoch"),
                task=entry.record("train").number("task"),
                mse=entry.record("val").number("mse"),
                group=entry.record("val").number("e_g") if "e_g" in entry.record("val").data else None,
            )
        )
    if len(epochs) != expected:
        fault(path, f"{len(epochs)} epochs, metrics.json counts {expected}")
    return tuple(epochs)


def _predictions(path: Path, told: Sequence[Told]) -> tuple[Predictions, ...]:
    others = [f"{what} {each.property}" for each in told[1:] for what in ("true", "predicted")]
    columns, expected = [*COLUMNS, *others], told[0].test.n
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
            read = [_value(text, told[place // 2].task) for place, text in enumerate(pairs)]
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
    for place, each in enumerate(told):
        kind: Any = object if each.task == CATEGORY else np.float64
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


def _metrics(path: Path) -> Metrics:
    root = parse_record(path, read_text(path))
    main = _told(root, root.string("property"))
    if main.test.n == 0:
        fault(path, "test.n is 0: there is nothing to report")
    also = root.record("also").each(Record.record) if "also" in root.data else {}
    seconds = root.record("seconds")
    return Metrics(
        told=(main, *(_told(record, name) for name, record in also.items())),
        invariance=root.maybe("invariance", _invariance),
        parameters=root.count("parameters"),
        epochs=root.count("epochs"),
        best_epoch=root.maybe("best_epoch", Record.count) or None,
        cut_after=root.number("passes") if root.data.get("stopped_by") == "budget" else None,
        train_seconds=seconds.number("train"),
        total_seconds=seconds.number("total"),
    )


def _told(record: Record, name: str) -> Told:
    test = scores(record.record("test"))
    return Told(
        property=name,
        task=record.string("task"),
        test=test,
        val=scores(record.record("val")),
        baseline=scores(record.record("baseline").record("test"), n=test.n),
        by_architecture={
            architecture: scores(each)
            for architecture, each in record.record("by_architecture").each(Record.record).items()
        },
    )


def _invariance(root: Record, key: str) -> Invariance:
    record = root.record(key)
    return Invariance(group=record.number("e_g"), noise=record.number("e_noise"))

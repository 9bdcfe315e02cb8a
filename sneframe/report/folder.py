"""A finished run's folder, read back: what :mod:`sneframe.run` wrote, checked, as values.

Every fault is a :class:`~sneframe.errors.RunError` of one line that names the file and the problem.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from attrs import frozen
from safetensors import SafetensorError
from safetensors.numpy import load

from sneframe.errors import RunError
from sneframe.metrics import Scores

V = TypeVar("V")

COLUMNS = ["id", "split", "architecture", "true", "predicted"]


@frozen(kw_only=True)
class Zoo:
    """The zoo a run was made on.

    Args:
        name: its own name.
        path: where it lay.
        digest: of its content.
        networks: how many it holds.
        architectures: for each architecture's id its summary.
    """

    name: str
    path: str
    digest: str
    networks: int
    architectures: Mapping[str, str]


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


@frozen(kw_only=True)
class Epoch:
    """One line of the history.

    Args:
        number: counted from 1.
        task: mean task loss over the training networks, in standardised units.
        mse: of the validation networks, in squared units of the property.
    """

    number: int
    task: float
    mse: float


@frozen(kw_only=True, eq=False)
class Predictions:
    """The predictions for the test networks.

    Args:
        ids: ``(n,)`` int64, distinct.
        architecture: ``(n,)`` str, their architectures' ids.
        true: ``(n,)`` float64.
        predicted: ``(n,)`` float64.
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
class Metrics:
    """The numbers of a run.

    Args:
        property: what was predicted.
        test: scores of the test networks.
        val: scores of the validation networks.
        baseline: scores of predicting the training mean for the test networks.
        by_architecture: scores of the test networks of each architecture, by id.
        invariance: None where it was not measured.
        parameters: trainable scalars of the model.
        epochs: trained; 0 for a method without gradients.
        best_epoch: the one kept, None where there was no epoch.
        train_seconds: of the training alone.
        total_seconds: of the whole run.
    """

    property: str
    test: Scores
    val: Scores
    baseline: Scores
    by_architecture: Mapping[str, Scores]
    invariance: Invariance | None
    parameters: int
    epochs: int
    best_epoch: int | None
    train_seconds: float
    total_seconds: float


@frozen(kw_only=True, eq=False)
class Embeddings:
    """The embeddings of test networks: ``ids (n,)`` and ``values (n, E)`` float64."""

    ids: np.ndarray
    values: np.ndarray


@frozen(kw_only=True, eq=False)
class RunFolder:
    """All of a finished run.

    Args:
        name: of the folder.
        config: the text of its ``config.toml``.
        environment: from ``environment.json``.
        history: from ``history.jsonl``, empty where there was no epoch.
        predictions: from ``predictions.csv``.
        metrics: from ``metrics.json``.
        embeddings: from ``embeddings.safetensors``, None where there is no such file.
    """

    name: str
    config: str
    environment: Environment
    history: tuple[Epoch, ...]
    predictions: Predictions
    metrics: Metrics
    embeddings: Embeddings | None


def read_folder(folder: Path) -> RunFolder:
    """Read the folder of a finished run.

    Raises:
        RunError: it is no folder, or a file in it is missing, malformed or at odds with another.
    """
    if not folder.is_dir():
        raise RunError(f"no such run folder: {folder}")
    metrics = _metrics(folder / "metrics.json")
    predictions = _predictions(folder / "predictions.csv", metrics.test.n)
    return RunFolder(
        name=folder.resolve().name,
        config=_config(folder / "config.toml"),
        environment=_environment(folder / "environment.json"),
        history=_history(folder / "history.jsonl", metrics.epochs),
        predictions=predictions,
        metrics=metrics,
        embeddings=_embeddings(folder / "embeddings.safetensors", predictions.ids),
    )


# -- one function per file -----------------------------------------------------------------------------------


def _config(path: Path) -> str:
    text = _text(path)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _fault(path, f"not TOML: {error}", error)
    return text


def _environment(path: Path) -> Environment:
    root = _object(path, _text(path))
    zoo = root.table("zoo")
    plugins = root.table("plugins")
    return Environment(
        sneframe=root.string("sneframe"),
        python=root.string("python"),
        platform=root.string("platform"),
        packages=root.table("packages").each(_Object.string),
        plugins={
            name: (plugin.string("distribution"), plugin.string("version"))
            for name, plugin in plugins.each(_Object.table).items()
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
            architectures=zoo.table("architectures").each(_Object.string),
        ),
        recipe=root.maybe("recipe", _Object.string),
        started=root.string("started"),
    )


def _history(path: Path, expected: int) -> tuple[Epoch, ...]:
    if not expected and not path.exists():
        return ()
    epochs = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        entry = _object(path, line, line=number)
        epochs.append(
            Epoch(
                number=entry.count("epoch"),
                task=entry.table("train").number("task"),
                mse=entry.table("val").number("mse"),
            )
        )
    if len(epochs) != expected:
        _fault(path, f"{len(epochs)} epochs, metrics.json counts {expected}")
    return tuple(epochs)


def _predictions(path: Path, expected: int) -> Predictions:
    ids, architectures, true, predicted = [], [], [], []
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        if (header := next(rows, [])) != COLUMNS:
            _fault(path, f"the columns must be {', '.join(COLUMNS)}, got {', '.join(header) or 'none'}")
        for row in rows:
            if len(row) != len(COLUMNS):
                raise ValueError(f"must have {len(COLUMNS)} values, got {len(row)}")
            number, split, architecture, *values = row
            if split not in ("val", "test"):
                raise ValueError(f"split must be val or test, got {split!r}")
            y, y_hat = map(float, values)
            if not (math.isfinite(y) and math.isfinite(y_hat)):
                raise ValueError(f"values must be finite, got {y} and {y_hat}")
            if split == "test":
                ids.append(np.int64(number))
                architectures.append(architecture)
                true.append(y)
                predicted.append(y_hat)
    except (csv.Error, ValueError, OverflowError) as error:
        _fault(path, f"line {rows.line_num}: {error}", error)
    if len(ids) != expected:
        _fault(path, f"{len(ids)} test networks, metrics.json counts {expected}")
    if len(set(ids)) != len(ids):
        _fault(path, "a test network stands in it twice")
    return Predictions(
        ids=np.array(ids, np.int64),
        architecture=np.array(architectures, dtype=str),
        true=np.array(true, np.float64),
        predicted=np.array(predicted, np.float64),
    )


def _metrics(path: Path) -> Metrics:
    root = _object(path, _text(path))
    test = _scores(root.table("test"))
    if test.n == 0:
        _fault(path, "test.n is 0: there is nothing to report")
    invariance = root.maybe("invariance", _Object.table)
    seconds = root.table("seconds")
    return Metrics(
        property=root.string("property"),
        test=test,
        val=_scores(root.table("val")),
        baseline=_scores(root.table("baseline").table("test"), n=test.n),
        by_architecture={
            architecture: _scores(table)
            for architecture, table in root.table("by_architecture").each(_Object.table).items()
        },
        invariance=None
        if invariance is None
        else Invariance(group=invariance.number("e_g"), noise=invariance.number("e_noise")),
        parameters=root.count("parameters"),
        epochs=root.count("epochs"),
        best_epoch=root.maybe("best_epoch", _Object.count) or None,
        train_seconds=seconds.number("train"),
        total_seconds=seconds.number("total"),
    )


def _scores(table: _Object, n: int | None = None) -> Scores:
    return Scores(
        n=table.count("n") if n is None else n,
        mse=table.number("mse"),
        r2=table.maybe("r2", _Object.number),
        tau=table.maybe("tau", _Object.number),
    )


def _embeddings(path: Path, known: np.ndarray) -> Embeddings | None:
    if not path.exists():
        return None
    try:
        tensors = load(_bytes(path))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        _fault(path, f"not safetensors: {error}", error)
    if missing := {"ids", "values"} - tensors.keys():
        _fault(path, f"holds no {', '.join(sorted(missing))}")
    ids, values = tensors["ids"], tensors["values"]
    if ids.ndim != 1 or values.ndim != 2 or len(ids) != len(values) or values.shape[1] == 0:
        _fault(path, f"ids must be (n,) and values (n, E), got {ids.shape} and {values.shape}")
    if not np.isfinite(values).all():
        _fault(path, "values must be finite")
    if len(unknown := np.setdiff1d(ids, known)):
        _fault(path, f"network {unknown[0]} is no test network of predictions.csv")
    return Embeddings(ids=ids, values=values.astype(np.float64))


# -- files and JSON, with faults that say where --------------------------------------------------------------


@frozen
class _Object:
    """A JSON object, read key by key."""

    path: Path
    where: str
    data: Mapping[str, Any]

    def number(self, key: str) -> float:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self._refuse(key, "a finite number", value)
        return float(value)

    def count(self, key: str) -> int:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self._refuse(key, "a count", value)
        return value

    def string(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str):
            self._refuse(key, "a string", value)
        return value

    def table(self, key: str) -> _Object:
        value = self._get(key)
        if not isinstance(value, dict):
            self._refuse(key, "an object", value)
        return _Object(self.path, f"{self.where}{key}.", value)

    def maybe(self, key: str, read: Callable[[_Object, str], V]) -> V | None:
        return None if self._get(key) is None else read(self, key)

    def each(self, read: Callable[[_Object, str], V]) -> dict[str, V]:
        return {key: read(self, key) for key in self.data}

    def _get(self, key: str) -> Any:
        if key not in self.data:
            _fault(self.path, f"{self.where}{key} is missing")
        return self.data[key]

    def _refuse(self, key: str, wanted: str, value: object) -> NoReturn:
        _fault(self.path, f"{self.where}{key} must be {wanted}, got {value!r}")


def _object(path: Path, text: str, line: int | None = None) -> _Object:
    where = "" if line is None else f"line {line}: "

    def refuse(constant: str) -> NoReturn:
        _fault(path, f"{where}{constant} is no JSON number")

    try:
        data = json.loads(text, parse_constant=refuse)
    except (json.JSONDecodeError, RecursionError) as error:
        _fault(path, f"{where}not JSON: {error}", error)
    if not isinstance(data, dict):
        _fault(path, f"{where}must be a JSON object, got {data!r}")
    return _Object(path, where, data)


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError as error:
        _fault(path, f"not UTF-8: {error}", error)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        _fault(path, "no such file; is the run finished?", error)
    except OSError as error:
        _fault(path, f"cannot be read: {error.strerror}", error)


def _fault(path: Path, problem: str, cause: BaseException | None = None) -> NoReturn:
    raise RunError(f"{path}: {' '.join(problem.split())}") from cause

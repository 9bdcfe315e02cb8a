"""Import the model zoos of Schürholt et al. (arXiv 2209.14764) that are published as folders of Ray Tune.

The folder of a trial holds ``params.json`` and ``result.json``, which has one JSON object per epoch. The
checkpoint of epoch e is the file ``checkpoint_{e}/checkpoints`` or ``checkpoint_{e:06d}/checkpoints`` of this
folder. Its metrics are those of training iteration e in ``result.json``.

Two later zoos have almost the same layout. In WeightCLIP's, the objects of ``result.json`` have an ``epoch``,
counted from 0, in place of the training iteration, and checkpoint e was saved after this epoch. In
ViTModelZoo's, the settings of a trial are in ``config.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import inside, read_torch
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe_importers.each import each_file, folder, one

CHECKPOINT = re.compile(r"checkpoint_0*(\d+)")
SETTINGS = ("params.json", "config.json")  #: names of the file with the settings of a trial
#: Names of settings that WeightCLIP's files store without a prefix such as ``model::``.
PLAIN = ("seed", "lr", "weight_decay", "batch_size", "warmup_epochs", "grad_clip")
#: What the setting ``model::type`` of a chain begins with. Networks without this setting are chains, too.
CHAINS = ("cnn", "mlp")
METRICS = (
    "train_loss",
    "train_acc",
    "test_loss",
    "test_acc",
    "val_loss",
    "val_acc",
    "validation_loss",
    "validation_acc",
)


@frozen(kw_only=True)
class ModelZoos:
    """Options of ``zoo import model-zoos``."""

    epochs: tuple[int, ...] = option((), "epochs of the checkpoints to import, such as 50; default: all")


@frozen(kw_only=True)
class SavedEpoch:
    """The checkpoint of one epoch of a trial.

    Args:
        trial: folder of the trial, relative to the source.
        file: path of the checkpoint, relative to the source.
        epoch: number of the epoch.
        settings: settings of the trial by name.
        metrics: metrics of the epoch by name.
        final: whether the trial has no later checkpoint.
    """

    trial: str
    file: str
    epoch: int
    settings: Mapping[str, Any] = field(factory=dict)
    metrics: Mapping[str, Any] = field(factory=dict)
    final: bool = False


def read(config: ModelZoos, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the checkpoints of all trials, ordered by the name of the trial, then by epoch.

    Raises:
        ZooError: there is no such folder, or the folder has no trial.
    """
    checkpoints: list[SavedEpoch] = []
    for params in _settings_files(folder(source)):
        try:
            checkpoints += _trial(params, source)
        except FileError as error:
            yield Skipped(source=params.parent.relative_to(source).as_posix(), reason=str(error))
    if not checkpoints:
        raise ZooError(
            f"{source}: the folder has no trial (a folder with params.json or config.json, and "
            f"checkpoint_N/checkpoints)"
        )
    if config.epochs:
        checkpoints = [each for each in checkpoints if each.epoch in config.epochs]
    yield from each_file(checkpoints, attrgetter("file"), partial(_opened, source), reading)


@contextmanager
def _opened(source: Path) -> Iterator[Callable[[SavedEpoch], Imported]]:
    """Give the function that reads a checkpoint."""
    chains, others = NetworkReader(flatten="channels_first", published=True), NetworkReader()

    def make(checkpoint: SavedEpoch) -> Imported:
        tensors = read_torch(inside(source, checkpoint.file)).tensors
        weights = {name: value for name, value in tensors.items() if value.is_floating_point()}
        activation = str(checkpoint.settings.get("nlin", "relu"))
        is_chain = str(checkpoint.settings.get("type", CHAINS[0])).lower().startswith(CHAINS)
        reader = chains if is_chain else others
        architecture = reader.describe(weights, activation=activation)
        properties = {
            **checkpoint.settings,
            **checkpoint.metrics,
            "epoch": checkpoint.epoch,
            "final": checkpoint.final,
        }
        return one(checkpoint.file, architecture, weights, properties, group=checkpoint.trial)

    yield make


IMPORTER = ZooImporter(
    name="importers/model-zoos",
    config=ModelZoos,
    read=read,
    engines=True,
    help="A model zoo of Schürholt et al., as folders of Ray Tune: params.json, result.json, "
    "checkpoint_N/checkpoints.",
)


def _settings_files(source: Path) -> list[Path]:
    """Return the file with the settings of each trial, ordered by the path of the trial.

    A ``config.json`` may also describe a whole zoo. So a folder with this file is a trial only if it has
    ``result.json`` or a checkpoint.
    """
    found: dict[Path, Path] = {}
    for path in sorted(source.rglob("*.json")):
        trial = path.parent
        if path.name == SETTINGS[0] or (
            path.name == SETTINGS[1]
            and ((trial / "result.json").is_file() or any(trial.glob("checkpoint_*/checkpoints")))
        ):
            found[trial] = path  # params.json comes after config.json, and so replaces it
    return [found[trial] for trial in sorted(found)]


def _trial(params: Path, source: Path) -> list[SavedEpoch]:
    """Return the checkpoints of a trial, ordered by epoch, with the metrics of their epochs.

    Raises:
        FileError: a file of the trial is damaged, or the trial has no checkpoint.
    """
    trial = params.parent
    settings = _settings(_json(params))
    results: dict[int, Mapping[str, Any]] = {}
    if (trial / "result.json").is_file():
        for number, line in enumerate(_text(trial / "result.json").splitlines(), 1):
            if line.strip():
                values = _parsed(line, f"result.json, line {number}")
                results[_epoch(values, number)] = values
    checkpoints = []
    for each in trial.iterdir():
        match = CHECKPOINT.fullmatch(each.name)
        if match is not None and (each / "checkpoints").is_file():
            values = results.get(int(match[1]), {})
            metrics = {
                name: float(values[name]) for name in METRICS if isinstance(values.get(name), int | float)
            }
            file = (each / "checkpoints").relative_to(source).as_posix()
            name = trial.relative_to(source).as_posix()
            checkpoints.append(
                SavedEpoch(trial=name, file=file, epoch=int(match[1]), settings=settings, metrics=metrics)
            )
    if not checkpoints:
        raise FileError("the trial has no checkpoint_N/checkpoints")
    *others, last = sorted(checkpoints, key=lambda each: each.epoch)
    return [*others, evolve(last, final=True)]


def _epoch(values: Mapping[str, Any], number: int) -> int:
    """Return the number of the checkpoint to which a line of ``result.json`` belongs.

    Args:
        values: the JSON object of the line.
        number: the number of the line, counted from 1. A line that states no epoch has this number as its
            epoch.

    Raises:
        FileError: the line states an epoch that is no whole number.
    """
    for name in ("training_iteration", "epoch"):
        if name in values:
            if type(values[name]) is not int:
                raise FileError(
                    f"result.json, line {number}: {name!r} must be an int, but got {values[name]!r}"
                )
            return int(values[name])
    return number


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and texts that are in :data:`PLAIN` or named ``model::…`` or ``optim::…``.

    The prefix is removed, and ``model::head::seed`` becomes ``head.seed``.
    """
    return {
        name: params[name]
        for name in PLAIN
        if isinstance(params.get(name), int | float) and not isinstance(params[name], bool)
    } | {
        str(name).partition("::")[2].replace("::", "."): value
        for name, value in params.items()
        if isinstance(value, str | int | float) and str(name).startswith(("model::", "optim::"))
    }


def _json(path: Path) -> Mapping[str, Any]:
    return _parsed(_text(path), path.name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FileError(f"{path.name}: {getattr(error, 'strerror', None) or 'not a text file'}") from error


def _parsed(text: str, name: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name}: not JSON") from error
    if not isinstance(values, dict):
        raise FileError(f"{name}: not a JSON object")
    return values

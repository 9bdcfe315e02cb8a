"""A trained model on disk: its tensors, and in the header all it takes to build it again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.config.schema import RunConfig
from sneframe.config.structure import structure, unstructure
from sneframe.errors import ArchitectureError, RunError, one_line
from sneframe.model import Model, build_model
from sneframe.run_folder.tensor_files import read_tensors, write_tensors
from sneframe.tasks import Tasks

FORMAT = "sneframe.model"
VERSION = 1
LIBRARY = "scikit-learn"  #: what heads are fitted by


def save_model(path: Path, model: Model, tasks: Tasks, config: RunConfig, **extra: Any) -> None:
    """Write a model; tensors are the state dict's, an estimator is its training embeddings and targets."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": unstructure(config),
        "unregistered": plugins.unregistered(choice.part for choice in config.choices),
        "architectures": [a.to_json() for a in model.encoder.aggregator.out.architectures],
        "tasks": tasks.to_json(),
        LIBRARY: metadata.version(LIBRARY),
        **extra,
    }
    write_tensors(path, model.state_dict(), header)


def load_model(path: Path) -> tuple[Model, Tasks, Mapping[str, Any]]:
    """Read a model back, in eval mode, with its tasks and the header; a fitted head is fitted again.

    Warns:
        UserWarning: a head was fitted by another version of scikit-learn than it is fitted by now.

    Raises:
        RunError: the file is missing or damaged, or does not match its own configuration.
        ConfigError: a part it was made of is not there.
    """
    tensors, header = read_tensors(path)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise RunError(
            f"{path}: expected {FORMAT} version {VERSION}, got {header.get('format')} {header.get('version')}"
        )
    try:
        find = partial(plugins.part, class_paths=dict(header["unregistered"]))
        config = structure(dict(header["config"]), find)
        architectures = [Architecture.from_json(data) for data in header["architectures"]]
        tasks = Tasks.from_json(header["tasks"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArchitectureError) as error:
        raise RunError(f"{path}: damaged header: it describes no run: {one_line(error)}") from error
    model = build_model(config, architectures, tasks.width)
    then, now = header.get(LIBRARY), metadata.version(LIBRARY)
    if not model.head.trained and then != now:
        warnings.warn(
            f"{path}: head {model.head.name!r} was fitted by {LIBRARY} {then} and is fitted again by {now}: "
            f"its predictions may differ; install {LIBRARY}=={then} for the same",
            stacklevel=2,
        )
    restore_model(model, tensors, path)
    return model.eval(), tasks, header


def restore_model(model: Model, tensors: Mapping[str, Any], path: Path) -> None:
    """Put tensors into a model.

    Raises:
        RunError: names or shapes that do not match.
    """
    tensors = dict(tensors)
    fitted = {name: tensors.pop(f"head.{name}", None) for name in ("embeddings", "targets")}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"{path}: does not match its configuration: {' '.join(str(error).split())}") from error
    if not model.head.trained:
        with plugins.Blamed(model.head):
            model.head.finish(fitted["embeddings"], fitted["targets"])

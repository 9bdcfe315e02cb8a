"""Save and load a trained model. The file holds tensors, and a header that says how to build the model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.config.schema import RunConfig
from sneframe.config.structure import structure, unstructure
from sneframe.errors import ArchitectureError, RunError, one_line
from sneframe.model import Model, build_invariance, build_model
from sneframe.parts.invariance import InvarianceLoss
from sneframe.run_folder.tensor_files import read_tensors, write_tensors
from sneframe.tasks import Tasks

FORMAT = "sneframe.model"
VERSION = 1
LIBRARY = "scikit-learn"  #: the library that fits heads
OF_INVARIANCE = "invariance."  #: the start of the names of tensors that belong to the invariance loss


def save_model(
    path: Path,
    model: Model,
    tasks: Tasks,
    config: RunConfig,
    invariance: InvarianceLoss | None = None,
    **extra: Any,
) -> None:
    """Write the state dict of a model to a file, with a header that says how to build the model again.

    The header holds the configuration, the architectures, the tasks and the items of ``extra``. A head that
    is fitted, not trained by gradients, is stored as the embeddings and targets to which the head was fitted.
    The tensors of an invariance loss, such as those of a decoder, are stored under names that begin with
    :data:`OF_INVARIANCE`.
    """
    of_loss = {} if invariance is None else invariance.state_dict()
    tensors = model.state_dict() | {OF_INVARIANCE + name: tensor for name, tensor in of_loss.items()}
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
    write_tensors(path, tensors, header)


def load_model(path: Path) -> tuple[Model, Tasks, Mapping[str, Any]]:
    """Read a model file, and return the model in eval mode, its tasks and the header of the file.

    A head that is fitted, not trained by gradients, is fitted again.

    Warns:
        UserWarning: the head was fitted by another version of scikit-learn than the installed one.

    Raises:
        RunError: the file is missing or damaged, or the tensors do not match the configuration in the header.
        ConfigError: a part of the model is not installed.
    """
    tensors, header = read_tensors(path)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise RunError(
            f"{path}: the format must be {FORMAT} version {VERSION}, "
            f"but got {header.get('format')} version {header.get('version')}"
        )
    try:
        config = config_of(header)
        architectures = [Architecture.from_json(data) for data in header["architectures"]]
        tasks = Tasks.from_json(header["tasks"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArchitectureError) as error:
        raise RunError(f"{path}: the header is damaged and describes no model: {one_line(error)}") from error
    model = build_model(config, architectures, tasks.width)
    if not model.head.trained and not any(name.startswith("head.") for name in tensors):
        raise RunError(f"{path}: head {model.head.name!r} is not fitted yet, because the run is not finished")
    then, now = header.get(LIBRARY), metadata.version(LIBRARY)
    if not model.head.trained and then != now:
        warnings.warn(
            f"{path}: head {model.head.name!r} was fitted by {LIBRARY} {then} and is fitted again by {now}, "
            f"so the predictions may differ; for the same predictions install {LIBRARY}=={then}",
            stacklevel=2,
        )
    restore_model(model, tensors, path)
    return model.eval(), tasks, header


def config_of(header: Mapping[str, Any]) -> RunConfig:
    """Return the configuration in the header of a model file.

    Raises:
        KeyError, TypeError, ValueError: the header is damaged.
        ConfigError: a key is unknown, or a value is wrong.
    """
    find = partial(plugins.part, class_paths=dict(header["unregistered"]))
    return structure(dict(header["config"]), find)


def load_invariance(path: Path, model: Model) -> InvarianceLoss | None:
    """Read the invariance loss with which a model was trained, such as its decoder, in eval mode.

    Args:
        path: the model file.
        model: the model in this file, from :func:`load_model`.

    Returns:
        None if the model was trained without an invariance loss.

    Raises:
        RunError: the file is missing or damaged, or has no tensors of the loss, as that of an adapted run.
    """
    tensors, header = read_tensors(path)
    loss = build_invariance(config_of(header), model)
    if loss is not None:
        restore_invariance(loss, tensors, path)
        loss.eval()
    return loss


def restore_model(model: Model, tensors: Mapping[str, Any], path: Path) -> None:
    """Load tensors into a model. If they are those of a finished run with a fitted head, fit the head again.

    Raises:
        RunError: names or shapes of the tensors do not match those of the model.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(OF_INVARIANCE)}
    fitted = {name: tensors.pop(f"head.{name}", None) for name in ("embeddings", "targets")}
    _load(model, tensors, path)
    if not model.head.trained and fitted["embeddings"] is not None:
        with plugins.Blamed(model.head):
            model.head.finish(fitted["embeddings"], fitted["targets"])


def restore_invariance(loss: InvarianceLoss, tensors: Mapping[str, Any], path: Path) -> None:
    """Load the tensors of a model file into the invariance loss with which the model was trained.

    Raises:
        RunError: names or shapes of the tensors do not match those of the loss.
    """
    start = len(OF_INVARIANCE)
    _load(loss, {n[start:]: tensor for n, tensor in tensors.items() if n.startswith(OF_INVARIANCE)}, path)


def _load(module: nn.Module, tensors: Mapping[str, Any], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(
            f"{path}: the tensors do not match the configuration: {' '.join(str(error).split())}"
        ) from error

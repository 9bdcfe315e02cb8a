"""Read the run that is to be adapted, and the networks of the new zoo that have its properties."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, frozen

from sneframe.config.schema import RunConfig
from sneframe.errors import RunError, ZooError
from sneframe.model import Model
from sneframe.progress import Reporter
from sneframe.run_folder.adapted import Parent, model_hash, read_adaptation
from sneframe.run_folder.checkpoint import config_of, load_model
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.json_files import read_json
from sneframe.run_folder.measured import Metrics
from sneframe.run_folder.predictions import CATEGORY
from sneframe.run_folder.training_networks import read_weight_hashes
from sneframe.tasks import Tasks
from sneframe.train.data import with_properties
from sneframe.zoo import Zoo
from sneframe.zoo.column import Column


@frozen(kw_only=True, eq=False)
class ParentRun:
    """The run that is adapted.

    Args:
        folder: its folder.
        model: its model.
        tasks: its tasks, all of numbers.
        config: its configuration.
        had: the weight hashes of the networks that its training had.
        recorded: what ``adapted.json`` says about it.
    """

    folder: Path
    model: Model
    tasks: Tasks
    config: RunConfig
    had: frozenset[str]
    recorded: Parent


def read_parent(folder: Path, device: str | None) -> ParentRun:
    """Read the run that is to be adapted.

    Args:
        folder: the folder of the run.
        device: where to compute, or None for the device of the run.

    Raises:
        RunError: the run cannot be adapted.
    """
    if (earlier := read_adaptation(folder)) is not None:
        raise RunError(
            f"{folder}: this run was adapted already; adapt the run that it came from: {earlier.parent.path}"
        )
    read_json(folder / "metrics.json", Metrics)  # raises an error if the run is not finished
    model, tasks, header = load_model(folder / "best.safetensors")
    for task in tasks.each:
        if task.kind == CATEGORY:
            raise RunError(
                f"{folder}: only predicted numbers can be adapted, but the run predicts the category "
                f"{task.name!r}"
            )
    config = config_of(header)
    recorded = read_json(folder / "environment.json", Environment)
    return ParentRun(
        folder=folder,
        model=model,
        tasks=tasks,
        config=config if device is None else evolve(config, device=device),
        had=read_weight_hashes(folder / "training.json"),
        recorded=Parent(path=str(folder.resolve()), model=model_hash(folder), zoo=recorded.zoo.digest),
    )


def read_networks(
    parent: ParentRun, path: Path, where: str | None, reporter: Reporter
) -> tuple[Zoo, dict[str, Column]]:
    """Return the networks that have all properties of the run, and the columns of these properties.

    Raises:
        ZooError: the zoo or a property does not exist, no network has all properties, or a value is not one
            that the run can predict.
    """
    main, *also = (task.name for task in parent.tasks.each)
    config = evolve(parent.config.zoo, path=str(path), property=main, also=tuple(also), where=where)
    selected, columns = with_properties(config, reporter)
    for task in parent.tasks.each:
        column = columns[task.name]
        if column.kind not in ("float", "int"):
            raise ZooError(
                f"{path}: the run predicts {task.name!r} as a number, but here it holds {column.kind}s"
            )
        low, high = float(column.values.min()), float(column.values.max())
        if task.within is not None and (low < task.within[0] or high > task.within[1]):
            raise ZooError(
                f"{path}: the run predicts {task.name!r} in [{task.within[0]:g}, {task.within[1]:g}], "
                f"but here the values are in [{low:g}, {high:g}]"
            )
    return selected, columns

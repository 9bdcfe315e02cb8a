"""Run a model on networks, score its predictions, and measure how invariant the model is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from attrs import frozen
from torch import Tensor

from sneframe.batch import Batch
from sneframe.devices import sum_over_processes
from sneframe.errors import RunError
from sneframe.metrics import Scores
from sneframe.model import Encoder, Model
from sneframe.parts.invariance import Output
from sneframe.parts.part import Part
from sneframe.run_folder.measured import Baseline, Invariance, PropertyScores
from sneframe.run_folder.shown import Shown
from sneframe.symmetry import apply, sample
from sneframe.tasks import Category, Task, Tasks
from sneframe.train.data import Data
from sneframe.zoo.column import finite_or_none

#: The largest number of training embeddings that a run stores. Predictions compare new networks with them.
MOST_KEPT = 1000


@frozen(kw_only=True, eq=False)
class Outputs:
    """The outputs of a model, with one row for each network. The tensors are on the host.

    Args:
        embedding: ``(n, E)`` embeddings.
        value: ``(n, T)`` raw outputs.
    """

    embedding: Tensor
    value: Tensor


def predict(
    model: Model,
    data: Data,
    positions: np.ndarray,
    accelerator: Accelerator,
    *,
    batch_size: int,
    move: Callable[[Batch], Batch] | None = None,
) -> Outputs:
    """Run a model on the networks at ``positions``, and return the outputs in that order.

    Each process runs the model on a part of the networks. Every process returns the outputs for all of them.

    Args:
        model: the model, on the accelerator's device.
        data: the data that holds the networks.
        positions: positions of the networks in the batch.
        accelerator: accelerate's view of this process and the others.
        batch_size: number of networks at a time, over all processes.
        move: function that changes each batch before the model runs on the batch. By default, batches are
            not changed.
    """
    model.eval()
    width = model.encoder.width
    rows = torch.zeros(len(positions), width + model.encoder.aggregator.out.values, device=accelerator.device)
    starts = range(0, len(positions), batch_size)
    slots = [np.arange(start, min(start + batch_size, len(positions))) for start in starts]
    parts = [each[accelerator.process_index :: accelerator.num_processes] for each in slots]
    announced = data.announced([[positions[mine] for mine in parts]])
    with torch.no_grad(), accelerator.autocast(), announced:
        for mine in parts:
            if not len(mine):
                continue
            batch = data.select(positions[mine])
            output: Output = model(batch if move is None else move(batch))
            both = torch.cat([output.embedding, output.value.to(output.embedding.device)], dim=1)
            rows[torch.from_numpy(mine).to(rows.device)] = both.float()
    rows = sum_over_processes(accelerator, rows).cpu()
    return Outputs(embedding=rows[:, :width], value=rows[:, width:])


def some(positions: np.ndarray, seed: int) -> np.ndarray:
    """Return all positions, or a random sample if there are more than :data:`MOST_KEPT`."""
    if len(positions) <= MOST_KEPT:
        return positions
    return np.sort(np.random.default_rng(seed).choice(positions, MOST_KEPT, replace=False))


def embed(
    encoder: Encoder, data: Data, positions: np.ndarray, accelerator: Accelerator, *, batch_size: int
) -> Tensor:
    """Return the embeddings ``(n, E)`` of the networks at ``positions``, as a tensor on the host."""
    encoder.eval()
    parts = [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]
    with torch.no_grad(), accelerator.autocast(), data.announced([parts]):
        rows = [encoder(data.select(part)).float().cpu() for part in parts]
    return torch.cat(rows)


def invariance(
    model: Model,
    data: Data,
    positions: np.ndarray,
    value: Tensor,
    accelerator: Accelerator,
    *,
    seed: int,
    batch_size: int,
) -> Invariance | None:
    """Measure how much the outputs change when neurons are permuted, and when noise is added instead.

    e_g is mean (f(g·x) − f(x))² / var f over raw outputs f, where g is a random permutation of every neuron
    group. For e_noise, Gaussian noise of the norm |g·x − x| is added to x instead. A model that ignores the
    weights has a small e_g too, but it also has a small e_noise.

    Args:
        model: the model, on the accelerator's device.
        data: the data that holds the networks.
        positions: positions of the networks to measure on.
        value: ``(n, T)`` raw outputs of the model for these networks.
        accelerator: accelerate's view of this process and the others.
        seed: seed of the run.
        batch_size: number of networks at a time, over all processes.

    Returns:
        None if no network has a neuron group, or if the predictions do not vary.
    """
    variance = float(value.var(dim=0, correction=0).mean())
    if variance == 0 or not any(a.groups for a in data.zoo.architectures):
        return None

    def permuted(batch: Batch) -> Batch:
        return apply(batch, sample(batch, seed=seed, step=-1))

    def noised(batch: Batch) -> Batch:
        moved = [m.weights - n.weights for m, n in zip(permuted(batch).networks, batch.networks, strict=True)]
        ids = batch.rows(torch.from_numpy(batch.ids))
        noise = [_noise(change, rows, seed) for change, rows in zip(moved, ids, strict=True)]
        return batch.replace(n.weights + e for n, e in zip(batch.networks, noise, strict=True))

    def error(move: Callable[[Batch], Batch]) -> float:
        moved = predict(model, data, positions, accelerator, batch_size=batch_size, move=move)
        return float((moved.value - value).square().mean()) / variance

    return Invariance(e_g=error(permuted), e_noise=error(noised))


def _noise(change: Tensor, ids: Tensor, seed: int) -> Tensor:
    """Return Gaussian noise ``(B, P)``. Each row has the norm of the same row of ``change``.

    The noise of a network depends only on the id of the network and the seed.
    """
    draws = [np.random.default_rng([seed, int(i)]).standard_normal(change.shape[1]) for i in ids]
    noise = torch.from_numpy(np.stack(draws)).to(change)
    return noise * (change.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True))


def scores(tasks: Tasks, data: Data, positions: np.ndarray, value: Tensor) -> dict[str, Scores]:
    """Score raw outputs ``(n, T)`` for the networks at ``positions``. Return the scores by property name.

    Raises:
        RunError: some of the networks, but not all, have an output that is not finite. Either the training of
            such a network has diverged, or that of the model does.
    """
    _check_predicted(data, positions, value)
    return {task.name: task.score(_truth(task, data, positions), own) for task, own in tasks.split(value)}


def property_scores(tasks: Tasks, data: Data, values: dict[str, Tensor]) -> dict[str, PropertyScores]:
    """Return the scores of each property, by the name of the property.

    Args:
        tasks: the tasks, one for each property.
        data: the networks and their true values.
        values: raw outputs ``(n, T)`` by part of the split. The parts are ``val`` and ``test``.
    """
    val, test = (scores(tasks, data, getattr(data.split, part), values[part]) for part in ("val", "test"))
    return {
        task.name: PropertyScores(
            task=task.kind,
            val=val[task.name],
            test=test[task.name],
            baseline=Baseline(val=baseline(task, data, "val"), test=baseline(task, data, "test")),
            by_architecture=by_architecture(task, data, value),
        )
        for task, value in tasks.split(values["test"])
    }


def baseline(task: Task, data: Data, part: str) -> Scores:
    """Score the baseline on the networks of a part of the split, ``val`` or ``test``.

    The baseline predicts the mean, or the frequencies of the classes, in the training networks.
    """
    truth = _truth(task, data, getattr(data.split, part))
    return task.score(truth, task.constant().expand(len(truth), -1))


def by_architecture(task: Task, data: Data, value: Tensor) -> dict[str, Scores]:
    """Return the scores of a task on the test networks of each architecture, by architecture id.

    Args:
        task: the task.
        data: the networks and their true values.
        value: ``(n, T)`` raw outputs of the task for all test networks.
    """
    index, names = _architecture_ids(data)
    here, truth = index[data.split.test], _truth(task, data, data.split.test)
    found = {}
    for number, name in enumerate(names):
        rows = np.flatnonzero(here == number)
        if len(rows):
            found[name] = task.score(truth[rows], value[torch.from_numpy(rows)])
    return found


def prediction_rows(tasks: Tasks, data: Data, values: dict[str, Tensor]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of ``predictions.csv``; see :func:`sneframe.run_folder.predictions.header_of`."""
    index, names = _architecture_ids(data)
    sources, groups = data.zoo.sources, data.zoo.group
    for part, value in values.items():
        positions = getattr(data.split, part)
        columns: list[Any] = []
        for task, own in tasks.split(value):
            truth = _truth(task, data, positions)
            columns += [truth.tolist(), task.predict(own).tolist()]
            if isinstance(task, Category):
                columns.append(task.probability_of(truth, own).tolist())
        for position, *row in zip(positions, *columns, strict=True):
            named = names[index[position]], sources[position], str(groups[position])
            yield int(data.batch.ids[position]), part, *named, *row


def mix(data: Data) -> dict[str, dict[str, int]]:
    """Return the number of networks by architecture id, for each of ``train``, ``val`` and ``test``."""
    index, names = _architecture_ids(data)
    found = {}
    for part in ("train", "val", "test"):
        counts = np.bincount(index[getattr(data.split, part)], minlength=len(names)).tolist()
        found[part] = {name: count for name, count in zip(names, counts, strict=True) if count}
    return found


def left_out(model: Model, data: Data) -> dict[str, int]:
    """Return how many networks of the run a part does not read completely, by what it leaves out and why.

    See :meth:`sneframe.parts.part.Part.leaves_out`. Networks are counted in all parts of the split.
    """
    index, _ = _architecture_ids(data)
    # The labelled networks of a run that is adapted are both training and validation networks.
    used = np.unique(np.concatenate([data.split.train, data.split.val, data.split.test]))
    counts = np.bincount(index[used], minlength=len(data.batch.architectures)).tolist()
    found: Counter[str] = Counter()
    for part in (each for each in model.modules() if isinstance(each, Part)):
        for architecture, count in zip(data.batch.architectures, counts, strict=True):
            if count and (line := part.leaves_out(architecture)) is not None:
                found[f"{part.name}: {line}"] += count
    return dict(found)


def shown(data: Data) -> Shown:
    """Return the values of the test networks in the columns that ``zoo.show`` names."""
    rows = data.split.test
    columns = {
        name: tuple(finite_or_none(value) for value in column.take(rows).objects())
        for name, column in data.shown.items()
    }
    return Shown(ids=tuple(data.batch.ids[rows].tolist()), columns=columns)


def _check_predicted(data: Data, positions: np.ndarray, value: Tensor) -> None:
    """Raise an error if only some networks have no finite output. If none has, the training diverged."""
    lacking = np.flatnonzero(~value.isfinite().all(1).numpy())
    if 0 < len(lacking) < len(positions):
        first = positions[lacking[:1]]
        (networks,) = data.select(first).networks
        raise RunError(
            f"{len(lacking)} of {len(positions)} networks have no finite prediction, such as network "
            f"{data.batch.ids[first[0]]} ({data.zoo.sources[first[0]]}), whose largest weight is "
            f"{float(networks.stored.abs().max()):.3g}; if that is unusual, leave such networks out with "
            f"zoo.where, otherwise try a lower train.lr"
        )


def _truth(task: Task, data: Data, positions: np.ndarray) -> np.ndarray:
    return task.truth(data.columns[task.name].take(positions))


def _architecture_ids(data: Data) -> tuple[np.ndarray, list[str]]:
    return data.batch.entry, [architecture.id for architecture in data.batch.architectures]

"""Scores: predictions on validation and test networks, and how invariant the model has become."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from accelerate import Accelerator
from attrs import frozen
from torch import Tensor

from sneframe.batch import Batch
from sneframe.data import Data
from sneframe.devices import sum_over_processes
from sneframe.invariance import Output
from sneframe.metrics import Scores, score
from sneframe.model import Encoder, Model
from sneframe.symmetry import apply, sample
from sneframe.tasks import Regression


@frozen(kw_only=True, eq=False)
class Predictions:
    """Outputs for some networks, on the host, in the order of the positions asked for.

    Args:
        embedding: ``(n, E)``.
        value: ``(n, T)``, raw.
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
) -> Predictions:
    """Run a model over networks, spread over all processes.

    Args:
        model: on the accelerator's device.
        data: holds the networks.
        positions: which of them.
        accelerator: this process among all.
        batch_size: networks at a time, over all processes.
        move: applied to each batch first.
    """
    model.eval()
    width = model.encoder.width
    rows = torch.zeros(len(positions), width + model.encoder.aggregator.out.values, device=accelerator.device)
    with torch.no_grad(), accelerator.autocast():
        for start in range(0, len(positions), batch_size):
            places = np.arange(start, min(start + batch_size, len(positions)))
            mine = places[accelerator.process_index :: accelerator.num_processes]
            if not len(mine):
                continue
            batch = data.select(positions[mine])
            output: Output = model(batch if move is None else move(batch))
            both = torch.cat([output.embedding, output.value.to(output.embedding.device)], dim=1)
            rows[torch.from_numpy(mine).to(rows.device)] = both.float()
    rows = sum_over_processes(accelerator, rows).cpu()
    return Predictions(embedding=rows[:, :width], value=rows[:, width:])


def embed(
    encoder: Encoder, data: Data, positions: np.ndarray, accelerator: Accelerator, *, batch_size: int
) -> Tensor:
    """Return embeddings ``(n, E)`` on the host, in the order of the positions."""
    encoder.eval()
    starts = range(0, len(positions), batch_size)
    with torch.no_grad(), accelerator.autocast():
        rows = [encoder(data.select(positions[start : start + batch_size])).float().cpu() for start in starts]
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
) -> dict[str, float] | None:
    """Measure on some networks what moving neurons changes, beside noise of the same size.

    e_g is mean (f(g·x) − f(x))² / var f, g a random permutation of every group; e_noise is the same for Gaussian
    noise of the size |g·x − x|. A model that has gone deaf has a small e_g too, but then e_noise is small with it.

    Args:
        model: on the accelerator's device.
        data: holds the networks.
        positions: which of them.
        value: ``(n, T)`` the model's raw outputs for them.
        accelerator: this process among all.
        seed: of the run.
        batch_size: networks at a time, over all processes.

    Returns:
        ``{"e_g": …, "e_noise": …}``, or None where no network has a group or the predictions do not vary.
    """
    variance = float(value.var(correction=0))
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

    return {"e_g": error(permuted), "e_noise": error(noised)}


def _noise(change: Tensor, ids: Tensor, seed: int) -> Tensor:
    """Return Gaussian noise ``(B, P)``, each row as long as that of ``change``, drawn by network id."""
    draws = [np.random.default_rng([seed, int(i)]).standard_normal(change.shape[1]) for i in ids]
    noise = torch.from_numpy(np.stack(draws)).to(change)
    return noise * (change.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True))


def scores(task: Regression, data: Data, positions: np.ndarray, value: Tensor) -> Scores:
    """Score raw outputs ``(n, T)`` in the unit of the property."""
    return score(data.targets[positions], task.predict(value).numpy())


def baseline(task: Regression, data: Data) -> Scores:
    """Score predict-the-mean-of-training on the test networks."""
    true = data.targets[data.split.test]
    return score(true, np.full(len(true), task.mean))


def by_architecture(task: Regression, data: Data, value: Tensor) -> dict[str, dict[str, Any]]:
    """Score the test networks of each architecture apart."""
    index, names = _architecture_ids(data)
    here = index[data.split.test]
    found = {}
    for number, name in enumerate(names):
        rows = np.flatnonzero(here == number)
        if len(rows):
            found[name] = attrs.asdict(
                scores(task, data, data.split.test[rows], value[torch.from_numpy(rows)])
            )
    return found


def predictions_csv(task: Regression, data: Data, values: dict[str, Tensor]) -> str:
    """Return the content of ``predictions.csv``: id, split, architecture, true, predicted."""
    index, names = _architecture_ids(data)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "split", "architecture", "true", "predicted"))
    for part, value in values.items():
        positions = getattr(data.split, part)
        for position, predicted in zip(positions, task.predict(value).tolist(), strict=True):
            name = names[index[position]]
            writer.writerow(
                (
                    int(data.batch.ids[position]),
                    part,
                    name,
                    repr(float(data.targets[position])),
                    repr(predicted),
                )
            )
    return text.getvalue()


def _architecture_ids(data: Data) -> tuple[np.ndarray, list[str]]:
    return data.batch.entry, [architecture.id for architecture in data.batch.architectures]

"""Write the folder of an adapted run. The folder appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.atomic import write_text
from sneframe.config.schema import RunConfig
from sneframe.config.structure import to_toml
from sneframe.model import Model
from sneframe.run_folder.adapted import NAME, Adaptation
from sneframe.run_folder.checkpoint import save_model
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.json_files import write_json
from sneframe.run_folder.measured import Metrics
from sneframe.run_folder.predictions import write_predictions
from sneframe.run_folder.tensor_files import write_tensors
from sneframe.run_folder.training_networks import TrainingNetworks, weight_hashes
from sneframe.tasks import Tasks
from sneframe.train import evaluate
from sneframe.train.data import Data
from sneframe.train.run import finite_ranges
from sneframe.zoo.staging import Staging, machine_errors

#: The first line of ``config.toml`` in the folder of an adapted run.
NOTE = f"# The configuration of the run that was adapted. {NAME} says to what it was adapted, and how.\n"


@frozen(kw_only=True, eq=False)
class Adapted:
    """All that the folder of an adapted run holds.

    Args:
        model: the model after the adaptation.
        tasks: the tasks after the adaptation.
        config: configuration of the run that was adapted.
        data: the labelled networks, as training and validation networks, and the test networks.
        had: the weight hashes of the networks that the training of the run had.
        embedding: ``(N, E)`` embeddings of all networks of ``data``.
        predicted: the values that are written to ``predictions.csv`` for each property: those of the
            cross-validation under ``val``, and those of the test networks under ``test``.
        environment: the environment of the adaptation.
        adaptation: how the run was adapted.
    """

    model: Model
    tasks: Tasks
    config: RunConfig
    data: Data
    had: frozenset[str]
    embedding: Tensor
    predicted: Mapping[str, Mapping[str, np.ndarray]]
    environment: Environment
    adaptation: Adaptation


def write_folder(target: Path, adapted: Adapted, metrics: Metrics) -> None:
    """Write the folder of an adapted run under a temporary name, and rename it when it is complete.

    Raises:
        ZooError: something appeared at the target.
        MachineError: a file cannot be written.
    """
    with machine_errors(target):
        staging = Staging(target)
        try:
            _write(staging.folder, adapted, metrics)
            staging.commit()
        finally:
            staging.discard()


def _write(folder: Path, adapted: Adapted, metrics: Metrics) -> None:
    data, split = adapted.data, adapted.data.split
    # Predictions compare a new network with the networks on which the adapted run was fitted and tested.
    architectures = [architecture.to_json() for architecture in data.batch.architectures]
    write_text(folder / "config.toml", NOTE + to_toml(adapted.config))
    write_json(folder / "environment.json", adapted.environment)
    write_json(
        folder / "training.json",
        TrainingNetworks(
            networks=len(split.train),
            magnitudes=finite_ranges(data.batch.blocks()),
            weight_hashes=tuple(
                sorted(adapted.had | {found for _, found in weight_hashes(data.batch.blocks(split.train))})
            ),
        ),
    )
    save_model(
        folder / "best.safetensors", adapted.model, adapted.tasks, adapted.config, epoch=0, seen=architectures
    )
    kinds = {task.name: task.kind for task in adapted.tasks.each}
    write_predictions(folder / "predictions.csv", kinds, _rows(adapted))
    like = evaluate.some(np.arange(len(data.zoo)), adapted.config.seed)
    kept = {"ids": torch.from_numpy(data.batch.ids[split.test]), "values": adapted.embedding[split.test]}
    kept |= {"train_ids": torch.from_numpy(data.batch.ids[like]), "train_values": adapted.embedding[like]}
    write_tensors(folder / "embeddings.safetensors", kept, {})
    write_json(folder / NAME, adapted.adaptation)
    write_json(folder / "metrics.json", metrics)


def _rows(adapted: Adapted) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of ``predictions.csv``; see :func:`sneframe.run_folder.predictions.header_of`."""
    data = adapted.data
    names = [data.batch.architectures[number].id for number in data.batch.entry.tolist()]
    sources, groups, ids = data.zoo.sources, data.zoo.group.tolist(), data.batch.ids.tolist()
    for part, predicted in adapted.predicted.items():
        positions = getattr(data.split, part)
        columns = [
            values.tolist()
            for task in adapted.tasks.each
            for values in (task.truth(data.columns[task.name].take(positions)), predicted[task.name])
        ]
        for position, *row in zip(positions.tolist(), *columns, strict=True):
            yield ids[position], part, names[position], sources[position], str(groups[position]), *row

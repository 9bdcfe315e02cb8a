"""Score the validation networks after an epoch, by their properties or by the loss of the training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from accelerate import Accelerator
from attrs import frozen

from sneframe.config.schema import RunConfig
from sneframe.devices import sum_over_processes
from sneframe.metrics import Scores
from sneframe.parts.invariance import LossTerm
from sneframe.plugins import Blamed
from sneframe.rng import Draw
from sneframe.run_folder.measured import Invariance
from sneframe.train import evaluate
from sneframe.train.data import Data
from sneframe.train.objective import Objective


@frozen(kw_only=True)
class ValidationScores:
    """What is measured on the validation networks after an epoch.

    Args:
        scores: the scores of each property, by name; empty if the head is fitted after the training.
        loss: the invariance loss, before it is weighted; None if the run does not train on it alone.
        invariance: the invariance errors, or None if they are not measured.
    """

    scores: Mapping[str, Scores]
    loss: float | None
    invariance: Invariance | None

    def selected_by(self, select: str, main: str) -> float:
        """Return the number by which the best epoch is selected. A lower number is better.

        This is the invariance loss if the run trains on it alone.

        Args:
            select: the value of ``train.select``.
            main: the name of the main property.
        """
        if self.loss is not None:
            return self.loss
        scores = self.scores[main]
        rank = scores.accuracy if scores.tau is None else scores.tau
        return scores.mse if select == "mse" else -(-1.0 if rank is None else rank)


def validate(
    objective: Objective,
    data: Data,
    config: RunConfig,
    accelerator: Accelerator,
    *,
    measure_invariance: bool,
) -> ValidationScores:
    """Score the validation networks.

    Args:
        objective: the objective, whose model is scored.
        data: the data that holds the networks.
        config: configuration of the run.
        accelerator: accelerate's view of this process and the others.
        measure_invariance: whether to measure e_g and e_noise too.

    Raises:
        RunError: some of the networks, but not all, have an output that is not finite.
    """
    model, positions, size = objective.model, data.split.val, config.train.batch_size
    scores, moved = {}, None
    if objective.supervised:
        value = evaluate.predict(model, data, positions, accelerator, batch_size=size).value
        scores = evaluate.scores(objective.tasks, data, positions, value)
        if measure_invariance:
            moved = evaluate.invariance(
                model, data, positions, value, accelerator, seed=config.seed, batch_size=size
            )
    loss = None
    if config.self_supervised:
        loss = invariance_loss(objective, data, positions, accelerator, seed=config.seed, batch_size=size)
    return ValidationScores(scores=scores, loss=loss, invariance=moved)


def invariance_loss(
    objective: Objective,
    data: Data,
    positions: np.ndarray,
    accelerator: Accelerator,
    *,
    seed: int,
    batch_size: int,
) -> float:
    """Return the invariance loss of networks, before it is weighted, in evaluation mode.

    Batches and random numbers are the same in every epoch, so that epochs can be compared.

    Args:
        objective: the objective, which has an invariance loss.
        data: the data that holds the networks.
        positions: positions of the networks.
        accelerator: accelerate's view of this process and the others.
        seed: seed of the run.
        batch_size: number of networks at a time, over all processes.
    """
    objective.eval()
    loss = objective.invariance
    assert loss is not None
    sums = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
    starts = range(0, len(positions), batch_size)
    slots = [np.arange(start, min(start + batch_size, len(positions))) for start in starts]
    parts = [each[accelerator.process_index :: accelerator.num_processes] for each in slots]
    announced = data.announced([[positions[mine] for mine in parts]])
    with torch.no_grad(), accelerator.autocast(), announced:
        for step, (whole, mine) in enumerate(zip(slots, parts, strict=True)):
            if not len(mine):
                continue
            batch = data.select(positions[mine])
            draw = Draw(seed=seed, step=step, positions=mine - whole[0], size=len(whole))
            output = objective.output(batch)
            with Blamed(loss):
                term: LossTerm = loss(objective.model, batch, output, draw.apart("validation"))
            # Each process adds its fraction of the count, so that the sum over processes is the count.
            sums += torch.stack([term.total.double(), sums.new_tensor(term.count * len(mine) / len(whole))])
    total, count = sum_over_processes(accelerator, sums).tolist()
    return float(total / count)

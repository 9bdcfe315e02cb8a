"""Compute the loss of a training step from the task loss and the invariance loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from attrs import evolve
from torch import Tensor, nn

from sneframe import declared
from sneframe.batch import Batch
from sneframe.model import Model
from sneframe.parts.augmentation import Augmentation
from sneframe.parts.invariance import InvarianceLoss, Output
from sneframe.plugins import Blamed
from sneframe.rng import Draw
from sneframe.tasks import Tasks


class Objective(nn.Module):
    """Combines the model, the task loss and the invariance loss. Each call computes the loss of one step.

    Args:
        model: the model to train.
        tasks: the tasks, which compute the task loss from raw outputs and targets.
        invariance: the invariance loss, or None.
        augmentations: augmentations to apply to the batch of a step, in this order.
        task_weight: weight of the task loss.
        supervised: whether the head is trained, so that there is a task loss. If not, the head is fitted
            after the training, and the invariance loss alone is minimised.
        processes: number of processes. Each process computes the loss of its part of the batch. This loss is
            a sum over the networks of the part, divided by the number of networks in the whole batch.
            Accelerate averages the gradients over the processes, so each loss is multiplied by the number of
            processes.
    """

    def __init__(
        self,
        model: Model,
        tasks: Tasks,
        invariance: InvarianceLoss | None,
        *,
        augmentations: Sequence[Augmentation] = (),
        task_weight: float,
        processes: int,
        supervised: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.tasks = tasks
        self.invariance = invariance
        self.augmentations = nn.ModuleList(augmentations)
        self.task_weight = task_weight
        self.processes = processes
        self.supervised = supervised
        # Whether the first outputs of the augmentations and of the invariance loss have been checked.
        self._compared = self._term_compared = False

    def forward(self, batch: Batch, target: Tensor, draw: Draw, progress: float) -> tuple[Tensor, Tensor]:
        """Return the loss to differentiate, and a tensor ``(3,)``: the total, task and invariance loss.

        Both results cover only the networks of this process.

        Args:
            batch: the networks of this process in the batch of the step.
            target: ``(B, T)`` targets of the raw outputs.
            draw: seed and step, which determine all random numbers.
            progress: fraction of the training that is done, in [0, 1].
        """
        for number, each in enumerate(self.augmentations):
            augmentation = cast("Augmentation", each)
            with Blamed(augmentation):
                found = augmentation(batch, target, draw.apart(f"augmentation {number}"))
            if not self._compared:
                declared.check_augmented(augmentation, found, batch, target)
            batch, target = found
        batch = evolve(batch, draw=draw)
        output = self.output(batch)
        task = target.new_zeros(())
        if self.supervised:
            task = self.tasks.loss(output.value, target).sum() / draw.size
        loss, invariance = self.task_weight * task, torch.zeros_like(task)
        if self.invariance is not None:
            with Blamed(self.invariance):
                weight = self.invariance.weight(progress)
            # Without a task loss, the loss needs a gradient in each step, also where λ rises from 0.
            if weight > 0 or not self.supervised:
                with Blamed(self.invariance):
                    term = self.invariance(self.model, batch, output, draw)
                if not self._term_compared:
                    declared.check_term(self.invariance, term)
                    self._term_compared = True
                invariance = term.total / term.count
                loss = loss + weight * invariance
        self._compared = True
        return loss * self.processes, torch.stack([loss, task, invariance]).detach()

    def output(self, batch: Batch) -> Output:
        """Return the output of the model. It is NaN if no loss reads it, and then nothing is computed."""
        if self.supervised or self.invariance is None or self.invariance.reads != "nothing":
            output: Output = self.model(batch)
            return output
        spec, like = self.model.encoder.aggregator.out, batch.networks[0].weights
        embedding, value = (like.new_full((len(batch), n), torch.nan) for n in (spec.width, spec.values))
        return Output(embedding=embedding, value=value)

"""What a training step minimises: the task loss, and the invariance loss beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
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
    """Model, task and invariance loss as one module, so that one call is one step for data-parallel training too.

    Args:
        model: of the run.
        tasks: whose loss takes the targets that they make.
        invariance: or none.
        augmentations: of the networks of a step, in this order.
        task_weight: of the task loss.
        processes: over which a step's batch is spread; gradients are averaged over them, losses are sums over one
            process divided by the count over all, so each is multiplied by their number.
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
    ) -> None:
        super().__init__()
        self.model = model
        self.tasks = tasks
        self.invariance = invariance
        self.augmentations = nn.ModuleList(augmentations)
        self.task_weight = task_weight
        self.processes = processes
        # Whether augmentations, and the loss, were seen to give what they must.
        self._compared = self._term_compared = False

    def forward(self, batch: Batch, target: Tensor, draw: Draw, progress: float) -> tuple[Tensor, Tensor]:
        """Return the loss to differentiate, and ``(3,)``: this process's share of loss, task and invariance loss.

        Args:
            batch: this process's slice of the step's batch.
            target: ``(B, T)`` what raw outputs are trained on.
            draw: where in the run the step stands.
            progress: fraction of the training done, in [0, 1].
        """
        for place, each in enumerate(self.augmentations):
            augmentation = cast("Augmentation", each)
            with Blamed(augmentation):
                found = augmentation(batch, target, draw.apart(f"augmentation {place}"))
            if not self._compared:
                declared.check_augmented(augmentation, found, batch, target)
            batch, target = found
        output: Output = self.model(batch)
        task = self.tasks.loss(output.value, target).sum() / draw.size
        loss, invariance = self.task_weight * task, torch.zeros_like(task)
        if self.invariance is not None:
            with Blamed(self.invariance):
                weight = self.invariance.weight(progress)
            if weight > 0:
                with Blamed(self.invariance):
                    term = self.invariance(self.model, batch, output, draw)
                if not self._term_compared:
                    declared.check_term(self.invariance, term)
                    self._term_compared = True
                invariance = term.total / term.count
                loss = loss + weight * invariance
        self._compared = True
        return loss * self.processes, torch.stack([loss, task, invariance]).detach()

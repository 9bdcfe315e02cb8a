"""Augmentation: changes networks and their targets before a training step, never when a model is scored."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from sneframe.batch import Batch
from sneframe.parts.part import Part
from sneframe.rng import Draw


class Augmentation(Part):
    """Changes raw weights, before normalisation, anew at every training step.

    The change is drawn from seed, step and network id (:mod:`sneframe.rng`), so it does not depend on the
    number of processes. It does not depend on the other networks of the batch either, unless the part
    ``mixes``. Architectures, their order and the ids stay as they are.
    """

    slot = "augmentation"
    #: Whether the networks of a batch are mixed with each other, so that each result depends on the others.
    mixes: ClassVar[bool] = False

    @abstractmethod
    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the changed networks and their targets.

        Args:
            batch: the networks, with raw weights.
            target: ``(B, T)``, the targets in the order of ``batch.ids``; for a category, soft labels.
            draw: source of random numbers for this step, with a seed of this augmentation's own.
        """

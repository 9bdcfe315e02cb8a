"""Augmentation: what is done to networks, and to their targets, before a training step; never when a model is scored."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from sneframe.batch import Batch
from sneframe.parts.part import Part
from sneframe.rng import Draw


class Augmentation(Part):
    """Changes raw weights, before normalisation, at every training step anew.

    What it does to a network is drawn from seed, step and network id (:mod:`sneframe.rng`), so that it depends neither
    on the number of processes nor, unless it ``mixes``, on who shares the batch. Architectures, their order and the ids
    stay as they are.
    """

    slot = "augmentation"
    #: Whether networks of a batch are mixed with each other, so that what becomes of one depends on its mates.
    mixes: ClassVar[bool] = False

    @abstractmethod
    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return other networks in the place of these, and their targets.

        Args:
            batch: raw weights.
            target: ``(B, T)`` what raw outputs are trained on, in the order of ``batch.ids``; of a category a soft label.
            draw: where in the run this step stands; its seed is this augmentation's own.
        """

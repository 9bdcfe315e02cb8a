"""Define the abstract part Augmentation, which changes networks and targets before a training step.

Networks are never changed when a model is scored.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from sneframe.batch import Batch
from sneframe.parts.part import Part
from sneframe.rng import Draw


class Augmentation(Part):
    """Changes raw weights before they are normalised. Every training step draws a new change.

    The change is drawn from seed, step and network id (:mod:`sneframe.rng`), so the change does not depend on
    the number of processes. The change of a network does not depend on the other networks of the batch
    either, unless ``mixes`` is true. Architectures, their order and the ids must not change.
    """

    slot = "augmentation"
    #: Whether the part mixes the networks of a batch, so that a result depends on several networks.
    mixes: ClassVar[bool] = False

    @abstractmethod
    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the changed networks and their targets.

        Args:
            batch: the networks, with raw weights.
            target: the targets ``(B, T)``, in the order of ``batch.ids``. For a category, they are soft
                labels.
            draw: source of random numbers for this step. Each augmentation of a run has its own seed.
        """

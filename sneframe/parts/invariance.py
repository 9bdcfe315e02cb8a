"""Invariance loss: what a model pays for telling a network from the same network with its neurons moved."""

from __future__ import annotations

from abc import abstractmethod

from attrs import frozen
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.parts.part import Part
from sneframe.rng import Draw


@frozen(kw_only=True, eq=False)
class Output:
    """What a model gives for a batch, in the order of ``batch.ids``.

    Args:
        embedding: ``(B, E)``.
        value: ``(B, T)``, raw: before any sigmoid, in standardised units.
    """

    embedding: Tensor
    value: Tensor


@frozen(kw_only=True, eq=False)
class LossTerm:
    """A sum over this process's networks, and the count over all processes that it is to be divided by."""

    total: Tensor
    count: int


class InvarianceLoss(Part):
    """A loss on the model's answers to a batch and to what a symmetry makes of it.

    It may own parameters (a projection, a decoder). The group acts on raw weights, before normalisation.
    """

    slot = "invariance"

    @abstractmethod
    def weight(self, progress: float) -> float:
        """Return λ at this fraction of the training, in [0, 1]."""

    @abstractmethod
    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of a batch.

        Args:
            model: maps a :class:`Batch` to an :class:`Output`.
            batch: raw weights.
            output: the model's output for ``batch``, already computed.
            draw: where in the run this step stands.
        """

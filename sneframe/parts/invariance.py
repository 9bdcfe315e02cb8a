"""Invariance loss: the penalty for a model whose output changes when the neurons of a network are moved."""

from __future__ import annotations

from abc import abstractmethod

from attrs import frozen
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.parts.part import Part
from sneframe.rng import Draw


@frozen(kw_only=True, eq=False)
class Output:
    """The output of a model for a batch, in the order of ``batch.ids``.

    Args:
        embedding: embeddings ``(B, E)``.
        value: raw values ``(B, T)``, before any sigmoid, in standardised units.
    """

    embedding: Tensor
    value: Tensor


@frozen(kw_only=True, eq=False)
class LossTerm:
    """The sum over the networks of this process, and the count over all processes by which it is divided."""

    total: Tensor
    count: int


class InvarianceLoss(Part):
    """A loss on the model's outputs for a batch and for the batch moved by a symmetry.

    It may have trainable weights of its own (a projection, a decoder). The group acts on raw weights, before
    normalisation.
    """

    slot = "invariance"

    @abstractmethod
    def weight(self, progress: float) -> float:
        """Return λ at this progress of the training, a fraction in [0, 1]."""

    @abstractmethod
    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of a batch.

        Args:
            model: the model, from a :class:`Batch` to an :class:`Output`.
            batch: the networks, with raw weights.
            output: the model's output for ``batch``, already computed.
            draw: source of random numbers for this step.
        """

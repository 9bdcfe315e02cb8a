"""Define the abstract part InvarianceLoss.

An invariance loss penalises a model whose output changes when the neurons of a network are moved.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from attrs import frozen
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.parts.part import Part
from sneframe.rng import Draw


@frozen(kw_only=True, eq=False)
class Output:
    """The output of a model for a batch, in the order of ``batch.ids``.

    Args:
        embedding: the embeddings ``(B, E)``.
        value: the raw values ``(B, T)`` of the head, in standardised units and before any sigmoid. They are
            NaN if the head is fitted after the training, and the training is not finished.
    """

    embedding: Tensor
    value: Tensor


@frozen(kw_only=True, eq=False)
class LossTerm:
    """The sum of a loss over networks, and the number by which the sum is divided.

    ``total`` sums over the networks of this process, and ``count`` counts over all processes.
    """

    total: Tensor
    count: int


class InvarianceLoss(Part):
    """Compares the outputs of a model for a batch with its outputs for a moved copy of the batch.

    The loss may have trainable weights of its own (a projection, a decoder). They are saved with the model.
    Group elements are applied to raw weights, before normalisation.
    """

    slot = "invariance"
    #: What the loss reads of the argument ``output`` and of further outputs of the model: the values of the
    #: head, only the embeddings, or nothing, so that it computes all it needs from the networks. A loss that
    #: does not read values can train an encoder whose head is fitted afterwards.
    reads: ClassVar[Literal["values", "embeddings", "nothing"]] = "values"

    @abstractmethod
    def weight(self, progress: float) -> float:
        """Return λ, the factor of this loss.

        Args:
            progress: the finished fraction of the training, in [0, 1].
        """

    @abstractmethod
    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of a batch.

        Args:
            model: the model, from a :class:`Batch` to an :class:`Output`.
            batch: the networks, with raw weights.
            output: the output of the model for ``batch``, which is already computed. If the head is fitted,
                and the loss reads nothing of the output, the output is NaN.
            draw: source of random numbers for this step.
        """

"""Define the abstract part Head, which predicts values ``(B, T)`` from embeddings ``(B, E)``.

A head is trained by gradients, or fitted after the training.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor

from sneframe.errors import PartError
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Part, Spec


class Head(Part):
    """Predicts values from embeddings. By default, gradients train it together with the encoder.

    Code should not test the type of a head. Instead, ``trained`` says whether gradients train the head, and
    every training ends with a call of ``finish``.
    """

    slot = "head"
    takes = (Embedding,)

    #: Whether gradients train the head. If not, only a loss that does not read the values of the head can
    #: train the parts in front of it.
    trained: ClassVar[bool] = True

    @property
    def ready(self) -> bool:
        """Whether the head can predict. A fitted head can predict after it was fitted."""
        return True

    @abstractmethod
    def forward(self, embedding: Tensor) -> Tensor:
        """Return the raw outputs ``(B, T)`` for embeddings ``(B, E)``."""

    def finish(self, embeddings: Tensor, targets: Tensor) -> None:
        """Finish the head after the training. A head that gradients train does nothing here.

        Args:
            embeddings: the embeddings ``(N, E)`` of the training networks, from the trained encoder.
            targets: the values ``(N, T)`` that the head has to predict for the training networks.
        """


class FittedHead(Head):
    """Predicts with an estimator of a library, which is fitted to the embeddings of the training networks.

    A saved model holds the training embeddings and targets as tensors, never a pickled estimator. Loading
    fits the estimator again with the same seed.
    """

    slot = "head"
    trained = False

    embeddings: Tensor | None
    targets: Tensor | None

    def __init__(self, config: object, spec: Spec) -> None:
        super().__init__(config, spec)
        self.values = spec.values
        self.register_buffer("embeddings", None)
        self.register_buffer("targets", None)

    @property
    def ready(self) -> bool:
        """Whether the head was fitted."""
        return self.embeddings is not None

    @abstractmethod
    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit the estimator to embeddings ``(N, E)`` and targets ``(N, T)``.

        The method must also call :meth:`keep`, which stores both.
        """

    @abstractmethod
    def forward(self, embedding: Tensor) -> Tensor:
        """Return the values ``(B, T)`` for embeddings ``(B, E)``. No gradient flows through the head."""

    def finish(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit the head to embeddings ``(N, E)`` and targets ``(N, T)``.

        Raises:
            PartError: the head cannot be fitted to these embeddings and targets.
        """
        self.fit(embeddings, targets)

    def keep(self, embeddings: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Store embeddings and targets in the buffers, and return both as float64 NumPy arrays for a library.

        Raises:
            PartError: the shape of the targets is not ``(N, T)``.
        """
        if targets.shape != (len(embeddings), self.values):
            raise PartError(
                f"head {self.name!r} must be fitted to targets of shape {(len(embeddings), self.values)}, "
                f"but got {tuple(targets.shape)}"
            )
        self.embeddings, self.targets = embeddings, targets
        return host(embeddings), host(targets)

    def inputs(self, embedding: Tensor) -> np.ndarray:
        """Return the embeddings ``(B, E)`` to predict from as a float64 NumPy array.

        Raises:
            PartError: the head is not fitted.
        """
        if self.embeddings is None:
            raise PartError(f"head {self.name!r} cannot predict before it is fitted")
        return host(embedding)


def host(tensor: Tensor) -> np.ndarray:
    """Copy a tensor to the host, and return a float64 NumPy array."""
    return tensor.detach().double().cpu().numpy()

"""Head: predicts values (B, T) from embeddings (B, E); trained by gradients, or fitted afterwards."""

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

    Ask a head instead of testing its type: ``trained`` says whether gradients train it, and ``finish`` does
    what is left to do after the training.
    """

    slot = "head"
    takes = (Embedding,)

    #: Whether gradients train the head. If not, nothing in front of it can be trained either.
    trained: ClassVar[bool] = True

    @abstractmethod
    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` raw outputs for ``(B, E)`` embeddings."""

    def finish(self, embeddings: Tensor, targets: Tensor) -> None:
        """Do what is left to do after the training. A trained head has nothing left to do.

        Args:
            embeddings: ``(N, E)`` of the training networks, from the finished encoder.
            targets: ``(N, T)``, what the head has to predict for them.
        """


class FittedHead(Head):
    """Predicts with an estimator of a library, fitted once to the embeddings of the training networks.

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

    @abstractmethod
    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit the estimator to ``(N, E)`` embeddings and ``(N, T)`` targets, which :meth:`keep` keeps."""

    @abstractmethod
    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` for ``(B, E)`` embeddings; no gradient flows."""

    def finish(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit the head to ``(N, E)`` embeddings and ``(N, T)`` targets.

        Raises:
            PartError: the head cannot be fitted to these.
        """
        self.fit(embeddings, targets)

    def keep(self, embeddings: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Keep embeddings and targets, and return both as float64 arrays on the host, as libraries take them.

        Raises:
            PartError: the targets are not ``(N, T)``.
        """
        if targets.shape != (len(embeddings), self.values):
            raise PartError(
                f"head {self.name!r} is fitted to targets of shape {(len(embeddings), self.values)}, "
                f"got {tuple(targets.shape)}"
            )
        self.embeddings, self.targets = embeddings, targets
        return host(embeddings), host(targets)

    def inputs(self, embedding: Tensor) -> np.ndarray:
        """Return the embeddings to predict from as a float64 array ``(B, E)`` on the host.

        Raises:
            PartError: the head is not fitted.
        """
        if self.embeddings is None:
            raise PartError(f"head {self.name!r} can only predict after it was fitted")
        return host(embedding)


def host(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a float64 array on the host."""
    return tensor.detach().double().cpu().numpy()

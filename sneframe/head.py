"""Head: embedding (B, E) in, predicted values (B, T) out; trained by gradients, or fitted afterwards."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from sneframe.part import Embedding, Part, Spec


class Head(Part):
    """Predicts by a differentiable function, trained with the rest of the model."""

    slot = "head"
    takes = (Embedding,)

    @abstractmethod
    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` raw outputs for ``(B, E)`` embeddings."""


class FittedHead(Part):
    """Predicts by a library's estimator, fitted once on the embeddings of the training networks.

    What is saved is the training embeddings and targets, as tensors, never a pickled estimator; loading fits
    again with the same seed.
    """

    slot = "head"
    takes = (Embedding,)

    def __init__(self, config: object, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("embeddings", None)
        self.register_buffer("targets", None)

    @abstractmethod
    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to ``(N, E)`` embeddings and ``(N, T)`` targets, and keep both in the buffers of these names."""

    @abstractmethod
    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` for ``(B, E)`` embeddings; no gradient flows."""

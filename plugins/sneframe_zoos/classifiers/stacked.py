"""Compute the logits and the gradients of many networks of one design at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F


class Stacked(ABC):
    """Computes many networks of one design at once.

    No network has weights of another. So the networks that are computed together with a network change its
    numbers only by rounding.
    """

    #: what the pages call this way of computing
    name: ClassVar[str]
    #: how many networks one call should take, for speed
    networks: int

    @abstractmethod
    def logits(self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Return the logits ``(G, B, classes)`` of G networks, each for its own images.

        Args:
            parameters: ``(G, *shape)``, by name.
            masks: ``(G, B, …)``, by name, of every dropout; empty for networks without dropout.
            images: ``(G, B, channels, H, W)``.
        """

    def gradients(
        self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Return the gradients ``(G, *shape)`` of the parameters of G networks, by name.

        The loss of a network is its mean cross-entropy.

        Args:
            parameters: as in :meth:`logits`.
            masks: as in :meth:`logits`.
            images: as in :meth:`logits`.
            labels: ``(G, B)``.
        """
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        logits = self.logits(leaves, masks, images)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        # The gradient of the sum holds the gradient of each network.
        total = losses.view(labels.shape).mean(1).sum()
        return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))

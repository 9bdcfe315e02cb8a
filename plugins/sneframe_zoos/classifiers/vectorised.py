"""Compute many networks of any design at once, by :func:`torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.func import functional_call, vmap

from sneframe_zoos.classifiers.stacked import Stacked


class Vectorised(Stacked):
    """Vectorises each operation of a network over many networks.

    Args:
        network: a network with the layers of all of them. Its weights are not used.
        networks: how many networks one call should take.
    """

    name: ClassVar[str] = "vectorised"

    def __init__(self, network: nn.Module, networks: int) -> None:
        self.networks = networks

        def logits(parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor) -> Tensor:
            found: Tensor = functional_call(network, {**parameters, **masks}, (images,))
            return found

        self._logits = vmap(logits)

    def logits(self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """See :class:`~sneframe_zoos.classifiers.stacked.Stacked`."""
        logits: Tensor = self._logits(dict(parameters), dict(masks), images)
        return logits

"""Convert between flat weights and the parameters of a module."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sneframe_zoos.classifiers.initial import is_kernel


class FlatWeights:
    """Converts between flat weights and the parameters of a module.

    Args:
        module: the module. Flat weights have the order of ``module.named_parameters()``.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = dict(module.named_parameters())
        self._shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        self._sizes = [parameter.numel() for parameter in parameters.values()]
        kernel = [is_kernel(name, parameter) for name, parameter in parameters.items()]
        #: 1 for the weights of kernels and 0 for all other weights, shape ``(P,)``
        self.kernels = torch.repeat_interleave(torch.tensor(kernel).float(), torch.tensor(self._sizes))

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Return the parameters ``(…, *shape)`` by name, as views of flat weights ``(…, P)``."""
        pieces = weights.split(self._sizes, dim=-1)
        named = zip(self._shapes.items(), pieces, strict=True)
        return {name: piece.unflatten(-1, shape) for (name, shape), piece in named}

    def flat(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return flat weights ``(G, P)`` of parameters ``(G, *shape)``."""
        return torch.cat([parameters[name].flatten(1) for name in self._shapes], dim=1)

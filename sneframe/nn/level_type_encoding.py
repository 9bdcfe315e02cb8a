"""Encode the type of a parameter and the level of its layer in the network (SNE §3.3).

A method that reads the weights of a parameter as a set needs this encoding to know which parameter it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture


class LevelTypeEncoding(nn.Module):
    """Adds a learned vector for the type of a parameter and sinusoids of its absolute and relative depth.

    A type that the training zoo does not have gets the vector with index 0. This vector is zero at the start
    and is never trained. So an unseen type adds nothing to the sinusoids.

    Args:
        architectures: architectures of the training zoo. Each of their types has a vector.
        width: D, an even number.
        level: whether to add sinusoids. Without sinusoids, all levels have the same encoding.
        type: whether to add vectors for types. Without vectors, all types have the same encoding.
        std: standard deviation of the vectors at the start.
    """

    def __init__(
        self,
        architectures: tuple[Architecture, ...],
        width: int,
        *,
        level: bool = True,
        type: bool = True,  # noqa: A002  # the paper's word
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.width = width
        self.level = level
        self.types = sorted({kind for architecture in architectures for kind in architecture.types})
        self.table = nn.Embedding(len(self.types) + 1, width) if type else None
        if self.table is not None:
            with torch.no_grad():
                self.table.weight.mul_(std)
                self.table.weight[0].zero_()
        self._constants: dict[
            tuple[str, tuple[tuple[int, ...], ...], torch.device], tuple[Tensor, Tensor, Tensor]
        ] = {}

    def forward(self, architecture: Architecture, units: tuple[tuple[int, ...], ...], like: Tensor) -> Tensor:
        """Return the encodings ``(L, D)`` of L units. A unit is a tuple of indices of parameters.

        A unit of several parameters gets the mean of the vectors of their types. All parameters of a unit are
        in one layer, and so have the same level.
        """
        members, starts, sinusoids = self._constant(architecture, units, like.device)
        if self.table is None:
            return sinusoids.to(like.dtype)
        types = nn.functional.embedding_bag(members, self.table.weight, starts, mode="mean")
        return types + sinusoids.to(types.dtype) if self.level else types

    def _constant(
        self, architecture: Architecture, units: tuple[tuple[int, ...], ...], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        key = (architecture.id, units, device)
        if key not in self._constants:
            number = {kind: index for index, kind in enumerate(self.types, start=1)}
            members = [number.get(architecture.types[p], 0) for unit in units for p in unit]
            starts = torch.tensor([0, *(len(unit) for unit in units)]).cumsum(0)[:-1]
            levels = torch.tensor(
                [float(architecture.levels[architecture.layer_of_parameter[unit[0]]]) for unit in units]
            )
            relative = levels / max(1, architecture.depth - 1)
            half = self.width // 2
            # Relative depth is in [0, 1]. With the factor 100, about half of the sinusoids vary over it.
            waves = torch.cat([sinusoid(levels, half), sinusoid(relative * 100, self.width - half)], dim=1)
            if not self.level:
                waves = torch.zeros_like(waves)
            self._constants[key] = (torch.tensor(members).to(device), starts.to(device), waves.to(device))
        return self._constants[key]


def sinusoid(position: Tensor, width: int) -> Tensor:
    """Return sines and cosines ``(L, width)`` of positions ``(L,)`` (Vaswani et al. 2017, §3.5)."""
    frequency = torch.exp(torch.arange(0, width, 2, device=position.device) * (-math.log(10000.0) / width))
    angle = position[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]

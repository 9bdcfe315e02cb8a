"""Read numbers of every layer, or of every parameter, of architectures of any depth by one linear map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

PLACES: Final = 4  #: first, hidden, last, and hidden times the relative depth


@frozen(kw_only=True)
class Slot:
    """The type of a layer or of a parameter, its level, and the depth of the network."""

    type: str
    level: int
    depth: int

    @property
    def place(self) -> tuple[float, float, float, float]:
        """How much the entry counts as first, hidden, last, and hidden × depth in [−1, 1]."""
        if self.level == 0:
            return (1.0, 0.0, 0.0, 0.0)
        if self.level >= self.depth - 1:
            return (0.0, 0.0, 1.0, 0.0)
        return (0.0, 1.0, 0.0, 2 * self.level / (self.depth - 1) - 1)


def mixing(slots: Sequence[Slot], types: Sequence[str]) -> Tensor:
    """Return the matrix ``(len(types) · PLACES, L)`` that takes means over L entries by type and place.

    A linear map of these means is a linear map for each entry, which depends on the entry's type and on its
    place in the network, followed by a mean. Entries of a type that is not in ``types`` are left out.
    """
    matrix = torch.zeros(len(types), PLACES, len(slots))
    for number, slot in enumerate(slots):
        if slot.type in types:
            matrix[types.index(slot.type), :, number] = torch.tensor(slot.place)
    counts = matrix[:, :3].ne(0).sum(-1, keepdim=True).clamp(min=1)
    matrix /= torch.cat([counts, counts[:, 1:2]], dim=1)
    return matrix.flatten(0, 1)

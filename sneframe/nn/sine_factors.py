"""Learn the factors inside sines, where descriptions lack them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import obstacle

START: Final = 30.0  #: the factors start here, as SIREN (Sitzmann et al., 2020) has it
PLACES: Final = ("first", "hidden", "last")  #: a sine has one of these places among the layers


@final
class SineFactors(nn.Module):
    """Factors ω inside of sines, sin(ω z), that the descriptions of a training zoo lack.

    A state dict does not tell ω. Then one factor is learned for the first, one for the hidden, and one for
    the last layers of all architectures. Known factors are never replaced.

    Args:
        architectures: architectures of the training zoo.
        rate: how fast factors are learned. A step of the optimiser of a given size changes the logarithm of a
            factor by ``rate`` times as much.

    Attributes:
        changes: ``(3,)``, log(factor / start) / rate; None if no architecture lacks a factor.
        learned: one line that says what is learned, with the first such architecture as an example, or None.
    """

    def __init__(self, architectures: Sequence[Architecture], *, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate
        unknown = [a for a in architectures if _lacks_factor(a)]
        self.changes = nn.Parameter(torch.zeros(len(PLACES))) if unknown else None
        self.learned = None
        if unknown:
            self.learned = (
                f"the factor inside the sines of {unknown[0].summary} is not described, so it is learned, "
                f"starting at {START:g}"
            )

    def obstacle(self, architecture: Architecture) -> str | None:
        """Return why an architecture cannot be evaluated with these factors, in one line, or None."""
        return obstacle(architecture, factors=self.changes is not None)

    def forward(self, architecture: Architecture) -> Tensor | None:
        """Return the learned factor for the place of every layer, ``(L,)``, or None if none are learned.

        An evaluation uses them only where a description lacks a factor.
        """
        if self.changes is None:
            return None
        last = architecture.depth - 1
        places = [0 if level == 0 else 2 if level == last else 1 for level in architecture.levels]
        index = torch.tensor(places).to(self.changes.device, non_blocking=True)
        return (START * (self.rate * self.changes).exp()).index_select(0, index)


def _lacks_factor(architecture: Architecture) -> bool:
    """Return whether only the factors inside sines prevent an evaluation."""
    return obstacle(architecture) is not None and obstacle(architecture, factors=True) is None

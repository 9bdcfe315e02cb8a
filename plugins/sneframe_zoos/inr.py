"""A sine INR: the module (coordinates in, signal out), its architecture, and its weights before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.symmetry.describe import describe

W0 = 30.0  #: the factor inside every sine
OFFSET = 0.5  #: what the last layer's output is raised by


class SineINR(nn.Module):
    """An implicit neural representation of a signal on the line, after SIREN (arXiv 2006.09661).

    Hidden layers are ``sin(30 (W h + b))``, the last is ``W h + b + 0.5``. A network of a ``zoos/sine`` zoo
    loads with ``SineINR(widths).load_state_dict(...)``.

    Args:
        widths: of the hidden layers.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise((1, *widths, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the signal ``(M, 1)`` at coordinates ``(M, 1)``."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.sin(W0 * layer(x))
        signal: Tensor = last(x) + OFFSET
        return signal


def architecture(widths: Sequence[int]) -> Architecture:
    """Return the architecture of :class:`SineINR`: one group of neurons per hidden layer, to be permuted and flipped."""
    with torch.random.fork_rng(devices=[]):  # its initial weights are not used, and cost nobody a draw
        return describe(SineINR(widths))


def draw_weights(widths: Sequence[int], generator: np.random.Generator, *, siren: bool = False) -> np.ndarray:
    """Return the flat initial weights ``(P,)`` of one network.

    Hidden weights are U(±√(6 / fan_in) / 30), as SIREN's are behind the first layer (here: in it too, unless ``siren``:
    then U(±1), high frequencies from the start), hidden biases 0; the last layer is PyTorch's ``nn.Linear`` as it comes,
    U(±1 / √fan_in).
    """
    pieces: list[np.ndarray] = []
    for fan_in, fan_out in pairwise((1, *widths)):
        bound = 1.0 if siren and not pieces else math.sqrt(6 / fan_in) / W0
        pieces += [generator.uniform(-bound, bound, fan_out * fan_in), np.zeros(fan_out)]
    bound = 1 / math.sqrt(widths[-1])
    pieces.append(generator.uniform(-bound, bound, widths[-1] + 1))
    return np.concatenate(pieces)

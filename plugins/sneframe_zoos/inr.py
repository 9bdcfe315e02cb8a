"""A sine INR: a module that maps coordinates to a signal, its architecture, and its initial weights."""

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
OFFSET = 0.5  #: added to the output of the last layer


class SineINR(nn.Module):
    """An implicit neural representation of a one-dimensional signal, after SIREN (arXiv 2006.09661).

    A hidden layer computes ``sin(30 (W h + b))``. The last layer computes ``W h + b + 0.5``. To load a
    network of a ``zoos/sine`` zoo, use ``SineINR(widths).load_state_dict(...)``.

    Args:
        widths: widths of the hidden layers.
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
    """Return the architecture of :class:`SineINR`.

    Each hidden layer has one neuron group, whose neurons may be permuted and flipped in sign.
    """
    # The initial weights of the module must not advance the global generator.
    with torch.random.fork_rng(devices=[]):
        return describe(SineINR(widths))


def draw_weights(widths: Sequence[int], generator: np.random.Generator, *, siren: bool = False) -> np.ndarray:
    """Draw the initial weights of one network, and return them as flat weights ``(P,)``.

    The weights of hidden layers are drawn from U(±√(6 / fan_in) / 30), which SIREN uses for all hidden layers
    but the first. The biases of hidden layers are 0. With ``siren``, the weights of the first layer are drawn
    from U(±1) instead, so that the network starts with high frequencies. The weights and the bias of the last
    layer are drawn from U(±1 / √fan_in), as in PyTorch's ``nn.Linear``.
    """
    pieces: list[np.ndarray] = []
    for fan_in, fan_out in pairwise((1, *widths)):
        bound = 1.0 if siren and not pieces else math.sqrt(6 / fan_in) / W0
        pieces += [generator.uniform(-bound, bound, fan_out * fan_in), np.zeros(fan_out)]
    bound = 1 / math.sqrt(widths[-1])
    pieces.append(generator.uniform(-bound, bound, widths[-1] + 1))
    return np.concatenate(pieces)

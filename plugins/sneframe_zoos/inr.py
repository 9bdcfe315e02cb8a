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
    """An implicit neural representation of a signal, after SIREN (arXiv 2006.09661).

    A hidden layer computes ``sin(30 (W h + b))``. The last layer computes ``W h + b + 0.5``. To load a
    network of a ``zoos/sine`` zoo, use ``SineINR(widths).load_state_dict(...)``. A network of a
    ``zoos/images`` zoo has two inputs, and one output for each channel.

    Args:
        widths: widths of the hidden layers.
        inputs: number of coordinates.
        outputs: number of values of the signal at a point.
    """

    def __init__(self, widths: Sequence[int], inputs: int = 1, outputs: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise((inputs, *widths, outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the signal ``(M, outputs)`` at coordinates ``(M, inputs)``."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.sin(W0 * layer(x))
        signal: Tensor = last(x) + OFFSET
        return signal


def architecture(widths: Sequence[int], inputs: int = 1, outputs: int = 1) -> Architecture:
    """Return the architecture of :class:`SineINR`.

    Each hidden layer has one neuron group, whose neurons may be permuted and flipped in sign.
    """
    # The initial weights of the module must not advance the global generator.
    with torch.random.fork_rng(devices=[]):
        return describe(SineINR(widths, inputs, outputs))


def draw_weights(
    widths: Sequence[int],
    generator: np.random.Generator,
    *,
    inputs: int = 1,
    outputs: int = 1,
    siren: bool = False,
) -> np.ndarray:
    """Draw the initial weights of one INR as the code of DWSNets does. Return them as flat weights ``(P,)``.

    The weights of hidden layers are drawn from U(±√(6 / fan_in) / 30), which SIREN uses for all hidden layers
    but the first. The biases of hidden layers are 0. With ``siren``, the weights of the first layer are drawn
    from U(±1 / fan_in) instead, so that the network starts with high frequencies. The weights and the biases
    of the last layer are drawn from U(±1 / √fan_in), as in PyTorch's ``nn.Linear``.
    """
    pieces: list[np.ndarray] = []
    for fan_in, fan_out in pairwise((inputs, *widths)):
        bound = 1 / fan_in if siren and not pieces else math.sqrt(6 / fan_in) / W0
        pieces += [generator.uniform(-bound, bound, fan_out * fan_in), np.zeros(fan_out)]
    bound = 1 / math.sqrt(widths[-1])
    pieces.append(generator.uniform(-bound, bound, (widths[-1] + 1) * outputs))
    return np.concatenate(pieces)


def draw_siren(
    widths: Sequence[int], generator: np.random.Generator, *, inputs: int = 1, outputs: int = 1
) -> np.ndarray:
    """Draw the initial weights of one INR as the code of SIREN does. Return them as flat weights ``(P,)``.

    The weights of the first layer are drawn from U(±1 / fan_in), and those of all other layers from
    U(±√(6 / fan_in) / 30) (arXiv 2006.09661, section 3.2). The biases of all layers are drawn from
    U(±1 / √fan_in), as in PyTorch's ``nn.Linear``.
    """
    pieces: list[np.ndarray] = []
    for fan_in, fan_out in pairwise((inputs, *widths, outputs)):
        bound = math.sqrt(6 / fan_in) / W0 if pieces else 1 / fan_in
        pieces.append(generator.uniform(-bound, bound, fan_out * fan_in))
        bound = 1 / math.sqrt(fan_in)
        pieces.append(generator.uniform(-bound, bound, fan_out))
    return np.concatenate(pieces)

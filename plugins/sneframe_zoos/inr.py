"""A sine INR: the module (coordinates in, signal out), its architecture, and its weights before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture, Group, Layer, Parameter

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
    """Return the architecture of :class:`SineINR`: one group of permutable neurons per hidden layer."""
    sizes = (1, *widths, 1)
    groups = [Group(name=f"hidden{number}", size=size) for number, size in enumerate(widths)]
    axes = [((1,),), *(((group.name,),) for group in groups), ((1,),)]
    layers = []
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        columns, rows = axes[number], axes[number + 1]
        hidden = number < len(widths)
        layers.append(
            Layer(
                kind="linear",
                parameters=(
                    Parameter(name=f"layers.{number}.weight", shape=(fan_out, fan_in), axes=(rows, columns)),
                    Parameter(name=f"layers.{number}.bias", shape=(fan_out,), role="bias", axes=(rows,)),
                ),
                inputs=(number - 1,) if number else (),
                activation="sine" if hidden else "none",
                attributes={"affine": [["mul", W0]] if hidden else [["add", OFFSET]]},
            )
        )
    return Architecture(layers=layers, groups=groups)


def draw_weights(widths: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Return the flat initial weights ``(P,)`` of one network.

    Hidden weights are U(±√(6 / fan_in) / 30), as SIREN's are behind the first layer (here: in it too), hidden
    biases 0; the last layer is PyTorch's ``nn.Linear`` as it comes, U(±1 / √fan_in).
    """
    pieces = []
    for fan_in, fan_out in pairwise((1, *widths)):
        bound = math.sqrt(6 / fan_in) / W0
        pieces += [generator.uniform(-bound, bound, fan_out * fan_in), np.zeros(fan_out)]
    bound = 1 / math.sqrt(widths[-1])
    pieces.append(generator.uniform(-bound, bound, widths[-1] + 1))
    return np.concatenate(pieces)

"""Build a multilayer perceptron: linear layers with ReLU between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def perceptron(widths: Sequence[int], *, dropout: float = 0.0, bias: bool = True) -> nn.Sequential:
    """Return linear layers of the given widths. ReLU and dropout follow every layer except the last.

    Args:
        widths: at least two widths, from the input to the output.
        dropout: fraction of the values that are dropped in training; 0 adds no dropout.
        bias: whether the linear layers have biases.
    """
    layers: list[nn.Module] = []
    for width, following in pairwise(widths[:-1]):
        layers += [nn.Linear(width, following, bias=bias), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=bias))

"""A perceptron: linear layers with ReLU between them, as parts of several methods have them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def perceptron(widths: Sequence[int], *, dropout: float = 0.0, bias: bool = True) -> nn.Sequential:
    """Return linear layers from the first of the widths to the last, behind each but the last ReLU and, if any, dropout.

    Args:
        widths: two at least.
        dropout: share of values that are dropped in training.
        bias: whether the linear layers have one.
    """
    layers: list[nn.Module] = []
    for width, following in pairwise(widths[:-1]):
        layers += [nn.Linear(width, following, bias=bias), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=bias))

"""Fully connected classifiers: a design, the module that it builds, and a function that draws a design."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from attrs import frozen
from torch import Tensor, nn

from sneframe_zoos.classifiers.design import ACTIVATIONS, Design, Shape


@frozen(kw_only=True)
class MLPDesign(Design):
    """The design of an MLP whose input is all pixels of an image.

    Args:
        widths: widths of the hidden layers.
        activation: a key of :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`.
    """

    widths: tuple[int, ...]
    activation: str = "relu"

    def module(self, image: Shape, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """See :class:`~sneframe_zoos.classifiers.design.Design`."""
        channels, height, width = image
        return MLPClassifier((channels * height * width, *self.widths, classes), self.activation, dropout)

    def smallest(self) -> int:
        """See :class:`~sneframe_zoos.classifiers.design.Design`. An MLP takes images of any size."""
        return 1


class MLPClassifier(nn.Module):
    """The network of an :class:`MLPDesign`.

    Args:
        sizes: widths of all layers, from the number of pixels to the number of classes.
        activation: a key of :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`.
        dropout: probability of the dropout after each hidden layer.
    """

    def __init__(self, sizes: tuple[int, ...], activation: str, dropout: float) -> None:
        super().__init__()
        *hidden, last = pairwise(sizes)
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(*pair), ACTIVATIONS[activation](), nn.Dropout(dropout)) for pair in hidden
        )
        self.head = nn.Linear(*last)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, classes)`` of images ``(B, channels, height, width)``."""
        features = images.flatten(1)
        for layer in self.hidden:
            features = layer(features)
        logits: Tensor = self.head(features)
        return logits


def wild(generator: np.random.Generator, activation: str) -> MLPDesign:
    """Draw the design of an MLP with one to four hidden layers of 8 … 64 neurons."""
    depth = generator.integers(1, 5)
    return MLPDesign(
        widths=tuple(int(generator.choice((8, 16, 24, 32, 48, 64))) for _ in range(depth)),
        activation=activation,
    )

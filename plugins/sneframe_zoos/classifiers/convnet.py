"""Convolutional classifiers: the Small-CNN-zoo network, Arch1, Arch2, and wild ones, as values and as a module."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from attrs import frozen
from torch import Tensor, nn

from sneframe_zoos.classifiers.design import ACTIVATIONS, Design, Shape


@frozen(kw_only=True)
class Conv:
    """One convolution of a :class:`ConvNet`, with its activation.

    Args:
        width: channels it writes.
        kernel: height and width of its kernel.
        stride: of the convolution.
        padding: zeros on every side.
        pool: of the max-pooling behind it, 1 for none.
        residual: whether what it reads is added to what it writes, before the activation.
        activation: a key of :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`, or None for that of the network.
    """

    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    pool: int = 1
    residual: bool = False
    activation: str | None = None

    def side(self, side: int) -> int:
        """Return the height and width of what it gives, of what it is given."""
        return ((side + 2 * self.padding - self.kernel) // self.stride + 1) // self.pool


@frozen(kw_only=True)
class ConvNet(Design):
    """Convolutions, then features, then linear layers.

    Args:
        convs: from first to last.
        features: how maps become a vector: their mean, all their pixels, or the pixels of an adaptive average pooling
            to ``grid`` × ``grid``.
        grid: of the adaptive pooling.
        hidden: widths of the linear layers before the last.
        activation: of the network.
    """

    convs: tuple[Conv, ...]
    features: Literal["mean", "flatten", "adaptive"] = "mean"
    grid: int = 2
    hidden: tuple[int, ...] = ()
    activation: str = "relu"

    def module(self, image: Shape, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """See :class:`~sneframe_zoos.classifiers.design.Design`."""
        self.check("this CNN", image)
        return ConvClassifier(self, image, classes, dropout)

    def smallest(self) -> int:
        """See :class:`~sneframe_zoos.classifiers.design.Design`."""
        return next(side for side in range(1, 1 << 16) if self.sides(side) >= 1)

    def sides(self, side: int) -> int:
        """Return height and width of the last maps, less than 1 where an image of this side is too small."""
        for conv in self.convs:
            side = conv.side(side)
            if side < 1:
                return 0
        return side


class ConvClassifier(nn.Module):
    """The network of a :class:`ConvNet`.

    Args:
        design: what it is built like.
        image: ``(channels, height, width)``.
        classes: how many logits.
        dropout: probability behind every hidden layer.
    """

    def __init__(self, design: ConvNet, image: Shape, classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = image
        widths = (channels, *(conv.width for conv in design.convs))
        self.convs = nn.ModuleList(
            ConvLayer(inputs, conv, conv.activation or design.activation, dropout)
            for inputs, conv in zip(widths, design.convs, strict=False)
        )
        pooled = {"mean": 1, "flatten": 0, "adaptive": design.grid}[design.features]
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(pooled) if pooled else nn.Identity()
        pixels = pooled**2 or design.sides(height) * design.sides(width)
        linear = (widths[-1] * pixels, *design.hidden)
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, outputs), ACTIVATIONS[design.activation](), nn.Dropout(dropout))
            for inputs, outputs in pairwise(linear)
        )
        self.head = nn.Linear(linear[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, classes)`` of images ``(B, channels, height, width)``."""
        for conv in self.convs:
            images = conv(images)
        features = self.pool(images).flatten(1)
        for layer in self.hidden:
            features = layer(features)
        logits: Tensor = self.head(features)
        return logits


class ConvLayer(nn.Module):
    """A convolution, its shortcut, activation, pooling and dropout.

    Args:
        inputs: channels it reads.
        conv: what it is built like.
        activation: a key of :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`.
        dropout: probability of the dropout.
    """

    def __init__(self, inputs: int, conv: Conv, activation: str, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, conv.width, conv.kernel, conv.stride, conv.padding)
        self.activation = ACTIVATIONS[activation]()
        self.pool: nn.Module = nn.MaxPool2d(conv.pool) if conv.pool > 1 else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.residual = conv.residual

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, width, height', width')`` of ``(B, inputs, height, width)``."""
        made = self.conv(maps)
        if self.residual:
            made = made + maps
        found: Tensor = self.dropout(self.pool(self.activation(made)))
        return found


#: Unterthiner et al. (2020), the Small CNN Zoo: 4970 parameters on grey images with 10 classes.
SMALL_CNN = ConvNet(convs=(Conv(width=16, stride=2),) * 3)
#: After Andreis et al. (arXiv 2305.16625): three convolutions, adaptive pooling, flatten, two linear layers.
ARCH1 = ConvNet(
    convs=(Conv(width=8, pool=2), Conv(width=16, pool=2), Conv(width=16)),
    features="adaptive",
    hidden=(32,),
)
#: After the same: convolutions with max-pooling, flatten, two linear layers.
ARCH2 = ConvNet(
    convs=(Conv(width=8, kernel=5, padding=2, pool=2), Conv(width=12, padding=1, pool=2)),
    features="flatten",
    hidden=(24,),
)


def wild(generator: np.random.Generator, activations: Sequence[str], activation: str) -> ConvNet:
    """Draw a CNN of random depth, widths, kernels, strides, activations and residuals, after the CNN Wild Park.

    Two to five convolutions of 4 … 32 channels, kernels of 3, 5 or 7 with padding; one in two of those behind the first
    keeps the shape of what it reads and has a residual connection; one in two networks has a hidden linear layer.

    Args:
        generator: to draw from.
        activations: among which each convolution has its own.
        activation: of the hidden linear layer.
    """
    convs: list[Conv] = []
    for number in range(generator.integers(2, 6)):
        same = bool(convs) and generator.random() < 0.5  # keeps its shape, so that it can have a residual
        kernel = int(generator.choice((3, 5, 7)))
        convs.append(
            Conv(
                width=convs[-1].width if same else int(generator.choice((4, 8, 12, 16, 24, 32))),
                kernel=kernel,
                stride=1 if same or number > 2 else 2,
                padding=kernel // 2,
                residual=same,
                activation=str(generator.choice(tuple(activations))),
            )
        )
    hidden = (int(generator.choice((16, 32))),) if generator.random() < 0.5 else ()
    return ConvNet(convs=tuple(convs), hidden=hidden, activation=activation)

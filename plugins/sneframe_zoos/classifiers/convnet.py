"""Convolutional classifiers: the network of the Small CNN Zoo, Arch1, Arch2, and random designs."""

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
        width: number of output channels.
        kernel: height and width of the kernel.
        stride: stride of the convolution.
        padding: number of rows and columns of zeros that are added on each side of the maps.
        pool: size of the max-pooling after the convolution; 1 for no pooling.
        residual: whether the input of the convolution is added to its output, before the activation.
        activation: a key of :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`, or None for the
            activation of the :class:`ConvNet`.
    """

    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    pool: int = 1
    residual: bool = False
    activation: str | None = None

    def side(self, side: int) -> int:
        """Return the height or width of the output maps, for input maps of the height or width ``side``."""
        return ((side + 2 * self.padding - self.kernel) // self.stride + 1) // self.pool


@frozen(kw_only=True)
class ConvNet(Design):
    """The design of a CNN: convolutions, a step that turns their maps into a vector, and linear layers.

    Args:
        convs: the convolutions, from first to last.
        features: the vector: the mean of each map, all pixels of the maps, or the ``grid`` × ``grid`` pixels
            of an adaptive average pooling.
        grid: height and width of the maps after the adaptive pooling.
        hidden: widths of all linear layers but the last.
        activation: activation of all layers that do not have their own.
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
        """Return the height or width of the last maps, for images of the height or width ``side``.

        The result is 0 if the images are too small.
        """
        for conv in self.convs:
            side = conv.side(side)
            if side < 1:
                return 0
        return side


class ConvClassifier(nn.Module):
    """The network of a :class:`ConvNet`.

    Args:
        design: the design.
        image: shape of an image, ``(channels, height, width)``.
        classes: number of logits.
        dropout: probability of the dropout after each hidden layer.
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
    """A convolution, followed by the optional residual connection, the activation, pooling and dropout.

    Args:
        inputs: number of input channels.
        conv: the design of the convolution.
        activation: a key of :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`.
        dropout: probability of the dropout.
    """

    def __init__(self, inputs: int, conv: Conv, activation: str, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, conv.width, conv.kernel, conv.stride, conv.padding)
        self.activation = ACTIVATIONS[activation]()
        self.pool: nn.Module = nn.MaxPool2d(conv.pool) if conv.pool > 1 else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        #: the design of the convolution
        self.design = conv

    def forward(self, maps: Tensor) -> Tensor:
        """Return the output maps ``(B, width, H', W')`` for input maps ``(B, inputs, H, W)``."""
        outputs = self.conv(maps)
        if self.design.residual:
            outputs = outputs + maps
        dropped: Tensor = self.dropout(self.pool(self.activation(outputs)))
        return dropped


#: The network of the Small CNN Zoo, Unterthiner et al. (2020): 4970 weights for grey images and 10 classes.
SMALL_CNN = ConvNet(convs=(Conv(width=16, stride=2),) * 3)
#: After Andreis et al. (arXiv 2305.16625): three convolutions, adaptive pooling, flatten, two linear layers.
ARCH1 = ConvNet(
    convs=(Conv(width=8, pool=2), Conv(width=16, pool=2), Conv(width=16)),
    features="adaptive",
    hidden=(32,),
)
#: After the same paper: convolutions with max-pooling, flatten, two linear layers.
ARCH2 = ConvNet(
    convs=(Conv(width=8, kernel=5, padding=2, pool=2), Conv(width=12, padding=1, pool=2)),
    features="flatten",
    hidden=(24,),
)


def wild(generator: np.random.Generator, activations: Sequence[str], activation: str) -> ConvNet:
    """Draw a random CNN, after the CNN Wild Park.

    The CNN has two to five convolutions of 4 … 32 channels, with padded kernels of size 3, 5 or 7. Each
    convolution after the first has a residual connection with probability 1/2; its output then has the shape
    of its input. The CNN has a hidden linear layer with probability 1/2.

    Args:
        generator: the generator to draw from.
        activations: the activations from which one is drawn for each convolution.
        activation: activation of the hidden linear layer.
    """
    convs: list[Conv] = []
    for number in range(generator.integers(2, 6)):
        same = bool(convs) and generator.random() < 0.5  # a residual connection needs equal shapes
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

"""Designs of classifiers. A design describes the layers of a network and has no weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from torch import nn

from sneframe.errors import ZooError

#: The activations that a design can name.
ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}
Shape = tuple[int, int, int]  #: (channels, height, width) of an image


class Design(ABC):
    """A description of a classifier, which builds its module.

    Subclasses are frozen attrs classes. Equal designs build modules with the same layers.
    """

    @abstractmethod
    def module(self, image: Shape, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Build a classifier that maps images ``(B, channels, height, width)`` to logits ``(B, classes)``.

        Args:
            image: shape of an image.
            classes: number of classes.
            dropout: probability of every ``nn.Dropout`` in the module. One follows each hidden layer.

        Raises:
            ZooError: the images are too small, or do not fit the design.
        """

    @abstractmethod
    def smallest(self) -> int:
        """Return the smallest side of a square image that the network can take, in pixels."""

    def check(self, name: str, image: Shape) -> None:
        """Check that images are large enough.

        Args:
            name: the words for the network in the error, such as "this CNN".
            image: shape of an image.

        Raises:
            ZooError: the height or width of the images is less than :meth:`smallest`.
        """
        _, height, width = image
        if min(height, width) < (least := self.smallest()):
            raise ZooError(
                f"{name} needs images of at least {least} × {least} pixels, but got {height} × {width}; "
                f"enlarge the images with the option 'size'"
            )

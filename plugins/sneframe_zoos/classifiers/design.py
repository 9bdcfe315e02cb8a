"""A design: a value that says what a classifier is built like, before any weight is drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from torch import nn

from sneframe.errors import ZooError

#: The activations a design can name.
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
    """A kind of network; subclasses are frozen attrs classes, and equal values build equal modules."""

    @abstractmethod
    def module(self, image: Shape, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """Build a classifier of images ``(B, channels, height, width)``, its logits ``(B, classes)``.

        Args:
            image: shape of one.
            classes: how many.
            dropout: the probability of every ``nn.Dropout`` in it; there is one behind each hidden layer.

        Raises:
            ZooError: the images are too small, or do not suit it.
        """

    @abstractmethod
    def smallest(self) -> int:
        """Return the smallest height and width of an image that it takes, in pixels."""

    def check(self, name: str, image: Shape) -> None:
        """Check that images are large enough.

        Raises:
            ZooError: they are too small.
        """
        _, height, width = image
        if min(height, width) < (least := self.smallest()):
            raise ZooError(
                f"{name} takes images of {least} × {least} pixels at least, these are {height} × {width}; "
                f"enlarge them with size"
            )

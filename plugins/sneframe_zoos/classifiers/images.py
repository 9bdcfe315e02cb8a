"""Labelled images that networks are trained on, as an :class:`ImageSet`."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from sneframe.errors import ZooError


@frozen(kw_only=True, eq=False)
class ImageSet:
    """Images with labels. The first ``train`` images are for training, and all others are for testing.

    Args:
        name: name of the set. Networks trained on the set have this name as the property ``dataset``.
        images: grey images ``(n, H, W)`` or colour images ``(n, H, W, 3)``, uint8.
        labels: label of each image, from 0 to ``classes`` - 1, shape ``(n,)``, int64.
        classes: number of classes.
        train: number of training images.
        published: whether the source of the images says which of them are for testing. Otherwise ``train`` is
            a choice of sneframe or of the user.

    Raises:
        ZooError: a shape or type is wrong, a label is out of range, or there is no image to train or to test
            on.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: int
    train: int
    published: bool = False

    def __attrs_post_init__(self) -> None:
        images, labels = self.images, self.labels
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] != 3)
        ):
            raise ZooError(
                f"{self.name}: images must be uint8 of shape (n, H, W) or (n, H, W, 3), but got "
                f"{images.dtype} {images.shape}"
            )
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            raise ZooError(
                f"{self.name}: labels must be integers of shape ({len(images)},), one for each image, but "
                f"got {labels.dtype} {labels.shape}"
            )
        if not 0 < self.train < len(images):
            raise ZooError(
                f"{self.name}: {self.train} of {len(images)} images are for training; training and testing "
                f"need at least one image each"
            )
        if not 2 <= self.classes <= len(images):
            raise ZooError(
                f"{self.name}: labels must count from 0, with at least 2 classes and no more than the "
                f"{len(images)} images, but got {labels.min()} … {labels.max()}"
            )
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ZooError(
                f"{self.name}: labels must be 0 … {self.classes - 1}, but got {labels.min()} … {labels.max()}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, ``(channels, H, W)``."""
        height, width, *channels = self.images.shape[1:]
        return (channels[0] if channels else 1, height, width)

    @property
    def digest(self) -> str:
        """A hexadecimal hash of the images, the labels, ``classes`` and ``train``, but not of the name."""
        hashed = hashlib.sha256(repr((self.images.shape, self.train, self.classes)).encode())
        hashed.update(self.images.tobytes())
        hashed.update(self.labels.astype("<i8").tobytes())
        return hashed.hexdigest()[:16]

    def pixels(self) -> Tensor:
        """Return the values of the pixels, 0 to 255, as a tensor ``(n, channels, H, W)`` of type uint8."""
        images = torch.from_numpy(self.images)
        return images[:, None] if images.ndim == 3 else images.movedim(-1, 1)

    def tensors(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Return images ``(n, channels, H, W)`` in [-1, 1] and labels ``(n,)``."""
        return self.pixels().to(dtype) / 127.5 - 1, torch.from_numpy(self.labels.astype(np.int64))

    def limited(self, train: int | None, test: int | None) -> ImageSet:
        """Return an image set with only the first training images and the first test images of this set.

        Args:
            train: number of training images; None keeps all.
            test: number of test images; None keeps all.

        Raises:
            ZooError: fewer training or test images exist than are to be kept.
        """
        parts = {"train": (train, self.train), "test": (test, len(self.images) - self.train)}
        for part, (wanted, there) in parts.items():
            if wanted is not None and wanted > there:
                raise ZooError(f"{self.name}: {wanted} images to {part} on are needed, but there are {there}")
        kept = [there if wanted is None else wanted for wanted, there in parts.values()]
        rows = np.r_[: kept[0], self.train : self.train + kept[1]]
        return attrs.evolve(self, images=self.images[rows], labels=self.labels[rows], train=kept[0])

    def grey(self) -> ImageSet:
        """Convert colour images to grey, by the luminance of ITU-R BT.601. Return grey images unchanged."""
        if self.images.ndim == 3:
            return self
        luminance = self.images @ np.array([0.299, 0.587, 0.114])
        return attrs.evolve(self, images=luminance.round().astype(np.uint8))

    def resized(self, size: int) -> ImageSet:
        """Resize the images to ``size`` × ``size`` pixels. Return images of this size unchanged.

        The interpolation is bilinear, with antialiasing when the images shrink.
        """
        if self.shape[1:] == (size, size):
            return self
        # Resize in pieces, because float images take four times the memory.
        pieces = [
            F.interpolate(piece.float(), (size, size), mode="bilinear", antialias=True).round().clamp(0, 255)
            for piece in self.pixels().split(4096)
        ]
        whole = torch.cat([piece.to(torch.uint8) for piece in pieces])
        resized = whole[:, 0] if self.images.ndim == 3 else whole.movedim(1, -1).contiguous()
        return attrs.evolve(self, images=resized.numpy())


@frozen(kw_only=True, eq=False)
class Images:
    """Images ``(n, channels, H, W)`` and labels ``(n,)``: those for training, and those for testing."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, images: ImageSet) -> Images:
        """Split an image set into training images and test images."""
        pictures, labels = images.tensors()
        cut = images.train
        return cls(train=(pictures[:cut], labels[:cut]), test=(pictures[cut:], labels[cut:]))


def taken(images: tuple[Tensor, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return images ``(G, B, channels, H, W)`` and labels ``(G, B)`` at the indices ``chosen (G, B)``.

    Rows of memory are copied as a whole, which is several times as fast as indexing with ``chosen``.
    """
    pictures, labels = (each.index_select(0, chosen.flatten()).unflatten(0, chosen.shape) for each in images)
    return pictures, labels

"""Labelled images as classifiers see them: one value for every source of them."""

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
    """Images with labels; the first ``train`` of them are for training, all others for testing.

    Args:
        name: of the data, the property ``dataset`` of every network trained on it.
        images: ``(n, H, W)`` grey or ``(n, H, W, 3)`` colour, uint8.
        labels: ``(n,)`` int64, 0 … classes - 1.
        classes: how many.
        train: how many of the images are for training.

    Raises:
        ZooError: other shapes or types, labels out of range, no image to train or to test on.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: int
    train: int

    def __attrs_post_init__(self) -> None:
        images, labels = self.images, self.labels
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] != 3)
        ):
            raise ZooError(
                f"{self.name}: images must be uint8 (n, H, W) or (n, H, W, 3), got {images.dtype} {images.shape}"
            )
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            raise ZooError(
                f"{self.name}: labels must be integers ({len(images)},), one an image, got {labels.dtype} {labels.shape}"
            )
        if not 0 < self.train < len(images):
            raise ZooError(
                f"{self.name}: {self.train} of {len(images)} images are for training; both parts need one at least"
            )
        if not 2 <= self.classes <= len(images):
            raise ZooError(
                f"{self.name}: labels number at least two classes, from 0, and no more than the {len(images)} images, got "
                f"{labels.min()} … {labels.max()}"
            )
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ZooError(
                f"{self.name}: labels must be 0 … {self.classes - 1}, got {labels.min()} … {labels.max()}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(channels, H, W)`` of one image."""
        height, width, *channels = self.images.shape[1:]
        return (channels[0] if channels else 1, height, width)

    @property
    def digest(self) -> str:
        """A hash of all that decides what a network learns from it, hexadecimal; the name does not."""
        found = hashlib.sha256(repr((self.images.shape, self.train, self.classes)).encode())
        found.update(self.images.tobytes())
        found.update(self.labels.astype("<i8").tobytes())
        return found.hexdigest()[:16]

    def tensors(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Return images ``(n, channels, H, W)`` in [-1, 1] and labels ``(n,)``."""
        images = torch.from_numpy(self.images)
        images = images[:, None] if images.ndim == 3 else images.movedim(-1, 1)
        return images.to(dtype) / 127.5 - 1, torch.from_numpy(self.labels.astype(np.int64))

    def limited(self, train: int | None, test: int | None) -> ImageSet:
        """Return it with the first so many images of each part; None takes all.

        Where the source had no test images of its own (see :func:`sneframe_zoos.classifiers.image_sources.read_images`), the
        part behind the first ``train`` is the rest.

        Raises:
            ZooError: there are not as many.
        """
        parts = {"train": (train, self.train), "test": (test, len(self.images) - self.train)}
        for part, (wanted, there) in parts.items():
            if wanted is not None and wanted > there:
                raise ZooError(f"{self.name}: {wanted} images to {part} on are asked for, it has {there}")
        kept = [there if wanted is None else wanted for wanted, there in parts.values()]
        rows = np.r_[: kept[0], self.train : self.train + kept[1]]
        return attrs.evolve(self, images=self.images[rows], labels=self.labels[rows], train=kept[0])

    def grey(self) -> ImageSet:
        """Return it without colours: the luminance of ITU-R BT.601."""
        if self.images.ndim == 3:
            return self
        luminance = self.images @ np.array([0.299, 0.587, 0.114])
        return attrs.evolve(self, images=luminance.round().astype(np.uint8))

    def resized(self, size: int) -> ImageSet:
        """Return it at ``size`` × ``size`` pixels, bilinear, with antialiasing where it shrinks."""
        if self.shape[1:] == (size, size):
            return self
        images = torch.from_numpy(self.images)
        images = images[:, None] if images.ndim == 3 else images.movedim(-1, 1)
        # In pieces: float images are four times as large.
        pieces = [
            F.interpolate(piece.float(), (size, size), mode="bilinear", antialias=True).round().clamp(0, 255)
            for piece in images.split(4096)
        ]
        whole = torch.cat([piece.to(torch.uint8) for piece in pieces])
        made = whole[:, 0] if self.images.ndim == 3 else whole.movedim(1, -1).contiguous()
        return attrs.evolve(self, images=made.numpy())

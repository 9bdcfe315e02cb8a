"""Augmentations. At every training step they replace networks by networks with nearly the same property."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_augmentation.mixup import MixUp
from sneframe_augmentation.perturbation import Dropout, Erasing, Noise
from sneframe_augmentation.symmetry import Symmetry


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (Symmetry, Noise, Dropout, Erasing, MixUp)

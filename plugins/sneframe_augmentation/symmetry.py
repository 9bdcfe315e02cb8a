"""``augmentation/symmetry``: the same function, its neurons permuted, scaled or flipped."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import deep_iterable, in_, min_len
from torch import Tensor

from sneframe.architecture import ACTIONS
from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.parts.augmentation import Augmentation
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample


@final
class Symmetry(Augmentation):
    """g·x in the place of x, g a fresh element of every group of every network at every step.

    What a network computes stays, and with it every property of the function. Scaling is by 2^u, u uniform in [−1, 1].
    """

    name = "augmentation/symmetry"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        actions: tuple[str, ...] = option(
            ("permute",),
            "what moves: permute, scale, sign, where a group allows it",
            check=deep_iterable(in_(ACTIONS), iterable_validator=min_len(1)),
            converter=tuple,
        )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return every network moved by an element of its own, and the targets as they are."""
        elements = sample(batch, seed=draw.seed, step=draw.step, actions=self.config.actions)
        return apply(batch, elements), target

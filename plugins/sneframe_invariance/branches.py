"""What the invariance losses share: their options, λ over the training, and the moved branches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, min_len
from torch import nn

from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.parts.invariance import Output
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample

COPY = 1 << 40  #: steps of copies lie so far apart that no two draws meet


@frozen(kw_only=True)
class Branches:
    """Options of every loss between a network and moved copies of it."""

    weight: float = option(1.0, "λ, its weight beside the task loss", check=ge(0))
    schedule: Literal["constant", "linear", "cosine"] = option(
        "constant", "constant | linear | cosine: how λ rises from 0 over the ramp"
    )
    ramp: float = option(0.2, "fraction of the training over which λ rises", check=and_(gt(0), le(1)))
    fraction: float = option(1.0, "of each batch that gets the other branches", check=and_(gt(0), le(1)))
    copies: int = option(1, "K, moved copies of each of these networks", check=ge(1))
    stop_gradient: bool = option(
        False, "whether the unmoved branch is a fixed target, so that only the moved ones learn"
    )
    actions: tuple[str, ...] = option(
        ("permute",),
        "what moves: permute, scale, sign, where a group allows it",
        check=deep_iterable(in_(("permute", "scale", "sign")), iterable_validator=min_len(1)),
        converter=tuple,
    )

    def weight_at(self, progress: float) -> float:
        """Return λ at this fraction of the training, in [0, 1]."""
        risen = 1.0 if self.schedule == "constant" else min(1.0, progress / self.ramp)
        if self.schedule == "cosine":
            risen = (1 - math.cos(math.pi * risen)) / 2
        return self.weight * risen

    def count(self, draw: Draw) -> int:
        """Return how many networks of the whole step get other branches."""
        return math.ceil(self.fraction * draw.size)

    def chosen(self, draw: Draw) -> tuple[np.ndarray, float]:
        """Return which of this process's networks they are, the first ones of the step, and what they count.

        All processes call the model, since a part may take statistics over all of them; one without such a network
        passes its first one, which then counts nothing.
        """
        found = np.flatnonzero(draw.positions < self.count(draw))
        return (found, 1.0) if len(found) else (np.zeros(1, np.int64), 0.0)

    def moved(self, model: nn.Module, batch: Batch, draw: Draw) -> Iterator[Output]:
        """Yield the model's output for each copy g·x of a batch, every network moved by an element of its own."""
        for copy in range(self.copies):
            elements = sample(batch, seed=draw.seed, step=draw.step + copy * COPY, actions=self.actions)
            yield model(apply(batch, elements))

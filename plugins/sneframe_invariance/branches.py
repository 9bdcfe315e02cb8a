"""Define what the invariance losses share: options, the schedule of λ, and the outputs for moved networks."""

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

#: Copy k draws as if k · COPY steps later, so that no two copies or steps share random numbers.
COPY = 1 << 40


@frozen(kw_only=True)
class Branches:
    """Options of every loss that compares a network x with moved copies g·x of it."""

    weight: float = option(1.0, "λ, the weight of this loss relative to the task loss", check=ge(0))
    schedule: Literal["constant", "linear", "cosine"] = option(
        "constant",
        "how λ changes: constant, or a linear or cosine rise from 0 over the ramp",
    )
    ramp: float = option(0.2, "fraction of the training over which λ rises", check=and_(gt(0), le(1)))
    fraction: float = option(
        1.0, "fraction of each batch for which the loss is computed", check=and_(gt(0), le(1))
    )
    copies: int = option(1, "K, the number of moved copies of each of these networks", check=ge(1))
    stop_gradient: bool = option(
        False, "whether the output for x is a fixed target, so that gradients pass through the copies only"
    )
    actions: tuple[str, ...] = option(
        ("permute",),
        "which actions g applies where a neuron group allows them: permute, scale, sign",
        check=deep_iterable(in_(("permute", "scale", "sign")), iterable_validator=min_len(1)),
        converter=tuple,
    )

    def weight_at(self, progress: float) -> float:
        """Return λ when ``progress``, a fraction in [0, 1] of the training, is done."""
        risen = 1.0 if self.schedule == "constant" else min(1.0, progress / self.ramp)
        if self.schedule == "cosine":
            risen = (1 - math.cos(math.pi * risen)) / 2
        return self.weight * risen

    def count(self, draw: Draw) -> int:
        """Return the number of networks, over all processes, for which the loss of a step is computed."""
        return math.ceil(self.fraction * draw.size)

    def chosen(self, draw: Draw) -> tuple[np.ndarray, float]:
        """Return the indices of this process's networks for which the loss is computed, and its factor.

        They are the first :meth:`count` networks of the step. All processes must call the model, because a
        part may compute statistics over all processes. A process that has none of these networks passes its
        first one, with the factor 0 instead of 1.
        """
        indices = np.flatnonzero(draw.positions < self.count(draw))
        return (indices, 1.0) if len(indices) else (np.zeros(1, np.int64), 0.0)

    def moved(self, model: nn.Module, batch: Batch, draw: Draw) -> Iterator[Output]:
        """Yield the model's output for each copy g·x of a batch; every network has its own g."""
        for copy in range(self.copies):
            elements = sample(batch, seed=draw.seed, step=draw.step + copy * COPY, actions=self.actions)
            yield model(apply(batch, elements))

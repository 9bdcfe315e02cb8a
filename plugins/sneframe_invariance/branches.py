"""Define the options that all invariance losses share, the schedule of λ, and the drawing of moved copies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, min_len
from torch import nn

from sneframe.architecture import ACTIONS
from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.parts.invariance import Output
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample

#: Copy k of step s draws its group elements as for step s + k · COPY, so no two draws share random numbers.
COPY = 1 << 40


@frozen(kw_only=True)
class Branches:
    """Options of every loss that compares the outputs for a network x and for moved copies g·x."""

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
        "which actions g applies where a neuron group allows them: permute, scale, sign, linear",
        check=deep_iterable(in_(ACTIONS), iterable_validator=min_len(1)),
        converter=as_tuple,
    )

    def weight_at(self, progress: float) -> float:
        """Return λ at a point of the training. ``progress`` is the fraction of the training that is done."""
        risen = 1.0 if self.schedule == "constant" else min(1.0, progress / self.ramp)
        if self.schedule == "cosine":
            risen = (1 - math.cos(math.pi * risen)) / 2
        return self.weight * risen

    def count(self, draw: Draw) -> int:
        """Return the number of networks of a step for which the loss is computed, over all processes."""
        return math.ceil(self.fraction * draw.size)

    def chosen(self, draw: Draw) -> tuple[np.ndarray, float]:
        """Return the indices of this process's networks that enter the loss, and a factor for the loss.

        The loss is computed for the first :meth:`count` networks of the step. All processes must call the
        model, because a part may compute statistics over all processes. So a process that has none of the
        first :meth:`count` networks returns the index of its first network, and the factor 0 for the loss.
        Otherwise the factor is 1.
        """
        indices = np.flatnonzero(draw.positions < self.count(draw))
        return (indices, 1.0) if len(indices) else (np.zeros(1, np.int64), 0.0)

    def moved(self, model: nn.Module, batch: Batch, draw: Draw) -> Iterator[Output]:
        """Yield the model's output for each of K copies of a batch. Each network of a copy has its own g."""
        for copy in range(self.copies):
            elements = sample(batch, seed=draw.seed, step=draw.step + copy * COPY, actions=self.actions)
            yield model(apply(batch, elements))

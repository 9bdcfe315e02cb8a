"""``augmentation/symmetry`` moves neurons without changing the network's function."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import deep_iterable, in_, min_len
from torch import Tensor

from sneframe.architecture import ACTIONS
from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.parts.augmentation import Augmentation
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample


@final
class Symmetry(Augmentation):
    """Replaces each network x by g·x, where g is a random element of the network's symmetry group.

    g is drawn anew for every neuron group, network and step. g·x computes the same function as x, so every
    property of the function stays the same. The action ``scale`` scales a neuron by 2^u, with u uniform in
    [−1, 1]. The action ``linear`` mixes the neurons of a group by a matrix whose singular values are such
    factors.
    """

    name = "augmentation/symmetry"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        actions: tuple[str, ...] = option(
            ("permute",),
            "which actions to apply where a neuron group allows them: permute, scale, sign, linear",
            check=deep_iterable(in_(ACTIONS), iterable_validator=min_len(1)),
            converter=as_tuple,
        )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the batch with every network x replaced by g·x, and return ``target`` unchanged."""
        elements = sample(batch, seed=draw.seed, step=draw.step, actions=self.config.actions)
        return apply(batch, elements), target

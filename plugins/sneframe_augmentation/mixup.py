"""``augmentation/mixup`` interpolates the weights and the targets of pairs of networks."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from attrs import frozen
from attrs.validators import gt
from torch import Tensor

from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.parts.augmentation import Augmentation
from sneframe.rng import Draw
from sneframe.symmetry import align, apply


@final
class MixUp(Augmentation):
    """Replaces a network x by λ x + (1 − λ) g·x', and the target y of x by λ y + (1 − λ) y'.

    λ is drawn from Beta(α, α). MixUp is due to Zhang et al. (2018). Shamsian et al. (2024) apply MixUp to
    weights. The partner x', with target y', is another network of the same architecture in this process's
    batch. g is the permutation, found by weight matching, that brings x' close to x. Without g, the mean of
    two networks whose neurons are in different orders resembles neither network. A network that is the only
    network of its architecture in the batch stays unchanged. With several processes there are fewer possible
    partners.
    """

    name = "augmentation/mixup"
    mixes = True

    @frozen(kw_only=True)
    class Config:
        """Options."""

        alpha: float = option(0.2, "α of the Beta distribution; a larger α draws λ closer to ½", check=gt(0))
        align: bool = option(
            True, "whether to match the neurons of the two networks first; this runs on the CPU"
        )

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return the interpolated networks, and their targets interpolated with the same λ."""
        # λ is drawn for every network of the step, and each process takes the values of its own networks, so
        # the values do not depend on the number of processes.
        drawn = np.random.default_rng([draw.seed, draw.step]).beta(
            self.config.alpha, self.config.alpha, size=draw.size
        )
        fraction = torch.from_numpy(drawn[draw.positions]).to(batch.device, non_blocking=True)
        partners = batch.replace(networks.weights.roll(1, dims=0) for networks in batch.networks)
        if self.config.align:
            partners = apply(partners, align(partners, batch))
        fractions = [rows.unsqueeze(1) for rows in batch.rows(fraction)]
        mixed = [
            torch.lerp(other.weights, own.weights, rows.to(own.weights.dtype))
            for own, other, rows in zip(batch.networks, partners.networks, fractions, strict=True)
        ]
        other_target = batch.restore([rows.roll(1, dims=0) for rows in batch.rows(target)])
        return batch.replace(mixed), torch.lerp(other_target, target, fraction.to(target.dtype).unsqueeze(1))

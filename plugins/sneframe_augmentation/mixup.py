"""``augmentation/mixup``: a network between two, and a target between theirs."""

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
    """λ x + (1 − λ) g·x', and λ y + (1 − λ) y', λ from Beta(α, α) (Zhang et al. 2018; for weights Shamsian et al. 2024).

    x' is another network of the same architecture in this process's batch, g the permutation that brings it close to x
    by weight matching: between two networks whose neurons stand in different places lies no network like either. A
    network without a mate of its architecture stays as it is. With several processes the mates are fewer.
    """

    name = "augmentation/mixup"
    mixes = True

    @frozen(kw_only=True)
    class Config:
        """Options."""

        alpha: float = option(
            0.2, "α of the Beta distribution; the larger, the nearer the middle", check=gt(0)
        )
        align: bool = option(True, "whether the other network's neurons are matched first, on the host")

    def forward(self, batch: Batch, target: Tensor, draw: Draw) -> tuple[Batch, Tensor]:
        """Return networks between pairs, and targets in the same proportion."""
        # One number for each network of the whole step, of which this process takes its own.
        drawn = np.random.default_rng([draw.seed, draw.step]).beta(
            self.config.alpha, self.config.alpha, size=draw.size
        )
        share = torch.from_numpy(drawn[draw.positions]).to(batch.device, non_blocking=True)
        mates = batch.replace(networks.weights.roll(1, dims=0) for networks in batch.networks)
        if self.config.align:
            mates = apply(mates, align(mates, batch))
        shares = [each.unsqueeze(1) for each in batch.rows(share)]
        mixed = [
            torch.lerp(other.weights, own.weights, each.to(own.weights.dtype))
            for own, other, each in zip(batch.networks, mates.networks, shares, strict=True)
        ]
        mate = batch.restore([each.roll(1, dims=0) for each in batch.rows(target)])
        return batch.replace(mixed), torch.lerp(mate, target, share.to(target.dtype).unsqueeze(1))

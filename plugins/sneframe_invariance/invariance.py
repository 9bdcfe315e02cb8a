"""``invariance/logit``: a network and a permuted copy of it shall have the same raw output (SNE §3.6)."""

from __future__ import annotations

import math
from typing import final

import numpy as np
from attrs import frozen
from attrs.validators import and_, ge, gt, le
from torch import nn

from sneframe.batch import Batch
from sneframe.config import option
from sneframe.invariance import Draw, InvarianceLoss, LossTerm, Output
from sneframe.part import Embedding
from sneframe.symmetry import apply, sample


@final
class Logit(InvarianceLoss):
    """Mean ‖f(x) − f(g·x)‖² over raw outputs, g a fresh neuron permutation per network and step.

    Gradients flow through both branches. Moskalev et al. (2023) introduced the regulariser, SNE uses it in place of
    weight tying.
    """

    name = "invariance/logit"
    takes = (Embedding,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        weight: float = option(1.0, "λ, its weight beside the task loss", check=ge(0))
        fraction: float = option(1.0, "of each batch that gets the second branch", check=and_(gt(0), le(1)))

    def weight(self, progress: float) -> float:  # noqa: ARG002  # constant over the training
        """Return λ."""
        return float(self.config.weight)

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of the first ``fraction`` of the step's batch, which a plan has shuffled."""
        count = math.ceil(self.config.fraction * draw.size)
        chosen = np.flatnonzero(draw.positions < count)
        # All processes call the model, since a part may take statistics over all of them; one without a chosen
        # network passes its first one, which then counts nothing.
        pays = float(len(chosen) > 0)
        first = batch.select(chosen if pays else [0])
        moved: Output = model(apply(first, sample(first, seed=draw.seed, step=draw.step)))
        difference = output.value[: len(first)] - moved.value
        return LossTerm(total=difference.float().square().sum() * pays, count=count)

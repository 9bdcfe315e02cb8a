"""``stats/statistics`` computes seven statistics of each parameter's weights."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen

from sneframe.batch import Batch
from sneframe.nn.weight_statistics import COUNT, statistics
from sneframe.parts.carriers import StatTokens
from sneframe.parts.part import Spec
from sneframe.parts.tokenizer import Tokenizer


@final
class Statistics(Tokenizer):
    """Computes mean, variance, and the quantiles 0, ¼, ½, ¾, 1 of each parameter (StatNN, arXiv 2002.11448).

    The variance is unbiased, as in the StatNet of NFN. Unterthiner et al. take the standard deviation
    instead. The variance of a parameter with one weight is 0. Quantiles between two order statistics are
    interpolated linearly. The statistics do not depend on the order of the weights, so permuting neurons does
    not change the statistics.
    """

    name = "stats/statistics"
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(StatTokens, COUNT)

    def forward(self, batch: Batch) -> tuple[StatTokens, ...]:
        """Return statistics ``(B, L, 7)`` for each architecture. L is the number of its parameters."""
        return tuple(
            StatTokens(
                architecture=networks.architecture,
                stats=torch.stack(
                    [statistics(view.flatten(1)) for view in networks.parameters().values()], dim=1
                ),
            )
            for networks in batch.networks
        )

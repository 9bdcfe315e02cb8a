"""``stats/statistics``: every parameter becomes seven statistics of its weights."""

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
    """Mean, variance, and the quantiles 0, ¼, ½, ¾, 1 of every parameter (StatNN, arXiv 2002.11448).

    As in NFN's StatNet the second is the unbiased variance (Unterthiner et al. take the standard deviation),
    0 for a parameter of one weight; between two order statistics a quantile is interpolated linearly. The
    statistics do not depend on the order of the weights, so permuting neurons leaves them as they are.
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
        """Return ``stats (B, L, 7)`` per architecture, L its parameters."""
        return tuple(
            StatTokens(
                architecture=networks.architecture,
                stats=torch.stack(
                    [statistics(view.flatten(1)) for view in networks.parameters().values()], dim=1
                ),
            )
            for networks in batch.networks
        )

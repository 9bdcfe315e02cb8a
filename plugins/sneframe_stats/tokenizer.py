"""``stats/statistics``: every parameter becomes seven statistics of its weights."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from torch import Tensor

from sneframe.batch import Batch
from sneframe.part import Spec, StatTokens
from sneframe.tokenizer import Tokenizer

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


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
        self.out = spec.gives(StatTokens, 2 + len(QUANTILES))

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


def statistics(values: Tensor) -> Tensor:
    """Return mean, variance and quantiles ``(B, 7)`` of ``(B, n)`` values."""
    # torch.quantile refuses more than 2^24 elements, and would sort once more for itself
    ordered = values.sort(dim=1).values
    count = values.shape[1]
    variance = values.var(dim=1) if count > 1 else torch.zeros_like(values[:, 0])
    columns = [values.mean(dim=1), variance]
    for quantile in QUANTILES:
        below, fraction = divmod(quantile * (count - 1), 1)
        low, high = ordered[:, int(below)], ordered[:, min(int(below) + 1, count - 1)]
        columns.append(torch.lerp(low, high, fraction))
    return torch.stack(columns, dim=1)

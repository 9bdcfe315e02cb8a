"""``stats/spectral`` computes numbers that describe the spectrum of each parameter."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen

from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.nn import spectral_statistics, weight_statistics
from sneframe.parts.carriers import StatTokens
from sneframe.parts.part import Spec
from sneframe.parts.tokenizer import Tokenizer


@final
class SpectralStatistics(Tokenizer):
    """Computes norms, ranks, the exponent of the power law and row norms of each parameter.

    These are the numbers of ``sneframe inspect``, as statistics that a method can learn from: WeightWatcher
    (arXiv 1810.01075) predicts the quality of networks from α and norms alone. They change neither if neurons
    are permuted nor, without the statistics of ``stats/statistics``, if their signs are flipped. Of a matrix
    with more than 256 singular values, α is fitted to every n-th of them.
    """

    name = "stats/spectral"
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """Options."""

        statistics: bool = option(
            True, "whether to add the seven statistics of stats/statistics, which flipped signs change"
        )

    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        more = weight_statistics.COUNT if config.statistics else 0
        self.out = spec.gives(StatTokens, spectral_statistics.COUNT + more)

    def forward(self, batch: Batch) -> tuple[StatTokens, ...]:
        """Return statistics ``(B, L, 14)`` or ``(B, L, 21)``. L is the number of parameters."""
        found = []
        for networks in batch.networks:
            columns = []
            for view in networks.parameters().values():
                own = [spectral_statistics.spectral_statistics(view)]
                if self.config.statistics:
                    own.append(weight_statistics.statistics(view.flatten(1)))
                columns.append(torch.cat(own, dim=1))
            stats = torch.stack(columns, dim=1)
            found.append(StatTokens(architecture=networks.architecture, stats=stats))
        return tuple(found)

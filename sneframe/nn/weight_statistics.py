"""Seven statistics of a set of weights, which do not depend on their order (StatNN, arXiv 2002.11448)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
COUNT: Final = 2 + len(QUANTILES)  #: number of statistics


def statistics(values: Tensor) -> Tensor:
    """Return mean, variance and quantiles ``(B, 7)`` of values ``(B, n)``."""
    # torch.quantile refuses more than 2^24 elements, and would sort again.
    ordered = values.sort(dim=1).values
    count = values.shape[1]
    variance = values.var(dim=1) if count > 1 else torch.zeros_like(values[:, 0])
    columns = [values.mean(dim=1), variance]
    for quantile in QUANTILES:
        below, fraction = divmod(quantile * (count - 1), 1)
        low, high = ordered[:, int(below)], ordered[:, min(int(below) + 1, count - 1)]
        columns.append(torch.lerp(low, high, fraction))
    return torch.stack(columns, dim=1)

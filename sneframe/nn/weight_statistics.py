"""Compute seven statistics of a set of weights (StatNN, arXiv 2002.11448).

The statistics do not depend on the order of the weights.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
COUNT: Final = 2 + len(QUANTILES)  #: number of statistics


def statistics(values: Tensor) -> Tensor:
    """Return the mean, the variance and the five quantiles of values ``(B, n)``, as ``(B, 7)``."""
    # torch.quantile raises for more than 2^24 elements, and it would sort once per call.
    ordered = values.sort(dim=1).values
    count = values.shape[1]
    variance = values.var(dim=1) if count > 1 else torch.zeros_like(values[:, 0])
    columns = [values.mean(dim=1), variance]
    for quantile in QUANTILES:
        below, fraction = divmod(quantile * (count - 1), 1)
        low, high = ordered[:, int(below)], ordered[:, min(int(below) + 1, count - 1)]
        columns.append(torch.lerp(low, high, fraction))
    return torch.stack(columns, dim=1)

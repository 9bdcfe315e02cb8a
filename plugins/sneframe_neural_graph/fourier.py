"""Turn weights into Gaussian Fourier features, and these into codes."""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@final
class FourierCodes(nn.Module):
    """Maps k numbers v to a code of D numbers: a linear map of cos(2π Bv) and sin(2π Bv).

    The frequencies B ``(F, k)`` are normal numbers with a standard deviation σ. They are drawn at the start
    and never trained (Tancik et al., NeurIPS 2020). Without frequencies, the code is a linear map of v.

    Args:
        numbers: k.
        width: D.
        frequencies: F, the number of frequencies; 0 for none.
        scale: σ.
    """

    frequencies: Tensor | None

    def __init__(self, numbers: int, width: int, *, frequencies: int, scale: float) -> None:
        super().__init__()
        drawn = scale * torch.randn(frequencies, numbers) if frequencies else None
        self.register_buffer("frequencies", drawn)
        self.linear = nn.Linear(2 * frequencies or numbers, width)

    def forward(self, values: Tensor, at: Tensor | None = None, *, then: nn.Linear | None = None) -> Tensor:
        """Return codes ``(…, D)`` for values ``(…, n)``.

        Args:
            values: the numbers that are not known to be 0.
            at: ``(k, n)``, the matrix that brings the n values to their places among the k numbers, the same
                value perhaps to several places. None if values are all k numbers in order.
            then: a linear map to apply to the codes. Its matrix is multiplied with that of the codes first,
                which gives the same result with one product for each edge less.
        """
        weight: Tensor = self.linear.weight
        bias: Tensor = self.linear.bias
        if then is not None:
            weight, bias = then.weight @ weight, F.linear(bias, then.weight, then.bias)
        if self.frequencies is None:
            return F.linear(values, weight if at is None else weight @ at.to(weight), bias)
        frequencies = self.frequencies if at is None else self.frequencies @ at.to(self.frequencies)
        # A cosine of a large angle needs more digits than bfloat16 has, so autocast is off.
        with torch.autocast(values.device.type, enabled=False):
            angles = F.linear(values.to(frequencies), 2 * math.pi * frequencies)
            features = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return F.linear(features, weight, bias)

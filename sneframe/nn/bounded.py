"""Keep values finite that networks with very large weights compute."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

WEIGHTS: Final = 1e6  #: weights are cut at ± this where a network is evaluated at learned inputs


def bounded(values: Tensor, most: float) -> Tensor:
    """Return the values as finite numbers in ± ``most``. What is not a number becomes 0."""
    return torch.nan_to_num(values, nan=0.0, posinf=most, neginf=-most).clamp(-most, most)


def evaluated(weights: Tensor) -> Tensor:
    """Return the weights with which networks are evaluated at learned inputs, cut at ±10⁶.

    The gradient with respect to the inputs is a product over layers. With weights such as 1e21, which a
    diverged training can leave, it would not be finite, and no network of the batch would be learned.
    """
    return weights.clamp(-WEIGHTS, WEIGHTS)

"""Keep values finite that networks with very large weights compute."""

from __future__ import annotations

import torch
from torch import Tensor


def bounded(values: Tensor, most: float) -> Tensor:
    """Return the values as finite numbers in ± ``most``. What is not a number becomes 0."""
    return torch.nan_to_num(values, nan=0.0, posinf=most, neginf=-most).clamp(-most, most)

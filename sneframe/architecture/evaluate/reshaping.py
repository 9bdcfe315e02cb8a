"""Evaluate layers that only rearrange values."""

from __future__ import annotations

from torch import Tensor

from sneframe.architecture.evaluate.step import Step, own_axis


def flatten(step: Step) -> Tensor:
    """Join the axes from ``start`` to ``stop``, by default all axes but that of the examples."""
    return step.value.flatten(own_axis(step.get("start", 1)), own_axis(step.get("stop", -1)))

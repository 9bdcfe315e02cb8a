"""Evaluate element-wise operations of several values, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, aligned, own_axis


def combined(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Step], Tensor]:
    """Return the operation that combines all values of a step from left to right."""

    def compute(step: Step) -> Tensor:
        return reduce(function, aligned(step.inputs))

    return compute


def identity(step: Step) -> Tensor:
    """Return the value itself: the layer has only a factor, a shift or an activation."""
    return step.value


def softmax(step: Step) -> Tensor:
    """Return the softmax along ``axis``."""
    return torch.softmax(step.value, own_axis(step["axis"]))


def log_softmax(step: Step) -> Tensor:
    """Return the logarithm of the softmax along ``axis``."""
    return torch.log_softmax(step.value, own_axis(step["axis"]))

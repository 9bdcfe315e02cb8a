"""Evaluate poolings: over all positions, over windows, and to a given size."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, refuse

AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
ADAPTIVE_AVERAGES = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
ADAPTIVE_MAXIMA = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
#: Attributes of a pooling over windows.
WINDOW = ("kernel", "stride", "padding", "ceil_mode")


def global_average(step: Step) -> Tensor:
    """Return the mean over all positions of ``(n, K, C, *positions)``."""
    return step.value.mean(_positions(step), keepdim=step["keepdim"])


def global_maximum(step: Step) -> Tensor:
    """Return the maximum over all positions of ``(n, K, C, *positions)``."""
    return step.value.amax(_positions(step), keepdim=step["keepdim"])


def _positions(step: Step) -> tuple[int, ...]:
    """Return the axes of the positions."""
    if step.value.ndim < 4:
        raise refuse(f"it pools over positions, but got the shape {tuple(step.value.shape[1:])}")
    return tuple(range(3, step.value.ndim))


def average(step: Step) -> Tensor:
    """Return the means over windows."""
    given = {name: step[name] for name in ("stride", "padding", "ceil_mode", "count_include_pad")}
    return _pooled(step, AVERAGES, len(step["kernel"]), tuple(step["kernel"]), **_tuples(given))


def maximum(step: Step) -> Tensor:
    """Return the maxima over windows."""
    given = {name: step[name] for name in ("stride", "padding", "ceil_mode", "dilation")}
    return _pooled(step, MAXIMA, len(step["kernel"]), tuple(step["kernel"]), **_tuples(given))


def adaptive_average(step: Step) -> Tensor:
    """Return the means over as many windows as ``size`` says."""
    return _pooled(step, ADAPTIVE_AVERAGES, len(step["size"]), tuple(step["size"]))


def adaptive_maximum(step: Step) -> Tensor:
    """Return the maxima over as many windows as ``size`` says."""
    return _pooled(step, ADAPTIVE_MAXIMA, len(step["size"]), tuple(step["size"]))


def _tuples(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _pooled(step: Step, functions: dict[int, Any], ndim: int, *sizes: Any, **given: Any) -> Tensor:
    """Apply a pooling of torch to ``(n, K, …, *positions)``; all axes but the positions are independent."""
    value = step.value
    if value.ndim < ndim + 2:
        raise refuse(f"it pools over {ndim} axes, but got the shape {tuple(value.shape[1:])}")
    before = value.ndim - ndim
    # One axis of channels stays, so that a value whose channels vary fastest in memory is not copied.
    joined = value.flatten(0, 1) if before == 3 else value.flatten(0, before - 1).unsqueeze(1)
    result: Tensor = functions[ndim](joined, *sizes, **given)
    return result.reshape(*value.shape[:before], *result.shape[-ndim:])

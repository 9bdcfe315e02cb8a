"""Evaluate norms and PReLU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, at_axis, refuse, with_axes
from sneframe.architecture.layer import Layer


def batch_norm(step: Step) -> Tensor:
    """Normalise the channels of ``(n, K, C, …)`` with the statistics of the training."""
    mean, variance = step.parameters["running_mean"], step.parameters["running_var"]
    _check_channels(step.value, mean.shape[1])
    scale = torch.rsqrt(variance + step["eps"])
    if "weight" in step.parameters:
        scale = scale * step.weight
    shift = -mean * scale if step.bias is None else step.bias - mean * scale
    return step.value * at_axis(scale, 1, step.value.ndim) + at_axis(shift, 1, step.value.ndim)


def instance_norm(step: Step) -> Tensor:
    """Normalise each channel of each example of ``(n, K, C, *positions)`` over its positions."""
    value = step.value
    if value.ndim < 4:
        raise refuse(f"it reads channels with positions, but got the shape {tuple(value.shape[1:])}")
    positions = tuple(range(3, value.ndim))
    variance, mean = torch.var_mean(value, positions, correction=0, keepdim=True)
    return _scaled_channels(step, (value - mean) * torch.rsqrt(variance + step["eps"]))


def group_norm(step: Step) -> Tensor:
    """Normalise groups of channels of ``(n, K, C, …)``."""
    value = step.value
    if value.ndim < 3 or value.shape[2] % step["num_groups"]:
        raise refuse(
            f"it reads channels in {step['num_groups']} groups, but got the shape {tuple(value.shape[1:])}"
        )
    joined = F.group_norm(value.flatten(0, 1), step["num_groups"], eps=step["eps"])
    return _scaled_channels(step, joined.unflatten(0, value.shape[:2]))


def layer_norm(step: Step) -> Tensor:
    """Normalise the last axes, whose sizes are ``shape``."""
    shape = _check_last_axes(step)
    return _scaled_last_axes(step, F.layer_norm(step.value, shape, eps=step["eps"]))


def rms_norm(step: Step) -> Tensor:
    """Divide the last axes, whose sizes are ``shape``, by the root of their mean square.

    If ``eps`` is ``"dtype"``, torch adds the distance from 1 to the next larger number of the floating-point
    type.
    """
    shape = _check_last_axes(step)
    eps = None if step["eps"] == "dtype" else step["eps"]
    return _scaled_last_axes(step, F.rms_norm(step.value, shape, eps=eps))


def prelu(step: Step) -> Tensor:
    """Multiply negative values with a slope for each channel of ``(n, K, C, …)``, or with one slope."""
    value, slopes = step.value, step.weight
    if slopes.shape[1] > 1:
        _check_channels(value, slopes.shape[1])
    slope = at_axis(slopes, 1 if value.ndim > 2 else 0, value.ndim)
    return torch.where(value > 0, value, slope * value)


def _check_channels(value: Tensor, channels: int) -> None:
    if value.ndim < 3 or value.shape[2] != channels:
        got = value.shape[2] if value.ndim > 2 else "none"
        raise refuse(f"it reads {channels} channels, but got {got} (shape {tuple(value.shape[1:])})")


def _check_last_axes(step: Step) -> tuple[int, ...]:
    shape = tuple(step["shape"])
    if tuple(step.value.shape[2:])[-len(shape) :] != shape:
        raise refuse(
            f"it normalises axes of the sizes {shape}, but got the shape {tuple(step.value.shape[1:])}"
        )
    return shape


def _scaled_channels(step: Step, value: Tensor) -> Tensor:
    """Multiply and shift the channels of ``(n, K, C, …)``, if the layer has parameters for that."""
    if "weight" in step.parameters:
        _check_channels(value, step.weight.shape[1])
        value = value * at_axis(step.weight, 1, value.ndim)
    if step.bias is not None:
        _check_channels(value, step.bias.shape[1])
        value = value + at_axis(step.bias, 1, value.ndim)
    return value


def _scaled_last_axes(step: Step, value: Tensor) -> Tensor:
    """Multiply and shift the last axes, if the layer has parameters for that."""
    if "weight" in step.parameters:
        value = value * with_axes(step.weight, value.ndim - 1)
    return value if step.bias is None else value + with_axes(step.bias, value.ndim - 1)


def channels_lack(layer: Layer) -> Iterator[str]:
    """Yield which parameter of a norm over channels has another size than the others."""
    shapes = {p.role: p.shape for p in layer.parameters}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        yield f"its parameters must be vectors of one size, but have the shapes {list(shapes.values())}"


def last_axes_lack(layer: Layer) -> Iterator[str]:
    """Yield that a parameter of a norm over the last axes has another shape than ``shape``."""
    shape: Any = layer.attributes["shape"]
    if not shape:
        yield "its attribute 'shape' is empty"
    for parameter in layer.parameters:
        if list(parameter.shape) != list(shape):
            yield f"its {parameter.role} must have the shape {tuple(shape)}, but has {parameter.shape}"

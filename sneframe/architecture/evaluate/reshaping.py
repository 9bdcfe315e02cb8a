"""Evaluate layers that only rearrange, repeat or choose values.

The first axis of a shape is usually −1, which stands for the examples. The string ``K`` in a shape stands for
the number of examples at any place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, number, own_axis, refuse, spread, with_axes
from sneframe.architecture.layer import Layer

#: Kinds that rearrange one value. A parameter may pass through them before a layer uses it.
STEPS = ("transpose", "reshape", "slice", "select", "expand", "take")
#: Kinds that keep whole numbers whole numbers, besides :data:`STEPS`.
KEEPS_INTEGERS = (*STEPS, "flatten", "concatenate", "stack", "repeat")


def _sizes(step: Step, given: Sequence[int | str]) -> list[int]:
    """Return sizes, with the number of examples instead of ``K``."""
    return [step.examples if size == "K" else int(size) for size in given]


def flatten(step: Step) -> Tensor:
    """Join the axes from ``start`` to ``stop``, by default all axes but that of the examples."""
    return step.value.flatten(own_axis(step.get("start", 1)), own_axis(step.get("stop", -1)))


def reshape(step: Step) -> Tensor:
    """Return the value in another shape; the order of its elements stays."""
    return step.value.reshape(len(step.value), *_sizes(step, step["shape"]))


def transpose(step: Step) -> Tensor:
    """Return the value with its axes in another order."""
    order = step["order"]
    if len(order) != step.value.ndim - 1:
        raise refuse(f"it orders {len(order)} axes, but got the shape {tuple(step.value.shape[1:])}")
    return step.value.permute(0, *(axis + 1 for axis in order))


def select(step: Step) -> Tensor:
    """Return one element along an axis, without the axis."""
    return step.value.select(own_axis(step["axis"]), step["index"])


def slice_(step: Step) -> Tensor:
    """Return the elements from ``start`` to ``stop`` along an axis; without ``stop``, to its end."""
    axis = own_axis(step["axis"]) % step.value.ndim
    chosen = slice(step["start"], step.get("stop"), step.get("step"))
    return step.value[(slice(None),) * axis + (chosen,)]


def take(step: Step) -> Tensor:
    """Return the elements at ``indices`` along an axis."""
    indices = torch.tensor(step["indices"], device=step.value.device)
    return step.value.index_select(own_axis(step["axis"]), indices)


def expand(step: Step) -> Tensor:
    """Repeat axes of size 1 without copying; a size of −1 leaves an axis as it is."""
    sizes = _sizes(step, step["shape"])
    return with_axes(step.value, len(sizes)).expand(len(step.value), *sizes)


def repeat(step: Step) -> Tensor:
    """Repeat the whole value along each axis."""
    repeats = _sizes(step, step["repeats"])
    return with_axes(step.value, len(repeats)).repeat(1, *repeats)


def concatenate(step: Step) -> Tensor:
    """Join values along an axis."""
    axis = step["axis"]
    return torch.cat(spread(step.inputs) if own_axis(axis) != 1 else _networks(step.inputs), own_axis(axis))


def stack(step: Step) -> Tensor:
    """Join values along a new axis."""
    return torch.stack(spread(step.inputs), own_axis(step["axis"]))


def _networks(values: Sequence[Tensor]) -> list[Tensor]:
    """Expand values to the same number of networks."""
    count = max(len(value) for value in values)
    return [value.expand(count, *value.shape[1:]) for value in values]


def pad(step: Step) -> Tensor:
    """Pad the last axes. ``amounts`` are in torch's order, from the last axis to the first."""
    value, amounts, mode = step.value, list(step["amounts"]), step.get("mode", "constant")
    if len(amounts) // 2 >= value.ndim:
        raise refuse(f"it pads {len(amounts) // 2} axes, but got the shape {tuple(value.shape[1:])}")
    if mode == "constant":
        return F.pad(value, amounts, value=number(step["value"]))
    before = value.ndim - len(amounts) // 2
    joined = value.flatten(0, before - 1)[:, None]
    result: Tensor = F.pad(joined, amounts, mode=mode)
    return result.reshape(*value.shape[:before], *result.shape[2:])


def pad_lacks(layer: Layer) -> Iterator[str]:
    """Yield which setting of a padding is missing or not understood."""
    amounts, mode = layer.attributes["amounts"], layer.attributes.get("mode", "constant")
    if len(amounts) % 2 or not amounts:
        yield f"its amounts must be pairs of numbers, but are {list(amounts)}"
    if mode not in ("constant", "reflect", "replicate", "circular"):
        yield f"its mode must be constant, reflect, replicate or circular, but is {mode!r}"
    if mode == "constant" and "value" not in layer.attributes:
        yield "its attribute 'value' is not known"


def upsample(step: Step) -> Tensor:
    """Resample the positions of ``(n, K, C, *positions)`` to ``size``, or by ``scale``."""
    value, size, scale = step.value, step.get("size"), step.get("scale")
    given: Any = {"size": size and tuple(size), "scale_factor": scale and tuple(map(float, scale))}
    result = F.interpolate(
        value.flatten(0, 1), mode=step["mode"], align_corners=step.get("align_corners"), **given
    )
    return result.unflatten(0, value.shape[:2])


def upsample_lacks(layer: Layer) -> Iterator[str]:
    """Yield which setting of a resampling is missing."""
    if ("size" in layer.attributes) == ("scale" in layer.attributes):
        yield "it must have one of the attributes 'size' and 'scale'"
    if "nearest" not in layer.attributes["mode"] and "align_corners" not in layer.attributes:
        yield "its attribute 'align_corners' is not known"


def pixel_shuffle(step: Step) -> Tensor:
    """Move channels into blocks of ``block`` × ``block`` positions."""
    return F.pixel_shuffle(step.value, step["block"])


def pixel_unshuffle(step: Step) -> Tensor:
    """Move blocks of ``block`` × ``block`` positions into channels."""
    return F.pixel_unshuffle(step.value, step["block"])


def constant(step: Step) -> Tensor:
    """Return the values of the description, ``(1, *shape)``. One example stands for all."""
    dtype = getattr(torch, step.get("dtype", "float64"))
    values = [number(value) if isinstance(value, str) else value for value in step["values"]]
    made = torch.tensor(values, dtype=dtype, device=step.like.device).reshape(1, *step["shape"])
    return made.to(step.like.dtype) if made.is_floating_point() else made

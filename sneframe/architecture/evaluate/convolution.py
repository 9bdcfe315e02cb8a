"""Evaluate convolutions of many networks at once.

There are two forms. Where windows overlap much, the faster form is one grouped convolution, in which each
network is a group of channels. Where windows overlap little, as with a kernel of 3 × 3 and a stride of 2,
they are copied into rows, and multiplied with the kernels of all networks in one batched product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe.architecture.evaluate.linear import product
from sneframe.architecture.evaluate.step import Step, refuse
from sneframe.architecture.layer import Layer

#: The padding modes of torch's convolutions, and their names in ``torch.nn.functional.pad``.
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
#: Windows are copied if an element is in at most this many of them, on average. Measured on a CPU.
COPIES = 4
#: The convolution functions of torch, by the number of positions' axes.
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _Windows(torch.autograd.Function):
    """Copies windows; the gradient is added back window by window, which is faster than torch's own."""

    @staticmethod
    def forward(
        value: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> Tensor:
        """Return ``(…, *windows, *kernel, C)`` for a value ``(n, K, *positions, C)``."""
        value = value.contiguous()
        steps = value.stride()
        counts = window_counts(value.shape[2:-1], kernel, stride, dilation)
        sizes = (*value.shape[:2], *counts, *kernel, value.shape[-1])
        over = [step * s for step, s in zip(steps[2:-1], stride, strict=True)]
        within = [step * d for step, d in zip(steps[2:-1], dilation, strict=True)]
        strided = value.as_strided(sizes, (*steps[:2], *over, *within, steps[-1]))
        return strided.contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  # torch's
        """Keep the shape of the value, and the settings."""
        ctx.settings = inputs[0].shape, *inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Add the gradient of each place in the kernel to the positions that it has seen."""
        shape, kernel, stride, dilation = ctx.settings
        gradient = gradients[0]
        ndim = len(kernel)
        counts = gradient.shape[2 : 2 + ndim]
        result = gradient.new_zeros(shape)
        for place in itertools.product(*map(range, kernel)):
            seen = tuple(
                slice(p * d, p * d + (count - 1) * s + 1, s)
                for p, d, s, count in zip(place, dilation, stride, counts, strict=True)
            )
            result[:, :, *seen] += gradient[:, :, *[slice(None)] * ndim, *place]
        return result, None, None, None


def window_counts(
    positions: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Return the number of windows along each axis of positions."""
    return [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(positions, kernel, stride, dilation, strict=True)
    ]


def convolution(step: Step) -> Tensor:
    """Return the convolution of ``(n, K, C, *positions)`` with kernels ``(B, O, C / groups, *kernel)``."""
    value, weight, groups = step.value, step.weight, step.get("groups", 1)
    kernel = tuple(weight.shape[3:])
    ndim = len(kernel)
    _check_channels(value, weight.shape[2] * groups, ndim)
    stride, dilation = tuple(step["stride"]), tuple(step["dilation"])
    value = _padded(value, kernel, dilation, step["padding"], step.get("padding_mode", "zeros"))
    counts = window_counts(value.shape[3:], kernel, stride, dilation)
    if min(counts) < 1:
        raise refuse(
            f"its kernel {kernel} with dilation {dilation} is larger than "
            f"the padded input {tuple(value.shape[3:])}"
        )
    if groups == 1 and math.prod(stride) > 1 and math.prod(kernel) <= COPIES * math.prod(stride):
        return _unfolded(value, weight, step.bias, stride, dilation)
    return _grouped(value, weight, step.bias, stride=stride, dilation=dilation, groups=groups)


def _unfolded(
    value: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Tensor:
    """Multiply the windows of the input with the kernels of all networks, in one batched product."""
    kernel = tuple(weight.shape[3:])
    windows: Any = _Windows.apply  # torch leaves it unannotated
    seen: Tensor = windows(value.movedim(2, -1), kernel, stride, dilation)
    columns = seen.flatten(2 + len(kernel))
    return product(columns, weight.movedim(2, -1).flatten(2), bias).movedim(-1, 2)


def _grouped(
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute one convolution in which each network is a group of channels, or several groups.

    If all networks read the same value, and all of its channels, they share one group.
    """
    networks, outputs = weight.shape[:2]
    if len(value) > 1 or groups > 1:
        value, groups = value.expand(networks, *value.shape[1:]), networks * groups
    joined = value.movedim(0, 1).flatten(1, 2)
    biases = None if bias is None else bias.flatten()
    given: Any = {"stride": tuple(stride), "dilation": tuple(dilation), "groups": groups}
    result = CONVOLUTIONS[weight.ndim - 3](joined, weight.flatten(0, 1), biases, **given)
    return result.unflatten(1, (networks, outputs)).movedim(1, 0)


def transposed_convolution(step: Step) -> Tensor:
    """Return the transposed convolution of ``(n, K, C, *positions)`` with ``(B, C, O / groups, *kernel)``."""
    value, weight, groups = step.value, step.weight, step.get("groups", 1)
    ndim = weight.ndim - 3
    networks, channels = weight.shape[:2]
    _check_channels(value, channels, ndim)
    outputs = weight.shape[2] * groups
    value = value.expand(networks, *value.shape[1:]).movedim(0, 1).flatten(1, 2)
    given: Any = {name: tuple(step[name]) for name in ("stride", "padding", "output_padding", "dilation")}
    biases = None if step.bias is None else step.bias.flatten()
    result = TRANSPOSED[ndim](value, weight.flatten(0, 1), biases, groups=networks * groups, **given)
    return result.unflatten(1, (networks, outputs)).movedim(1, 0)


def _check_channels(value: Tensor, channels: int, ndim: int) -> None:
    """Refuse an input that does not have ``channels`` channels and ``ndim`` axes of positions."""
    shape = tuple(value.shape[1:])
    if len(shape) != ndim + 2:
        raise refuse(f"it reads (K, channels{', size' * ndim}), but got the shape {shape}")
    if shape[1] != channels:
        raise refuse(f"it reads {channels} channels, but got {shape[1]} (shape {shape})")


def _padded(
    value: Tensor, kernel: Sequence[int], dilation: Sequence[int], padding: str | Sequence[int], mode: str
) -> Tensor:
    """Pad the positions of ``(n, K, C, *positions)``."""
    if padding == "valid":
        return value
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        amounts = [(t // 2, t - t // 2) for t in total]
    else:
        amounts = [(int(p), int(p)) for p in padding]
    if not any(before or after for before, after in amounts):
        return value
    flat = [amount for pair in reversed(amounts) for amount in pair]
    joined = F.pad(value.flatten(0, 1), flat, mode=PADDING_MODES[mode])
    return joined.unflatten(0, value.shape[:2])


def convolution_lacks(layer: Layer) -> Iterator[str]:
    """Yield which setting of a convolution is not understood."""
    padding, mode = layer.attributes["padding"], layer.attributes.get("padding_mode", "zeros")
    if isinstance(padding, str) and padding not in ("same", "valid"):
        yield f"its padding must be numbers, 'same' or 'valid', but is {padding!r}"
    if mode not in PADDING_MODES:
        yield f"its padding_mode must be one of {', '.join(PADDING_MODES)}, but is {mode!r}"
    uses = layer.attributes.get("uses", {})
    weight = next((p for p in layer.parameters if p.role == "weight"), None)
    if weight is None or "weight" in uses:  # a weight of another layer, of which the shape is not at hand
        return
    ndim = int(layer.kind[-2])
    bias = next((p.shape for p in layer.parameters if p.role == "bias"), None)
    outputs = weight.shape[0]
    if layer.kind.startswith("conv_transpose"):
        outputs = weight.shape[1] * layer.attributes.get("groups", 1)
    if bias is not None and bias != (outputs,):
        yield f"its bias must have the shape {(outputs,)}, but has {bias}"
    if len(weight.shape) != ndim + 2:
        yield f"its weight must have {ndim + 2} axes, but has the shape {weight.shape}"
    for name in ("stride", "padding", "dilation", "output_padding"):
        given = layer.attributes.get(name, ())
        if name in layer.attributes and not isinstance(given, str) and not _has(given, ndim):
            yield f"its {name} must have {ndim} numbers, but is {given}"


def _has(given: Any, count: int) -> bool:
    """Return whether an attribute is a list of ``count`` numbers."""
    return isinstance(given, list | tuple) and len(given) == count

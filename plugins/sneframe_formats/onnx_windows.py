"""Compute the convolutions and poolings of ONNX with torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe_formats.onnx_inputs import Attributes, Inputs, Operation, UnsupportedOnnxError, maybe, need

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _numbers(given: Attributes, name: str, count: int, default: int) -> list[int]:
    """Return an attribute with ``count`` numbers, each of which is ``default`` without the attribute."""
    values = list(given.get(name) or [default] * count)
    if len(values) != count or min(values) < 0:
        raise UnsupportedOnnxError(f"{name} must be {count} numbers of at least 0, but got {values}")
    return values


def _pads(
    given: Attributes,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    steps: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Return the paddings before each axis, and the paddings after each axis."""
    auto, count = given.get("auto_pad", "NOTSET"), len(sizes)
    if auto in ("NOTSET", "", "VALID"):
        pads = _numbers(given, "pads", 2 * count, 0) if auto != "VALID" else [0] * 2 * count
        return pads[:count], pads[count:]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedOnnxError(f"the padding {auto[:40]!r} is not supported")
    total = [
        max(0, (-(-size // stride) - 1) * stride + (k - 1) * step + 1 - size)
        for size, k, stride, step in zip(sizes, kernel, strides, steps, strict=True)
    ]
    half = [each // 2 for each in total]
    rest = [each - less for each, less in zip(total, half, strict=True)]
    return (half, rest) if auto == "SAME_UPPER" else (rest, half)


def _flat(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Return paddings in the order that ``F.pad`` expects: pairs of before and after, the last axis first."""
    return [each for pair in zip(reversed(before), reversed(after), strict=True) for each in pair]


def conv(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute a convolution."""
    x, weight, bias = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    n = x.ndim - 2
    strides, steps = _numbers(given, "strides", n, 1), _numbers(given, "dilations", n, 1)
    before, after = _pads(given, x.shape[2:], weight.shape[2:], strides, steps)
    if before != after:
        x, before = F.pad(x, _flat(before, after)), [0] * n
    return CONVS[n](x, weight, bias, strides, before, steps, given.get("group", 1))


def conv_transpose(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute a transposed convolution."""
    x, weight, bias = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    n = x.ndim - 2
    strides, steps = _numbers(given, "strides", n, 1), _numbers(given, "dilations", n, 1)
    extra = _numbers(given, "output_padding", n, 0)
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "", "VALID") or given.get("output_shape"):
        raise UnsupportedOnnxError("a padding that depends on the shape of the output is not supported")
    before, after = _pads(given, x.shape[2:], weight.shape[2:], strides, steps)
    if before != after:
        raise UnsupportedOnnxError("different paddings before and after an axis are not supported")
    return TRANSPOSED[n](x, weight, bias, strides, before, extra, given.get("group", 1), steps)


def max_pool(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute the maximum of each window."""
    x = need(inputs, 0)
    n = x.ndim - 2
    kernel, strides = _numbers(given, "kernel_shape", n, 1), _numbers(given, "strides", n, 1)
    steps = _numbers(given, "dilations", n, 1)
    before, after = _pads(given, x.shape[2:], kernel, strides, steps)
    if before != after or any(2 * pad > k for pad, k in zip(before, kernel, strict=True)):
        if given.get("ceil_mode"):
            raise UnsupportedOnnxError("ceil_mode is not supported with this padding")
        x, before = F.pad(x, _flat(before, after), value=float("-inf")), [0] * n
    return MAX_POOLS[n](x, kernel, strides, before, steps, bool(given.get("ceil_mode")))


def average_pool(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute the mean of each window. ``count_include_pad`` says whether the padding counts."""
    x = need(inputs, 0)
    n = x.ndim - 2
    kernel, strides = _numbers(given, "kernel_shape", n, 1), _numbers(given, "strides", n, 1)
    if any(step != 1 for step in _numbers(given, "dilations", n, 1)):
        raise UnsupportedOnnxError("dilations are not supported")
    before, after = _pads(given, x.shape[2:], kernel, strides, [1] * n)
    ceil, counted = bool(given.get("ceil_mode")), bool(given.get("count_include_pad"))
    if before == after and not any(2 * pad > k for pad, k in zip(before, kernel, strict=True)):
        return AVERAGES[n](x, kernel, strides, before, ceil, counted)
    if ceil and counted:
        raise UnsupportedOnnxError("ceil_mode and count_include_pad are not supported with this padding")
    padded = AVERAGES[n](F.pad(x, _flat(before, after)), kernel, strides, 0, ceil)
    if counted:
        return padded
    ones = F.pad(torch.ones_like(x[:1, :1]), _flat(before, after))
    return padded / AVERAGES[n](ones, kernel, strides, 0, ceil)


WINDOWS: Mapping[str, Operation] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
}

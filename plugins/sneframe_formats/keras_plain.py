"""Compute Keras layers without weights by torch. The channels are the last axis, as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sneframe.errors import ArchitectureError
from sneframe_formats.keras_config import KerasLayer
from sneframe_formats.keras_layers import check_size, first, last, over, padded, same
from sneframe_formats.keras_settings import (
    ACTIVATIONS,
    activation,
    axis,
    choice,
    number,
    pairs,
    refused,
    sizes,
    whole,
)


class Plain(nn.Module):
    """A layer without weights.

    Args:
        kind: the key of the layer in ``COMPUTE``.
        values: the settings that the function under this key takes.
    """

    def __init__(self, kind: str, *values: Any) -> None:
        super().__init__()
        self.kind, self.values = kind, values

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute the layer."""
        return COMPUTE[self.kind](*self.values)(*inputs)


def _pool(name: str, size: tuple[int, ...], stride: tuple[int, ...], pads: str) -> Callable[[Tensor], Tensor]:
    largest = name == "max"
    pooled: Any = (
        (F.max_pool1d, F.max_pool2d, F.max_pool3d) if largest else (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
    )[len(size) - 1]

    def compute(x: Tensor) -> Tensor:
        x = first(over(x, len(size)))
        around = same(x, size, stride, (1,) * len(size)) if pads == "same" else [(0, 0)] * len(size)
        if not any(n for pair in around for n in pair):
            return last(pooled(x, size, stride))
        # Copies of the border do not change a maximum, because such a window includes the border itself.
        wide = padded(x, around, "replicate" if largest else "constant")
        found = pooled(wide, size, stride)
        if not largest:  # Keras averages over the elements of the input, without the padding
            inside = padded(torch.ones_like(x[:1, :1], device=x.device), around)
            found = found / pooled(inside, size, stride)
        return last(found)

    return compute


def _global_pool(name: str, count: int, *kept: bool) -> Callable[[Tensor], Tensor]:
    axes = tuple(range(2, 2 + count))

    def compute(x: Tensor) -> Tensor:
        x = first(over(x, count))
        found = x.amax(axes, keepdim=True) if name == "max" else x.mean(axes, keepdim=True)
        return last(found) if kept[0] else found.flatten(1)

    return compute


def _reshape(target: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    return lambda x: x.reshape(x.shape[0], *target)


def _permute(axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    return lambda x: x.permute(0, *axes)


def _pad(pads: tuple[tuple[int, int], ...]) -> Callable[[Tensor], Tensor]:
    return lambda x: last(padded(first(over(x, len(pads))), pads))


def _crop(cuts: tuple[tuple[int, int], ...]) -> Callable[[Tensor], Tensor]:
    def compute(x: Tensor) -> Tensor:
        for number_, (before, after) in enumerate(cuts, start=1):
            x = x.narrow(number_, before, over(x, len(cuts)).shape[number_] - before - after)
        return x

    return compute


def _enlarge(size: tuple[int, ...], mode: str) -> Callable[[Tensor], Tensor]:
    def compute(x: Tensor) -> Tensor:
        x = first(over(x, len(size)))
        shape = [n * times for n, times in zip(x.shape[2:], size, strict=True)]
        check_size([*x.shape[:2], *shape])
        return last(F.interpolate(x, size=shape, mode=mode, **({} if mode == "nearest" else EVEN)))

    return compute


EVEN = {"align_corners": False}


def _merge(name: str) -> Callable[..., Tensor]:
    def compute(*inputs: Tensor) -> Tensor:
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        if len({each.ndim for each in tensors}) != 1:
            raise ArchitectureError("a layer that joins tensors with different numbers of axes is not known")
        check_size(torch.broadcast_shapes(*(each.shape for each in tensors)))
        found: Any = reduce(MERGES[name], inputs)
        return found / len(inputs) if name == "Average" else found

    return compute


MERGES: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("Add", "Average", "ops.Add"), lambda a, b: a + b),
    **dict.fromkeys(("Subtract", "ops.Subtract"), lambda a, b: a - b),
    **dict.fromkeys(("Multiply", "ops.Multiply"), lambda a, b: a * b),
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
}
COMPUTE: Mapping[str, Callable[..., Callable[..., Tensor]]] = {
    "identity": lambda: lambda x: x,
    "activation": lambda name: ACTIVATIONS[name],
    "relu6": lambda: F.relu6,
    "relu_up_to": lambda most: lambda x: x.relu().clamp_max(most),
    "leaky_relu": lambda slope: lambda x: F.leaky_relu(x, slope),
    "elu": lambda alpha: lambda x: F.elu(x, alpha),
    "softmax": lambda dim: lambda x: F.softmax(x, dim),
    "pool": _pool,
    "global_pool": _global_pool,
    "flatten": lambda: lambda x: x.reshape(x.shape[0], prod(x.shape[1:])),
    "reshape": _reshape,
    "permute": _permute,
    "pad": _pad,
    "crop": _crop,
    "enlarge": _enlarge,
    "merge": _merge,
    "concatenate": lambda dim: lambda *inputs: torch.cat(inputs, dim),
    "rescale": lambda scale, offset: lambda x: x * scale + offset,
}


# -- builders ---------------------------------------------------------------------------------------------


def plain(layer: KerasLayer) -> Plain | None:
    """Build a layer without weights. Return None if the class of the layer is not known.

    Raises:
        NoModuleError: a setting of the layer is not known.
    """
    kind = layer.kind
    if kind in IDENTITIES:
        return Plain("identity")
    if kind in MERGES:
        return Plain("merge", kind)
    return PLAIN[kind](layer) if kind in PLAIN else _over_positions(layer)


def _over_positions(layer: KerasLayer) -> Plain | None:
    kind = layer.kind
    for start, name in (("Max", "max"), ("Average", "mean"), ("GlobalMax", "max"), ("GlobalAverage", "mean")):
        if kind in [f"{start}Pooling{n}D" for n in (1, 2, 3)]:
            count = int(kind[-2])
            if start.startswith("Global"):
                return Plain("global_pool", name, count, bool(layer.settings.get("keepdims", False)))
            size = sizes(layer, "pool_size", count, 2)
            return Plain(
                "pool",
                name,
                size,
                sizes(layer, "strides", count, size),
                choice(layer, "padding", "valid", "same"),
            )
    for start in ("ZeroPadding", "Cropping", "UpSampling"):
        if kind in [f"{start}{n}D" for n in (1, 2, 3)]:
            return _spatial(layer, start, int(kind[-2]))
    return None


def _spatial(layer: KerasLayer, start: str, count: int) -> Plain:
    if start == "ZeroPadding":
        return Plain("pad", pairs(layer, "padding", count))
    if start == "Cropping":
        return Plain("crop", pairs(layer, "cropping", count))
    mode = choice(layer, "interpolation", "nearest", "bilinear")
    if mode == "bilinear" and count != 2:
        raise refused(layer, "the interpolation")
    return Plain("enlarge", sizes(layer, "size", count, 2), mode)


def _relu(layer: KerasLayer) -> Plain:
    most = layer.settings.get("max_value")
    slope = number(layer, "negative_slope", default=0)
    if number(layer, "threshold", default=0) or (slope and most is not None):
        raise refused(layer, "the setting threshold or max_value")
    if slope:
        return Plain("leaky_relu", slope)
    if most is None:
        return Plain("activation", "relu")
    value = number(layer, "max_value")
    if value < 0:
        raise refused(layer, "the setting max_value")
    return Plain("relu6") if value == 6 else Plain("relu_up_to", value)


def _target(layer: KerasLayer) -> Plain:
    target = layer.settings.get("target_shape")
    if not isinstance(target, list) or not all(type(n) is int and -1 <= n <= 1 << 24 for n in target):
        raise refused(layer, "the setting target_shape")
    return Plain("reshape", tuple(target))


def _order(layer: KerasLayer) -> Plain:
    axes = layer.settings.get("dims")
    if not isinstance(axes, list) or not all(type(n) is int for n in axes):
        raise refused(layer, "the setting dims")
    if sorted(axes) != list(range(1, len(axes) + 1)):
        raise refused(layer, "the setting dims")
    return Plain("permute", tuple(axes))


IDENTITIES = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"),
    *("GaussianNoise", "AlphaDropout", "ActivityRegularization", "Identity", "InputLayer"),
)
PLAIN: Mapping[str, Callable[[KerasLayer], Plain]] = {
    "Activation": lambda layer: Plain("activation", activation(layer)),
    "ReLU": _relu,
    "LeakyReLU": lambda layer: Plain("leaky_relu", number(layer, "negative_slope", "alpha", default=0.3)),
    "ELU": lambda layer: Plain("elu", number(layer, "alpha", default=1.0)),
    "Softmax": lambda layer: Plain("softmax", axis(layer)),
    "Flatten": lambda _layer: Plain("flatten"),
    "Reshape": _target,
    "Permute": _order,
    "Concatenate": lambda layer: Plain("concatenate", whole(layer, "axis", -1)),
    "Rescaling": lambda layer: Plain("rescale", number(layer, "scale"), number(layer, "offset", default=0.0)),
}

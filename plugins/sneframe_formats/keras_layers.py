"""Compute Keras layers with weights by torch. The channels are the last axis between layers, as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sneframe.errors import ArchitectureError
from sneframe_formats.keras_config import KerasLayer, NoModuleError
from sneframe_formats.keras_settings import (
    ACTIVATIONS,
    activation,
    axis,
    choice,
    number,
    refused,
    sizes,
    whole,
)

LARGEST = 1 << 26  #: largest number of elements of a tensor that a layer computes
PATCHES = 1 << 28  #: largest number of elements that a convolution may gather from its input

Shapes = Mapping[str, tuple[int, ...]]


def first(x: Tensor) -> Tensor:
    """Move the channels from the last axis to the second axis, after the batch, where torch expects them."""
    return rearrange(x, "b ... c -> b c ...")


def last(x: Tensor) -> Tensor:
    """Move the channels from the second axis to the last axis, where Keras expects them."""
    return rearrange(x, "b c ... -> b ... c")


def check_size(shape: Sequence[int]) -> None:
    """Raise an error if a tensor of this shape is too large. Call this before the tensor is computed."""
    if prod(shape) > LARGEST:
        raise ArchitectureError(f"a layer computes a tensor of shape {tuple(shape)}, which is too large")


def over(x: Tensor, count: int) -> Tensor:
    """Return a tensor after checking that it has ``count`` axes beside the batch and the channels."""
    if x.ndim != count + 2:
        raise ArchitectureError(f"a layer needs {count} axes beside batch and channels, but got {x.ndim - 2}")
    return x


def padded(x: Tensor, pads: Sequence[tuple[int, int]], mode: str = "constant") -> Tensor:
    """Pad the axes after the batch and the channels. ``pads`` has a pair for each: before, after."""
    if not any(n for pair in pads for n in pair):
        return x
    check_size([*x.shape[:2], *(n + sum(pair) for n, pair in zip(x.shape[2:], pads, strict=True))])
    return F.pad(x, [n for pair in reversed(pads) for n in pair], mode=mode)


def same(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[Any]:
    """Return the pads of Keras's padding ``same``: a pair for each axis after the batch and the channels."""
    if x.ndim != len(kernel) + 2:
        raise ArchitectureError(
            f"a layer needs {len(kernel)} axes beside batch and channels, but got {x.ndim - 2}"
        )
    pads = []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return pads


class Dense(nn.Linear):
    """A linear layer, followed by an activation."""

    activation = "linear"

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer on the last axis."""
        return ACTIVATIONS[self.activation](super().forward(x))


class _Conv(nn.modules.conv._ConvNd):
    activation = "linear"
    pads = "valid"

    def forward(self, x: Tensor) -> Tensor:
        x = first(over(x, len(self.kernel_size)))
        if self.pads == "same" and self.padding != "same":
            x = padded(x, same(x, self.kernel_size, self.stride, self.dilation))
        elif self.pads == "causal":
            x = padded(x, [((self.kernel_size[0] - 1) * self.dilation[0], 0)])
        if prod(self.weight.shape[1:]) * prod(x.shape[2:]) > PATCHES:
            raise ArchitectureError(f"a convolution of a tensor of shape {tuple(x.shape)} is too large")
        x = self._conv_forward(x, self.weight, self.bias)
        return ACTIVATIONS[self.activation](last(x))


class Conv1d(_Conv, nn.Conv1d):
    """A convolution over one axis."""


class Conv2d(_Conv, nn.Conv2d):
    """A convolution over two axes."""


class Conv3d(_Conv, nn.Conv3d):
    """A convolution over three axes."""


class Separable(nn.Module):
    """A separable convolution: a depthwise convolution, followed by a pointwise convolution."""

    def __init__(self, depthwise: nn.Module, pointwise: nn.Module) -> None:
        super().__init__()
        self.depthwise, self.pointwise = depthwise, pointwise

    def forward(self, x: Tensor) -> Tensor:
        """Compute both convolutions."""
        return self.pointwise(self.depthwise(x))


class _Transposed(nn.modules.conv._ConvTransposeNd):
    activation = "linear"
    cut: tuple[int, ...] = ()

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        x = first(over(x, len(self.kernel_size)))
        check_size(
            [
                self.out_channels,
                *(n * s + k for n, s, k in zip(x.shape[2:], self.stride, self.kernel_size, strict=False)),
            ]
        )
        if prod(self.weight.shape[1:]) * prod(x.shape[2:]) > PATCHES:
            raise ArchitectureError(f"a convolution of a tensor of shape {tuple(x.shape)} is too large")
        x = super().forward(x, output_size)
        for number_, cut in enumerate(self.cut):
            x = x.narrow(number_ + 2, 0, x.shape[number_ + 2] - cut) if cut else x
        return ACTIVATIONS[self.activation](last(x))


class ConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """A transposed convolution over one axis."""


class ConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """A transposed convolution over two axes."""


class ConvTranspose3d(_Transposed, nn.ConvTranspose3d):
    """A transposed convolution over three axes."""


class KerasBatchNorm(nn.BatchNorm2d):
    """A batch normalisation in evaluation mode. The channels may be on any axis."""

    axis = -1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the running statistics."""
        x = x.movedim(self.axis, 1)
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return x.movedim(1, self.axis)


class LayerNorm(nn.LayerNorm):
    """A layer normalisation along the last axis."""

    axis = -1

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        check_last(x, self.axis)
        return super().forward(x)


def check_last(x: Tensor, number_: int) -> None:
    """Raise an error unless ``number_`` is the number of the last axis of a tensor."""
    if number_ not in (-1, x.ndim - 1):
        raise ArchitectureError(
            f"a normalisation must act along the last of {x.ndim} axes, but got axis {number_}"
        )


class KerasEmbedding(nn.Embedding):
    """An embedding: a table with a vector for each index."""

    def forward(self, x: Tensor) -> Tensor:
        """Look up the rows of the table."""
        return super().forward(x.long())


class PReLU(nn.PReLU):
    """A leaky ReLU with one slope for each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activation."""
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)


class Slopes(nn.Module):
    """A leaky ReLU with one slope for each neuron."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activation."""
        return F.relu(x) - self.alpha * F.relu(-x)


class Normalization(nn.Module):
    """Normalises the last axis of the input by a stored mean and variance."""

    def __init__(self, size: tuple[int, ...], axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.empty(size))
        self.register_buffer("variance", torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        check_last(x, self.axis)
        return (x - self.mean) / self.variance.sqrt().clamp_min(1e-7)


# -- builders ---------------------------------------------------------------------------------------------


def _weight(layer: KerasLayer, shapes: Shapes, ndim: int, name: str = "weight") -> tuple[int, ...]:
    shape = shapes.get(f"{layer.path}.{name}")
    if shape is None or len(shape) != ndim:
        raise NoModuleError(f"the file holds no kernel of {ndim} axes for the layer {layer.path!r}")
    return shape


def dense(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a ``Dense``."""
    rows, columns = _weight(layer, shapes, 2)
    made = Dense(columns, rows, bias=bool(layer.settings.get("use_bias", True)))
    made.activation = activation(layer)
    return made


def conv(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a convolution, which may be depthwise."""
    count = int(layer.kind[-2])
    depthwise = layer.kind.startswith("Depthwise")
    weight = _weight(layer, shapes, count + 2)
    groups = weight[0] if depthwise else whole(layer, "groups", 1)
    if depthwise:
        groups = weight[0] // max(1, whole(layer, "depth_multiplier", 1))
    bias = bool(layer.settings.get("use_bias", True))
    return _conv(layer, weight, groups, activation(layer), bias=bias)


def _conv(layer: KerasLayer, weight: tuple[int, ...], groups: int, act: str, *, bias: bool) -> nn.Module:
    count, kernel = len(weight) - 2, weight[2:]
    stride, dilation = sizes(layer, "strides", count, 1), sizes(layer, "dilation_rate", count, 1)
    pads = choice(layer, "padding", "valid", "same", "causal")
    if pads == "causal" and count != 1:
        raise refused(layer, "the padding")
    # torch pads as Keras does if the stride is 1
    own = "same" if pads == "same" and set(stride) == {1} else 0
    if groups < 1 or weight[0] % groups:
        raise refused(layer, f"the number {groups} of groups")
    cls: Any = (Conv1d, Conv2d, Conv3d)[count - 1]
    made = cls(weight[1] * groups, weight[0], kernel, stride, own, dilation, groups, bias)
    made.activation, made.pads = act, pads
    return made


def separable(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a separable convolution. Only its pointwise convolution has the bias and the activation."""
    count = int(layer.kind[-2])
    first_, second = (_weight(layer, shapes, count + 2, f"{n}.weight") for n in ("depthwise", "pointwise"))
    groups = first_[0] // max(1, whole(layer, "depth_multiplier", 1))
    plain = KerasLayer(names=layer.names, stored=layer.stored, kind=layer.kind, settings={})
    bias = bool(layer.settings.get("use_bias", True))
    return Separable(
        _conv(layer, first_, groups, "linear", bias=False),
        _conv(plain, second, 1, activation(layer), bias=bias),
    )


def transposed(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a transposed convolution."""
    count = int(layer.kind[4])
    weight = _weight(layer, shapes, count + 2)
    kernel, stride = weight[2:], sizes(layer, "strides", count, 1)
    if layer.settings.get("output_padding") is not None or set(sizes(layer, "dilation_rate", count, 1)) != {
        1
    }:
        raise refused(layer, "the output padding or dilation")
    over = [
        k - s if choice(layer, "padding", "valid", "same") == "same" else 0
        for k, s in zip(kernel, stride, strict=True)
    ]
    short = [max(s - k, 0) for k, s in zip(kernel, stride, strict=True)]
    cls: Any = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)[count - 1]
    pads = tuple(max(n, 0) // 2 for n in over)
    bias = bool(layer.settings.get("use_bias", True))
    made = cls(weight[0], weight[1], kernel, stride, pads, tuple(short), 1, bias)
    made.activation, made.cut = activation(layer), tuple(max(n, 0) % 2 for n in over)
    return made


def batch_norm(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a batch normalisation."""
    (size,) = _weight(layer, shapes, 1, "running_mean")
    if layer.settings.get("renorm"):
        raise refused(layer, "the setting renorm")
    made = KerasBatchNorm(size, eps=number(layer, "epsilon", default=1e-3))
    made.register_buffer("num_batches_tracked", None)
    made.axis = axis(layer)
    return _without(made, layer)


def _without(made: Any, layer: KerasLayer) -> nn.Module:
    """Return a normalisation without the scale or the shift that the settings of the layer turn off."""
    for name, setting in (("weight", "scale"), ("bias", "center")):
        if not layer.settings.get(setting, True):
            made.register_parameter(name, None)
    return made


def layer_norm(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a layer normalisation."""
    if layer.settings.get("rms_scaling"):
        raise refused(layer, "the setting rms_scaling")
    name = "weight" if layer.settings.get("scale", True) else "bias"
    made = LayerNorm(_weight(layer, shapes, 1, name), eps=number(layer, "epsilon", default=1e-3))
    made.axis = axis(layer)
    return _without(made, layer)


def embedding(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build an embedding."""
    if layer.settings.get("mask_zero"):
        raise refused(layer, "the setting mask_zero")
    rows, columns = _weight(layer, shapes, 2)
    return KerasEmbedding(rows, columns)


def prelu(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a leaky ReLU with trained slopes."""
    if f"{layer.path}.weight" in shapes:
        return PReLU(*_weight(layer, shapes, 1))
    return Slopes(shapes.get(f"{layer.path}.alpha", ()))


def normalization(layer: KerasLayer, shapes: Shapes) -> nn.Module:
    """Build a ``Normalization``."""
    if layer.settings.get("invert") or layer.settings.get("mean") is not None:
        raise refused(layer, "the setting invert or mean")
    return Normalization(_weight(layer, shapes, 1, "mean"), axis(layer))


Builder = Callable[[KerasLayer, Shapes], nn.Module]
CONVOLUTIONS = tuple(f"Conv{n}D" for n in (1, 2, 3))
DEPTHWISE = tuple(f"DepthwiseConv{n}D" for n in (1, 2))
SEPARABLE = tuple(f"SeparableConv{n}D" for n in (1, 2))
TRANSPOSED = tuple(f"Conv{n}DTranspose" for n in (1, 2, 3))
#: The functions that build layers with weights, by the class of the layer.
BUILDERS: Mapping[str, Builder] = {
    "Dense": dense,
    **dict.fromkeys((*CONVOLUTIONS, *DEPTHWISE), conv),
    **dict.fromkeys(SEPARABLE, separable),
    **dict.fromkeys(TRANSPOSED, transposed),
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "Embedding": embedding,
    "PReLU": prelu,
    "Normalization": normalization,
}

"""Compute many CNNs of one design at once, by grouped convolutions or by products of matrices.

Grouped: the networks become one network whose convolutions have a group for each of them. Its maps lie with
the channels last in memory, so a pixel of all networks is one piece of memory.

Patched: the patches of the maps are gathered, and each convolution is a product of matrices. This is faster
where few patches overlap, as in the network of the Small CNN Zoo, whose convolutions all have stride 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sneframe_zoos.classifiers.convnet import ConvClassifier, ConvLayer
from sneframe_zoos.classifiers.patches import ImagePatches, MapPatches, Window
from sneframe_zoos.classifiers.stacked import Stacked

#: The largest number of patches that overlap in a pixel, in the mean, for which patches are faster.
OVERLAP = 3.0
#: The largest size of the patches of all networks in one call, in bytes. So they stay in the cache.
CACHE = 6 << 20


def overlap(network: ConvClassifier) -> float:
    """Return how many patches overlap in a pixel of the maps: the mean, of the convolution with the most."""
    return max((window.kernel / window.stride) ** 2 for window in map(_window, _layers(network)))


def _layers(network: ConvClassifier) -> list[ConvLayer]:
    return [layer for layer in network.convs if isinstance(layer, ConvLayer)]


def _window(layer: ConvLayer) -> Window:
    design = layer.design
    return Window(kernel=design.kernel, stride=design.stride, padding=design.padding)


class Grouped(Stacked):
    """Computes many CNNs as one CNN with groups.

    Args:
        network: a network with the layers of all of them. Its weights are not used.
        networks: how many networks one call should take.
    """

    name: ClassVar[str] = "grouped"

    def __init__(self, network: ConvClassifier, networks: int) -> None:
        self.networks = networks
        self._network = network
        self._convs = _layers(network)

    def logits(self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """See :class:`~sneframe_zoos.classifiers.stacked.Stacked`."""
        maps = _channels_last(images)
        for number, layer in enumerate(self._convs):
            name = f"convs.{number}"
            weight, bias = (parameters[f"{name}.conv.{each}"].flatten(0, 1) for each in ("weight", "bias"))
            outputs = F.conv2d(
                maps, weight, bias, layer.design.stride, layer.design.padding, groups=len(images)
            )
            if layer.design.residual:
                outputs = outputs + maps
            maps = layer.pool(layer.activation(outputs))
            if masks:  # of all dropouts, or of none
                maps = maps * _channels_last(masks[f"{name}.dropout.mask"])
        features = rearrange(self._network.pool(maps), "b (g c) h w -> g b (c h w)", g=len(images))
        return _linear_layers(self._network, parameters, masks, features)


class Patched(Stacked):
    """Computes the convolutions of many CNNs as products of matrices.

    Args:
        network: a network with the layers of all of them. Its weights are not used.
        image: shape of an image, ``(channels, height, width)``.
        batch: the largest number of images of a network in one call.
        networks: the largest number of networks in one call. :attr:`networks` may be smaller, so that the
            patches stay in the cache.
    """

    name: ClassVar[str] = "patched"

    def __init__(
        self, network: ConvClassifier, image: tuple[int, int, int], batch: int, networks: int
    ) -> None:
        self._network = network
        self._convs = _layers(network)
        maps, largest = [image], 0
        for layer in self._convs:
            channels, *sides = maps[-1]
            window = _window(layer)
            outputs = [window.outputs(side) for side in sides]
            largest = max(largest, channels * window.kernel**2 * math.prod(outputs))
            height, width = (layer.design.side(side) for side in sides)
            maps.append((layer.design.width, height, width))
        self.networks = max(1, min(networks, CACHE // (4 * batch * largest)))
        self._patches: list[ImagePatches | MapPatches] = [ImagePatches(_window(self._convs[0]), image)]
        for layer, (_, height, width) in zip(self._convs[1:], maps[1:], strict=False):
            self._patches.append(MapPatches(_window(layer), height, width, batch * self.networks))

    def logits(self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """See :class:`~sneframe_zoos.classifiers.stacked.Stacked`."""
        group, batch = images.shape[:2]
        maps = images
        for number, (layer, patches) in enumerate(zip(self._convs, self._patches, strict=True)):
            name = f"convs.{number}"
            weight, bias = (parameters[f"{name}.conv.{each}"] for each in ("weight", "bias"))
            kernel = rearrange(weight, patches.order)
            outputs = torch.baddbmm(rearrange(bias, "g o -> g 1 o"), patches(maps), kernel)
            if layer.design.residual:
                outputs = outputs + maps.reshape(outputs.shape)
            y, x = patches.outputs
            pooled = layer.pool(
                rearrange(layer.activation(outputs), "g (b y x) o -> (g b) o y x", b=batch, y=y, x=x)
            )
            maps = rearrange(pooled, "(g b) o y x -> g b y x o", g=group)
            if masks:  # of all dropouts, or of none
                maps = maps * rearrange(masks[f"{name}.dropout.mask"], "g b o y x -> g b y x o")
        features = self._network.pool(rearrange(maps, "g b y x o -> (g b) o y x"))
        return _linear_layers(
            self._network, parameters, masks, rearrange(features, "(g b) o y x -> g b (o y x)", g=group)
        )


def _linear_layers(
    network: ConvClassifier, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], features: Tensor
) -> Tensor:
    """Return the logits ``(G, B, classes)`` of features ``(G, B, F)``."""

    def linear(name: str, features: Tensor) -> Tensor:
        weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        return torch.baddbmm(rearrange(bias, "g o -> g 1 o"), features, weight.mT)

    for number, layer in enumerate(network.hidden):
        assert isinstance(layer, nn.Sequential)
        features = layer[1](linear(f"hidden.{number}.0", features))
        if masks:
            features = features * masks[f"hidden.{number}.2.mask"]
    return linear("head", features)


def _channels_last(maps: Tensor) -> Tensor:
    """Return maps ``(G, B, C, H, W)`` as ``(B, G · C, H, W)`` with the channels last in memory."""
    return rearrange(maps, "g b c h w -> b (g c) h w").contiguous(memory_format=torch.channels_last)

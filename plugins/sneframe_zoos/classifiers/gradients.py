"""Compute the gradients of many networks of one design at once.

Networks with convolutions become one network whose convolutions have a group for each of them. Its maps lie
with the channels last in memory, so a pixel of all networks is one piece of memory. That takes less than half
of the time of :func:`torch.func.vmap`, which all other networks use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from sneframe_zoos.classifiers.convnet import ConvClassifier, ConvLayer

#: Maps the parameters ``(G, *shape)`` and the masks ``(G, B, …)`` of G networks by name, their images
#: ``(G, B, channels, H, W)`` and labels ``(G, B)`` to the gradients of the parameters, by name. The loss of a
#: network is its mean cross-entropy.
Gradients = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor, Tensor], dict[str, Tensor]]


def gradients_of(network: nn.Module) -> Gradients:
    """Return the function that computes the gradients of networks with the layers of ``network``."""
    if isinstance(network, ConvClassifier):
        return _grouped(network)

    def loss(
        parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor, labels: Tensor
    ) -> Tensor:
        return F.cross_entropy(functional_call(network, {**parameters, **masks}, (images,)), labels)

    mapped: Gradients = vmap(grad(loss))
    return mapped


def _grouped(network: ConvClassifier) -> Gradients:
    def gradients(
        parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        logits = grouped_logits(network, leaves, masks, images)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        # No network has weights of another, so the gradient of the sum holds the gradient of each.
        total = losses.view(labels.shape).mean(1).sum()
        return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))

    return gradients


def grouped_logits(
    network: ConvClassifier, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], images: Tensor
) -> Tensor:
    """Return the logits ``(G, B, classes)`` of G networks, each for its own images.

    Args:
        network: a network with the layers of all of them. Its weights are not used.
        parameters: ``(G, *shape)``, by name.
        masks: ``(G, B, …)``, by name, of every dropout; empty if the networks have none.
        images: ``(G, B, channels, H, W)``.
    """
    group = len(images)
    maps = _channels_last(images)
    for number, layer in enumerate(network.convs):
        assert isinstance(layer, ConvLayer)
        name = f"convs.{number}"
        weight, bias = (parameters[f"{name}.conv.{each}"].flatten(0, 1) for each in ("weight", "bias"))
        outputs = F.conv2d(maps, weight, bias, layer.stride, layer.padding, groups=group)
        if layer.residual:
            outputs = outputs + maps
        maps = layer.pool(layer.activation(outputs))
        if masks:  # of all dropouts, or of none
            maps = maps * _channels_last(masks[f"{name}.dropout.mask"])
    features = rearrange(network.pool(maps), "b (g c) h w -> g b (c h w)", g=group)
    for number, layer in enumerate(network.hidden):
        assert isinstance(layer, nn.Sequential)
        features = layer[1](_linear(parameters, f"hidden.{number}.0", features))
        if masks:
            features = features * masks[f"hidden.{number}.2.mask"]
    return _linear(parameters, "head", features)


def _linear(parameters: Mapping[str, Tensor], name: str, features: Tensor) -> Tensor:
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    return torch.baddbmm(bias[:, None], features, weight.mT)


def _channels_last(maps: Tensor) -> Tensor:
    """Return maps ``(G, B, C, H, W)`` as ``(B, G · C, H, W)`` with the channels last in memory."""
    return rearrange(maps, "g b c h w -> b (g c) h w").contiguous(memory_format=torch.channels_last)

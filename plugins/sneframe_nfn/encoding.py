"""Encodings: what tells layers, inputs and outputs apart, without telling hidden neurons apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture.chain import Link

MAX_FREQUENCY = 10.0  #: of the sinusoids, as published


class GaussianFourier(nn.Module):
    """x ↦ sin 2π b x, cos 2π b x, with b ~ N(0, scale²) drawn once (Tancik et al. 2020, arXiv 2006.10739).

    Args:
        frequencies: how many b.
        scale: the deviation of b.
    """

    frequency: Tensor

    def __init__(self, frequencies: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(frequencies) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, 2 · frequencies, …)`` of ``(B, 1, …)``."""
        angles = 2 * math.pi * torch.einsum("b c ..., f -> b f ...", x, self.frequency)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Sinusoids(nn.Module):
    """Channels that say which layer a weight is in and, in the first and last layer, which input and output it joins.

    Layers, inputs and outputs are spaced equally in [−1, 1]; where several meet, their encodings are added. (The
    original adds the inputs' encoding to a last layer that is a convolution.)

    Args:
        links: of the chain.
        bands: how many frequencies, spaced equally between 1 and 5.
    """

    def __init__(self, links: Sequence[Link], bands: int) -> None:
        super().__init__()
        self.width = 2 * bands + 1
        self.depth = len(links)
        levels = sinusoids(self.depth, bands)
        for number, link in enumerate(links):
            weight = bias = levels[number]
            weight, bias = weight[:, None, None], bias[:, None]
            if number == 0:
                weight = weight + rearrange(sinusoids(link.inputs, bands), "i d -> d 1 i")
            if number == self.depth - 1:
                rows = rearrange(sinusoids(link.outputs, bands), "o d -> d o")
                weight, bias = weight + rows[..., None], bias + rows
            weight = weight.expand(-1, link.outputs, link.inputs).repeat_interleave(link.positions, dim=2)
            self.register_buffer(f"weight_{number}", weight.reshape(-1, *link.weight.shape).clone())
            self.register_buffer(f"bias_{number}", bias.expand(-1, link.outputs).clone())

    def forward(self, x: Tensor, role: str, layer: int) -> Tensor:
        """Return ``(B, channels + width, *shape)`` of ``(B, channels, *shape)``."""
        encoding = self.get_buffer(f"{role}_{layer}")
        return torch.cat([x, encoding.to(x.dtype).expand(len(x), *encoding.shape)], dim=1)


def sinusoids(count: int, bands: int) -> Tensor:
    """Return ``(count, 2 · bands + 1)``: sines and cosines of places in [−1, 1], and the places."""
    places = torch.linspace(-1, 1, count)[:, None]
    angles = places * torch.linspace(1, MAX_FREQUENCY / 2, bands) * math.pi
    return torch.cat([angles.sin(), angles.cos(), places], dim=1)


class PositionEmbedding(nn.Module):
    """Learned vectors that are added to the first weight per input, and to the last weight and bias per output.

    Args:
        links: of the chain.
        channels: that it is given.
    """

    def __init__(self, links: Sequence[Link], channels: int) -> None:
        super().__init__()
        first, last = links[0], links[-1]
        self.inputs = nn.Parameter(torch.randn(first.inputs, first.positions * channels))
        self.outputs = nn.Parameter(torch.randn(last.outputs, last.positions * channels))
        self.output_biases = nn.Parameter(torch.randn(last.outputs, channels))

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return weights ``(B, out, in, positions · channels)`` and biases ``(B, out, channels)`` in turn."""
        first, *inner, weight, bias = tensors
        outputs = rearrange(self.outputs, "o d -> o 1 d")
        return [first + self.inputs, *inner, weight + outputs, bias + self.output_biases]


class LayerEmbedding(nn.Module):
    """Learned vectors that are added to every weight and bias, per layer, per input and per output (arXiv 2305.13546).

    Args:
        links: of the chain.
        channels: that it is given.
    """

    def __init__(self, links: Sequence[Link], channels: int) -> None:
        super().__init__()
        self.links = tuple(links)
        self.weights = nn.Parameter(torch.randn(len(links), channels))
        self.biases = nn.Parameter(torch.randn(len(links), channels))
        self.inputs = nn.Parameter(torch.randn(links[0].inputs, channels))
        self.outputs = nn.Parameter(torch.randn(links[-1].outputs, channels))

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return weights ``(B, out, in, positions · channels)`` and biases ``(B, out, channels)`` in turn."""
        found = []
        for number, link in enumerate(self.links):
            weight, bias = self.weights[number], self.biases[number]
            if number == 0:
                weight = weight + self.inputs
            if number == len(self.links) - 1:
                weight = weight + rearrange(self.outputs, "o c -> o 1 c")
                bias = bias + self.outputs
            # The same vector at every position of a kernel, which vary more slowly than channels.
            weight = torch.cat([weight] * link.positions, dim=-1)
            found += [tensors[2 * number] + weight, tensors[2 * number + 1] + bias]
        return found

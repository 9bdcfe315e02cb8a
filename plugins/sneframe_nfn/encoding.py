"""Define encodings that distinguish layers, inputs and outputs, but not hidden neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture.chain import Link

MAX_FREQUENCY = 10.0  #: as published; half of it is the highest frequency of the sinusoids


class GaussianFourier(nn.Module):
    """Maps x to sin(2π b x) and cos(2π b x) for several frequencies b (Tancik et al. 2020, arXiv 2006.10739).

    The frequencies are drawn from N(0, scale²) when the module is built, and are not trained.

    Args:
        frequencies: number of frequencies b.
        scale: standard deviation of b.
    """

    frequency: Tensor

    def __init__(self, frequencies: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(frequencies) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, 2 · frequencies, …)`` for ``x (B, 1, …)``: all sines, followed by all cosines."""
        angles = 2 * math.pi * torch.einsum("b c ..., f -> b f ...", x, self.frequency)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Sinusoids(nn.Module):
    """Appends channels that encode which layer a weight or a bias belongs to.

    The channels of the first weight also encode the input, and those of the last weight and of the last bias
    also encode the output. Layers have equally spaced positions in [−1, 1], and so do inputs and outputs.
    Where several encodings apply, their sum is appended. There is one difference from the original. If the
    last layer is a convolution, the original adds the encoding of that layer's inputs, whereas this class
    adds the encoding of the outputs.

    Args:
        links: the layers of the chain.
        bands: number of frequencies, equally spaced between 1 and 5 half periods per unit.
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
        """Append the encoding to features, and return ``(B, channels + 2 · bands + 1, *shape)``.

        Args:
            x: the features of one weight or bias, ``(B, channels, *shape)``.
            role: ``weight`` or ``bias``.
            layer: the index of the layer.
        """
        encoding = self.get_buffer(f"{role}_{layer}")
        return torch.cat([x, encoding.to(x.dtype).expand(len(x), *encoding.shape)], dim=1)


def sinusoids(count: int, bands: int) -> Tensor:
    """Encode ``count`` equally spaced positions in [−1, 1], and return ``(count, 2 · bands + 1)``.

    The encoding of a position is its sines, followed by its cosines and by the position itself.
    """
    positions = torch.linspace(-1, 1, count)[:, None]
    angles = positions * torch.linspace(1, MAX_FREQUENCY / 2, bands) * math.pi
    return torch.cat([angles.sin(), angles.cos(), positions], dim=1)


class PositionEmbedding(nn.Module):
    """Adds learned vectors to features, so that inputs and outputs can be distinguished.

    The first weight gets a vector for each input. The last weight and the last bias get a vector for each
    output.

    Args:
        links: the layers of the chain.
        channels: number of channels of the features.
    """

    def __init__(self, links: Sequence[Link], channels: int) -> None:
        super().__init__()
        first, last = links[0], links[-1]
        self.inputs = nn.Parameter(torch.randn(first.inputs, first.positions * channels))
        self.outputs = nn.Parameter(torch.randn(last.outputs, last.positions * channels))
        self.output_biases = nn.Parameter(torch.randn(last.outputs, channels))

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Add the vectors to the weight and the bias of each layer.

        Input and result contain a weight ``(B, out, in, positions · channels)`` and a bias ``(B, out,
        channels)`` for each layer in turn.
        """
        first, *inner, weight, bias = tensors
        outputs = rearrange(self.outputs, "o d -> o 1 d")
        return [first + self.inputs, *inner, weight + outputs, bias + self.output_biases]


class LayerEmbedding(nn.Module):
    """Adds a learned vector for each layer, for each input and for each output (arXiv 2305.13546).

    Each layer has one vector that is added to its weight, and another vector that is added to its bias. The
    vectors of inputs are added to the first weight. The vectors of outputs are added to the last weight and
    to the last bias.

    Args:
        links: the layers of the chain.
        channels: number of channels of the features.
    """

    def __init__(self, links: Sequence[Link], channels: int) -> None:
        super().__init__()
        self.links = tuple(links)
        self.weights = nn.Parameter(torch.randn(len(links), channels))
        self.biases = nn.Parameter(torch.randn(len(links), channels))
        self.inputs = nn.Parameter(torch.randn(links[0].inputs, channels))
        self.outputs = nn.Parameter(torch.randn(links[-1].outputs, channels))

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Add the vectors to the weight and the bias of each layer.

        Input and result contain a weight ``(B, out, in, positions · channels)`` and a bias ``(B, out,
        channels)`` for each layer in turn.
        """
        embedded = []
        for number, link in enumerate(self.links):
            weight, bias = self.weights[number], self.biases[number]
            if number == 0:
                weight = weight + self.inputs
            if number == len(self.links) - 1:
                weight = weight + rearrange(self.outputs, "o c -> o 1 c")
                bias = bias + self.outputs
            # All positions of a kernel get the same vector. Positions vary more slowly than channels.
            weight = torch.cat([weight] * link.positions, dim=-1)
            embedded += [tensors[2 * number] + weight, tensors[2 * number + 1] + bias]
        return embedded

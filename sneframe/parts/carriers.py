"""Carriers: the values that flow between parts, one per architecture, in the order of ``batch.networks``.

``extent`` of a carrier is the number of networks in it, and the width that a Spec declares for it. It is read
only at the first batch of a run, and raises a ValueError with the reason if the tensors do not fit each
other.

``act`` returns what a carrier becomes when a group element is applied to the networks that it was made from,
provided that the part that made it keeps the symmetry. A carrier in which the order of neurons no longer
shows stays as it is. A carrier without ``act`` cannot be moved, and the laws of symmetry then measure nothing
about the part that gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.chain import Link, read_chain
from sneframe.batch import Networks

if TYPE_CHECKING:
    from sneframe.symmetry import Element


def _sizes(name: str, value: object, axes: str) -> tuple[int, ...]:
    """Return the shape of a tensor that has these axes, such as ``"B, L, D"``.

    Raises:
        ValueError: it is no tensor, or has other axes.
    """
    if not isinstance(value, Tensor) or value.ndim != axes.count(",") + 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must be ({axes}), got {got}")
    return tuple(value.shape)


def _channels(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[int, int]:
    """Return the numbers of networks and of channels, which the features of all layers share.

    Raises:
        ValueError: the layers differ, or there are none.
    """
    found = {tuple(value.shape[:2]) for value in (*weights, *biases)}
    if len(found) != 1 or len(next(iter(found))) != 2:
        shown = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(f"weights and biases must begin with one (B, channels), got {shown}")
    return next(iter(found))  # type: ignore[return-value]  # its length was checked above


class Unmoved:
    """A carrier in which the order of neurons no longer shows, so that no group element changes it."""

    def act(self, element: Element) -> Self:  # noqa: ARG002  # other carriers need it
        """Return the carrier itself."""
        return self


@frozen(kw_only=True, eq=False)
class ChunkTokens:
    """Parameters cut into chunks of scalars.

    Chunks are cut across neurons, so no group element can be applied to them: there is no ``act``.

    Args:
        architecture: architecture of the networks.
        chunks: ``(B, Q, C)``, zero where padded.
        mask: ``(Q, C)`` bool, true for a weight, false for padding.
        parameter: ``(Q,)``, for each chunk the index of its parameter, ascending.
        counts: number of chunks of each parameter; the sum is Q.
    """

    architecture: Architecture
    chunks: Tensor
    mask: Tensor
    parameter: Tensor
    counts: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and C."""
        networks, chunks, size = _sizes("chunks", self.chunks, "B, Q, C")
        if _sizes("mask", self.mask, "Q, C") != (chunks, size):
            raise ValueError(f"mask must be {(chunks, size)} as chunks are, got {tuple(self.mask.shape)}")
        if _sizes("parameter", self.parameter, "Q")[0] != chunks or sum(self.counts) != chunks:
            raise ValueError(f"parameter and counts must cover {chunks} chunks, got {sum(self.counts)}")
        return networks, size


@frozen(kw_only=True, eq=False)
class StatTokens(Unmoved):
    """Statistics of every parameter: ``stats (B, L, S)``."""

    architecture: Architecture
    stats: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and S."""
        networks, _, width = _sizes("stats", self.stats, "B, L, S")
        return networks, width


@frozen(kw_only=True, eq=False)
class Features:
    """Channels on the weights and biases of a chain of layers."""

    architecture: Architecture
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and the number of channels."""
        return _channels(self.weights, self.biases)

    def act(self, element: Element) -> Self:
        """Return g·x: every channel is moved as the weights are.

        If the entries of a kernel are folded into the channels, a channel is written on each entry, moved,
        and read from the first.
        """
        links = read_chain(self.architecture)
        entries = [link.weight.size // w[0, 0].numel() for link, w in zip(links, self.weights, strict=True)]
        values: dict[str, Tensor] = {}
        for link, count, weight, bias in zip(links, entries, self.weights, self.biases, strict=True):
            values[link.weight.name] = weight.flatten(2).repeat_interleave(count, dim=2)
            values[link.bias.name] = bias
        names, sizes = zip(*((p.name, p.size) for p in self.architecture.parameters), strict=True)
        flat = torch.cat([values[name] for name in names], dim=2)
        channels = [Networks(architecture=element.architecture, weights=each) for each in flat.unbind(1)]
        moved = torch.stack([each.act(element).weights for each in channels], dim=1)
        found = dict(zip(names, moved.split(sizes, dim=2), strict=True))
        weights = [
            found[link.weight.name][..., ::count].reshape(weight.shape)
            for link, count, weight in zip(links, entries, self.weights, strict=True)
        ]
        return evolve(self, weights=tuple(weights), biases=tuple(found[link.bias.name] for link in links))


@frozen(kw_only=True, eq=False)
class WeightFeatures(Features):
    """Channels on every weight and bias of a chain of layers.

    Args:
        architecture: architecture of the networks.
        weights: per layer ``(B, channels, *shape)``, with the shape of its weight: ``(B, channels, out, in)``
            for a linear layer, ``(B, channels, out, in, height, width)`` for a 2-D convolution.
        biases: per layer ``(B, channels, out)``.
    """

    @classmethod
    def of(cls, networks: Networks, links: Sequence[Link]) -> WeightFeatures:
        """Return the weights and biases of a chain as one channel, without a copy."""
        views = networks.parameters()
        return cls(
            architecture=networks.architecture,
            weights=tuple(views[link.weight.name].unsqueeze(1) for link in links),
            biases=tuple(views[link.bias.name].unsqueeze(1) for link in links),
        )


@frozen(kw_only=True, eq=False)
class NeuronFeatures(Features):
    """Channels on every pair of neurons that a chain of layers connects, and on every neuron.

    For linear layers they equal ``WeightFeatures``. A kernel between two channels of a convolution has one
    vector, and so have the positions of a channel that was flattened in front of a linear layer: positions
    are folded into the channels.

    Args:
        architecture: architecture of the networks.
        weights: per layer ``(B, channels, out, in)``. For a convolution, out and in are its channels; after a
            flatten, in are the channels that were flattened.
        biases: per layer ``(B, channels, out)``.
    """


@frozen(kw_only=True, eq=False)
class LayerCodes(Unmoved):
    """One code per parameter or per layer.

    Args:
        architecture: architecture of the networks.
        codes: ``(B, L, D)``.
        units: for each of the L codes the indices of the parameters that it stands for.
    """

    architecture: Architecture
    codes: Tensor
    units: tuple[tuple[int, ...], ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and D."""
        networks, codes, width = _sizes("codes", self.codes, "B, L, D")
        if codes != len(self.units):
            raise ValueError(f"units must have an entry for each of {codes} codes, got {len(self.units)}")
        return networks, width


def each_parameter(architecture: Architecture) -> tuple[tuple[int, ...], ...]:
    """Return the units for codes that stand for one parameter each."""
    return tuple((parameter,) for parameter in range(len(architecture.parameters)))


@frozen(kw_only=True, eq=False)
class Embedding(Unmoved):
    """One vector per network: ``values (B, E)``."""

    architecture: Architecture
    values: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and E."""
        networks, width = _sizes("values", self.values, "B, E")
        return networks, width

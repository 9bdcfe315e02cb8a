"""Carriers: what flows between parts, one value per architecture of the batch, in the order of ``batch.networks``.

``extent`` of a carrier is how many networks it carries, and the width that a Spec declares of it. It is read at the first
batch of a run alone, and raises a ValueError that says what is wrong where its tensors do not fit each other.

``act`` returns what a carrier becomes when a group element is applied to the networks that it was made of, as far as the
part that made it keeps the symmetry. What no longer shows the order of neurons stays as it is. A carrier without ``act``
cannot be moved, and the laws of symmetry then measure nothing of the part that gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.chain import Link, read_chain
from sneframe.batch import Networks

if TYPE_CHECKING:
    from sneframe.symmetry import Element

FeaturesT = TypeVar("FeaturesT", "WeightFeatures", "NeuronFeatures")


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
    """Return how many networks and channels the features of all layers have.

    Raises:
        ValueError: they differ, or there are none.
    """
    found = {tuple(value.shape[:2]) for value in (*weights, *biases)}
    if len(found) != 1 or len(next(iter(found))) != 2:
        shown = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(f"weights and biases must begin with one (B, channels), got {shown}")
    return next(iter(found))  # type: ignore[return-value]  # its length was looked at


@frozen(kw_only=True, eq=False)
class ChunkTokens:
    """Parameters cut into chunks of scalars.

    Chunks are cut across neurons, so no group element can be applied to them: there is no ``act``.

    Args:
        architecture: of these networks.
        chunks: ``(B, Q, C)``, zero where padded.
        mask: ``(Q, C)`` bool, true where a weight stands, false where padded.
        parameter: ``(Q,)`` for each chunk the index of its parameter, ascending.
        counts: for each parameter how many chunks it has; they sum to Q.
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
            raise ValueError(f"parameter and counts must tell of {chunks} chunks, got {sum(self.counts)}")
        return networks, size


@frozen(kw_only=True, eq=False)
class StatTokens:
    """Statistics of every parameter: ``stats (B, L, S)``."""

    architecture: Architecture
    stats: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and S."""
        networks, _, width = _sizes("stats", self.stats, "B, L, S")
        return networks, width

    def act(self, element: Element) -> StatTokens:  # noqa: ARG002  # others need it
        """Return the same statistics, which no group element changes."""
        return self


@frozen(kw_only=True, eq=False)
class WeightFeatures:
    """Channels on every weight and bias of a chain of layers.

    Args:
        architecture: of these networks.
        weights: per layer ``(B, channels, *shape)`` of its parameter: ``(B, channels, out, in)`` of a linear layer,
            ``(B, channels, out, in, height, width)`` of a 2-D convolution.
        biases: per layer ``(B, channels, out)``.
    """

    architecture: Architecture
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and how many channels."""
        return _channels(self.weights, self.biases)

    def act(self, element: Element) -> WeightFeatures:
        """Return g·x: every channel moved as the weights themselves are."""
        return _acted(self, element)

    @classmethod
    def of(cls, networks: Networks, links: Sequence[Link]) -> WeightFeatures:
        """Return one channel, the weights and biases of a chain themselves, as views."""
        views = networks.parameters()
        return cls(
            architecture=networks.architecture,
            weights=tuple(views[link.weight.name].unsqueeze(1) for link in links),
            biases=tuple(views[link.bias.name].unsqueeze(1) for link in links),
        )


@frozen(kw_only=True, eq=False)
class NeuronFeatures:
    """Channels on every pair of neurons that a chain of layers joins, and on every neuron.

    Of linear layers they are what ``WeightFeatures`` are. A kernel between two channels of a convolution, or the positions
    of a channel that was flattened in front of a linear layer, have one vector together: what was told apart by its
    position is folded into the channels.

    Args:
        architecture: of these networks.
        weights: per layer ``(B, channels, out, in)``, of a convolution out and in its channels, behind a flatten in the
            channels that were flattened.
        biases: per layer ``(B, channels, out)``.
    """

    architecture: Architecture
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and how many channels."""
        return _channels(self.weights, self.biases)

    def act(self, element: Element) -> NeuronFeatures:
        """Return g·x: every channel moved as the weights between the same neurons are."""
        return _acted(self, element)


def _acted(features: FeaturesT, element: Element) -> FeaturesT:
    """Apply an element to every channel as to the weights.

    Where the entries of a kernel are folded into the channels, a channel is written on each of them, moved, and read off
    the first.
    """
    architecture = features.architecture
    links = read_chain(architecture)
    entries = [link.weight.size // w[0, 0].numel() for link, w in zip(links, features.weights, strict=True)]
    values: dict[str, Tensor] = {}
    for link, count, weight, bias in zip(links, entries, features.weights, features.biases, strict=True):
        values[link.weight.name] = weight.flatten(2).repeat_interleave(count, dim=2)
        values[link.bias.name] = bias
    names, sizes = zip(*((p.name, p.size) for p in architecture.parameters), strict=True)
    flat = torch.cat([values[name] for name in names], dim=2)
    channels = [Networks(architecture=element.architecture, weights=each) for each in flat.unbind(1)]
    moved = torch.stack([each.act(element).weights for each in channels], dim=1)
    found = dict(zip(names, moved.split(sizes, dim=2), strict=True))
    weights = [
        found[link.weight.name][..., ::count].reshape(weight.shape)
        for link, count, weight in zip(links, entries, features.weights, strict=True)
    ]
    return evolve(features, weights=tuple(weights), biases=tuple(found[link.bias.name] for link in links))


@frozen(kw_only=True, eq=False)
class LayerCodes:
    """One code per parameter or per layer.

    Args:
        architecture: of these networks.
        codes: ``(B, L, D)``.
        units: for each of the L codes the indices of the parameters it stands for.
    """

    architecture: Architecture
    codes: Tensor
    units: tuple[tuple[int, ...], ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and D."""
        networks, codes, width = _sizes("codes", self.codes, "B, L, D")
        if codes != len(self.units):
            raise ValueError(f"units must tell of each of {codes} codes, got {len(self.units)}")
        return networks, width

    def act(self, element: Element) -> LayerCodes:  # noqa: ARG002  # others need it
        """Return the same codes, which no group element changes."""
        return self


def each_parameter(architecture: Architecture) -> tuple[tuple[int, ...], ...]:
    """Return the units of codes that stand for one parameter each."""
    return tuple((parameter,) for parameter in range(len(architecture.parameters)))


@frozen(kw_only=True, eq=False)
class Embedding:
    """One vector per network: ``values (B, E)``."""

    architecture: Architecture
    values: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and E."""
        networks, width = _sizes("values", self.values, "B, E")
        return networks, width

    def act(self, element: Element) -> Embedding:  # noqa: ARG002  # others need it
        """Return the same vectors, which no group element changes."""
        return self

"""Define the carriers: the values that flow from one part to the next.

A part returns one carrier per architecture, in the order of ``batch.networks``.

The property ``extent`` of a carrier is a pair: the number of networks in the carrier, and the width that the
Spec of the part must declare. ``extent`` is read only at the first batch of a run. If the tensors of the
carrier do not fit each other, ``extent`` raises a ValueError with the reason.

The method ``act`` applies a group element to a carrier. If the part that returned the carrier keeps the
symmetry, the result is the carrier of the moved networks. If a carrier does not depend on the order of
neurons, its ``act`` returns the carrier itself. A carrier without ``act`` cannot be moved, so the laws of
symmetry measure nothing about the part that returns such a carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.chain import Link, read_chain
from sneframe.architecture.neurons import neuron_layout
from sneframe.batch import Networks

if TYPE_CHECKING:
    from sneframe.symmetry import Element


def _sizes(name: str, value: object, axes: str) -> tuple[int, ...]:
    """Return the shape of the tensor ``value``, which must have as many axes as ``axes`` names.

    Args:
        name: the name of the tensor, for the error.
        value: the tensor.
        axes: the names of the axes, such as ``"B, L, D"``.

    Raises:
        ValueError: ``value`` is not a tensor, or has more or fewer axes.
    """
    if not isinstance(value, Tensor) or value.ndim != axes.count(",") + 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must be ({axes}), but got {got}")
    return tuple(value.shape)


def _channels(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[int, int]:
    """Return the number of networks and the number of channels of the features of a chain.

    Raises:
        ValueError: two layers differ in one of these numbers, or there is no layer.
    """
    found = {tuple(value.shape[:2]) for value in (*weights, *biases)}
    if len(found) != 1 or len(next(iter(found))) != 2:
        shown = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(
            f"all weights and biases must have the same first two axes (B, channels), but got {shown}"
        )
    return next(iter(found))  # type: ignore[return-value]  # its length was checked above


class Unmoved:
    """A carrier that does not depend on the order of neurons, so no group element changes the carrier."""

    def act(self, element: Element) -> Self:  # noqa: ARG002  # the act of other carriers needs it
        """Return the carrier itself."""
        return self


@frozen(kw_only=True, eq=False)
class ChunkTokens:
    """The weights of every parameter, cut into chunks of C weights.

    A chunk may hold weights of several neurons, so no group element can be applied to chunks. Therefore this
    carrier has no ``act``.

    Args:
        architecture: architecture of the networks.
        chunks: the weights ``(B, Q, C)``. Padding is zero.
        mask: ``(Q, C)`` bool, true for a weight and false for padding.
        parameter: the index of the parameter of each chunk, ``(Q,)``, ascending.
        counts: number of chunks of each parameter. The sum is Q.
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
            raise ValueError(f"mask must have the shape {(chunks, size)}, but got {tuple(self.mask.shape)}")
        if _sizes("parameter", self.parameter, "Q")[0] != chunks or sum(self.counts) != chunks:
            raise ValueError(
                f"parameter must have {chunks} entries and counts must add up to {chunks}, the number of "
                f"chunks, but got {len(self.parameter)} entries and the sum {sum(self.counts)}"
            )
        return networks, size


@frozen(kw_only=True, eq=False)
class StatTokens(Unmoved):
    """S statistics of each of the L parameters of every network: ``stats (B, L, S)``."""

    architecture: Architecture
    stats: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and S."""
        networks, _, width = _sizes("stats", self.stats, "B, L, S")
        return networks, width


@frozen(kw_only=True, eq=False)
class Features:
    """Features with several channels for the weights and biases of a chain of layers."""

    architecture: Architecture
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and the number of channels."""
        return _channels(self.weights, self.biases)

    def act(self, element: Element) -> Self:
        """Return the features after an element has moved every channel as it moves weights.

        If the entries of a kernel are folded into the channels, the value of a channel is copied to each
        entry of the kernel, moved, and read from the first entry.
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
    """Features with several channels for every weight and every bias of a chain of layers.

    Args:
        architecture: architecture of the networks.
        weights: a tensor ``(B, channels, *shape)`` for each layer, with the shape of the weight of the layer.
            It is ``(B, channels, out, in)`` for a linear layer, and
            ``(B, channels, out, in, height, width)`` for a 2-D convolution.
        biases: a tensor ``(B, channels, out)`` for each layer.
    """

    @classmethod
    def of(cls, networks: Networks, links: Sequence[Link]) -> WeightFeatures:
        """Return the weights and biases of a chain as features with one channel, without copying them."""
        views = networks.parameters()
        return cls(
            architecture=networks.architecture,
            weights=tuple(views[link.weight.name].unsqueeze(1) for link in links),
            biases=tuple(views[link.bias.name].unsqueeze(1) for link in links),
        )


@frozen(kw_only=True, eq=False)
class NeuronFeatures(Features):
    """Features with several channels for every pair of connected neurons in a chain, and for every neuron.

    For linear layers, the features have the shapes of ``WeightFeatures``. In a convolution, a pair of neurons
    is an output channel and an input channel. The entries of their kernel are folded into the feature
    channels. If a channel was flattened in front of a linear layer, its positions are folded in the same way.

    Args:
        architecture: architecture of the networks.
        weights: a tensor ``(B, channels, out, in)`` for each layer. For a convolution, ``out`` and ``in``
            count its output and input channels. After a flatten, ``in`` counts the flattened channels.
        biases: a tensor ``(B, channels, out)`` for each layer.
    """


@frozen(kw_only=True, eq=False)
class LayerCodes(Unmoved):
    """One code (a vector of D values) for each parameter or for each layer.

    Args:
        architecture: architecture of the networks.
        codes: the codes ``(B, L, D)``.
        units: for each of the L codes, the indices of the parameters that the code represents.
    """

    architecture: Architecture
    codes: Tensor
    units: tuple[tuple[int, ...], ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and D."""
        networks, codes, width = _sizes("codes", self.codes, "B, L, D")
        if codes != len(self.units):
            raise ValueError(f"units must have {codes} entries, one for each code, but got {len(self.units)}")
        return networks, width


def each_parameter(architecture: Architecture) -> tuple[tuple[int, ...], ...]:
    """Return the ``units`` of :class:`LayerCodes` with one code for each parameter."""
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


@frozen(kw_only=True, eq=False)
class NeuronTokens:
    """Tokens of neurons: the weights that a neuron reads with, and its bias, padded to S numbers.

    A window of a network has Q consecutive tokens of the network, and each network has its own window.

    Args:
        architecture: architecture of the networks.
        tokens: the tokens ``(B, Q, S)``. Padding is zero.
        mask: ``(Q, S)`` bool, or ``(B, Q, S)`` for windows: true for a weight and false for padding.
        positions: ``(Q, 3)`` ints, or ``(B, Q, 3)`` for windows: the number of the token, of its layer, and
            of its neuron in the layer; see :class:`sneframe.architecture.neurons.NeuronLayout`.
    """

    architecture: Architecture
    tokens: Tensor
    mask: Tensor
    positions: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and S."""
        networks, tokens, size = _sizes("tokens", self.tokens, "B, Q, S")
        for name, value, shape in (
            ("mask", self.mask, (tokens, size)),
            ("positions", self.positions, (tokens, 3)),
        ):
            if tuple(value.shape) not in (shape, (networks, *shape)):
                raise ValueError(f"{name} must be {shape} or {(networks, *shape)}, but got {value.shape}")
        return networks, size

    @property
    def weights(self) -> Tensor:
        """The flat weights ``(B, P)`` of whole networks, in the order of the architecture."""
        places = neuron_layout(self.architecture, self.tokens.shape[2]).places
        return self.tokens.flatten(1)[:, torch.from_numpy(places).to(self.tokens.device)]

    def act(self, element: Element) -> Self:
        """Return the tokens after an element has moved the weights in them. Positions stay."""
        networks = Networks(architecture=element.architecture, weights=self.weights).act(element)
        flat = torch.zeros_like(self.tokens).flatten(1)
        places = neuron_layout(self.architecture, self.tokens.shape[2]).places
        flat[:, torch.from_numpy(places).to(flat.device)] = networks.weights
        return evolve(self, tokens=flat.reshape(self.tokens.shape))


@frozen(kw_only=True, eq=False)
class TokenCodes:
    """One code (a vector of D values) for each token of a network: ``codes (B, Q, D)``.

    The codes follow positions of tokens, so no group element can be applied to them. Therefore this carrier
    has no ``act``.
    """

    architecture: Architecture
    codes: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and D."""
        networks, _, width = _sizes("codes", self.codes, "B, Q, D")
        return networks, width

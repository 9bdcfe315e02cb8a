"""Group the weights of a network by neuron: one token for each output of a layer.

The token of a neuron holds the weights that the neuron reads with, its bias, and its weights in the
normalisation that follows the layer directly, such as a batch norm. Every weight of a network is in exactly
one token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from attrs import field, frozen

from sneframe.architecture.description import Architecture
from sneframe.architecture.layer import Layer, Parameter

PADDING = -1  #: the entry of :attr:`NeuronLayout.index` that stands for no weight


@frozen(kw_only=True, eq=False)
class Unit:
    """Neurons of one layer, whose tokens hold weights of the same parameters.

    A layer is one unit, unless its parameters have different numbers of rows, as those of an attention have.

    Args:
        layer: index of the layer in the architecture.
        weights: ``(n, width)`` ints: the positions of the weights of each neuron in the flat weights.
    """

    layer: int
    weights: np.ndarray

    @property
    def neurons(self) -> int:
        """The number of neurons, and of tokens if none is split."""
        return int(self.weights.shape[0])

    @property
    def width(self) -> int:
        """The number of weights of a neuron."""
        return int(self.weights.shape[1])


@frozen(kw_only=True, eq=False, slots=False)
class NeuronLayout:
    """The tokens of the networks of an architecture.

    Args:
        index: ``(Q, S)`` ints: the positions of the weights of each token in the flat weights, with
            :data:`PADDING` behind the last weight of a token.
        positions: ``(Q, 3)`` ints: the number of the token, the number of its unit, and the number of its
            neuron in the unit. All count from 0. The tokens of a neuron that is split differ only in the
            first number.
    """

    index: np.ndarray = field()
    positions: np.ndarray

    @cached_property
    def mask(self) -> np.ndarray:
        """``(Q, S)`` bools: true for a weight, false for padding."""
        return np.asarray(self.index != PADDING)

    @cached_property
    def places(self) -> np.ndarray:
        """``(P,)`` ints: for each of the flat weights, its place in the flattened tokens ``(Q · S,)``."""
        flat = self.index.ravel()
        found = np.flatnonzero(flat != PADDING)
        places = np.empty(len(found), np.int64)
        places[flat[found]] = found
        return places


@lru_cache(maxsize=1024)
def units_of(architecture: Architecture) -> tuple[Unit, ...]:
    """Return the units of an architecture, in the order of its layers."""
    made: list[tuple[int, list[np.ndarray]]] = []
    last: dict[int, int] = {}  # the last unit that was made of each layer
    for number, (layer, pieces) in enumerate(zip(architecture.layers, _rows(architecture), strict=True)):
        before = _normalised(layer, architecture)
        joined = last.get(before) if before is not None else None
        if pieces and joined is not None and all(len(p) == len(made[joined][1][0]) for p in pieces):
            made[joined][1].extend(pieces)
            continue
        by_rows: dict[int, list[np.ndarray]] = {}
        for piece in pieces:
            by_rows.setdefault(len(piece), []).append(piece)
        for group in by_rows.values():
            last[number] = len(made)
            made.append((number, group))
    return tuple(Unit(layer=layer, weights=np.concatenate(group, axis=1)) for layer, group in made)


@lru_cache(maxsize=1024)
def neuron_layout(architecture: Architecture, size: int) -> NeuronLayout:
    """Return the tokens of an architecture, each of ``size`` weights.

    A shorter token is padded. The weights of a neuron that has more than ``size`` are split into tokens that
    follow each other.
    """
    index, positions = [], []
    total = 0
    for number, unit in enumerate(units_of(architecture)):
        pieces = -(-unit.width // size)
        padded = np.full((unit.neurons, pieces * size), PADDING, np.int64)
        padded[:, : unit.width] = unit.weights
        index.append(padded.reshape(-1, size))
        count = unit.neurons * pieces
        of_neuron = np.repeat(np.arange(unit.neurons), pieces)
        positions.append(np.stack([total + np.arange(count), np.full(count, number), of_neuron], axis=1))
        total += count
    return NeuronLayout(index=np.concatenate(index), positions=np.concatenate(positions))


def widest(architectures: Sequence[Architecture]) -> int:
    """Return the largest number of weights of a neuron in any of the architectures."""
    return max(unit.width for architecture in architectures for unit in units_of(architecture))


def _rows(architecture: Architecture) -> list[list[np.ndarray]]:
    """Return for each layer its parameters as positions ``(rows, columns)`` in the flat weights."""
    offsets = iter(architecture.offsets)
    found: list[list[np.ndarray]] = []
    for layer in architecture.layers:
        of_layer = []
        for parameter in layer.parameters:
            positions = next(offsets) + np.arange(parameter.size).reshape(parameter.shape or (1,))
            if _writes_second_axis(layer, parameter):
                positions = np.moveaxis(positions, 1, 0)
            of_layer.append(positions.reshape(len(positions), prod(positions.shape[1:])))
        found.append(of_layer)
    return found


def _writes_second_axis(layer: Layer, parameter: Parameter) -> bool:
    """Return whether the outputs of a layer are the second axis of a parameter, not the first.

    The weight of a transposed convolution is ``(in, out, …)``. With groups the second axis is only a part of
    the outputs, so the first axis is taken.
    """
    transposed = layer.kind.startswith("conv_transpose") and layer.attributes.get("groups", 1) == 1
    return transposed and len(parameter.shape) > 1


def _normalised(layer: Layer, architecture: Architecture) -> int | None:
    """Return the layer whose outputs a normalisation reads directly; None if it is no normalisation."""
    if not layer.kind.endswith("_norm") or len(layer.inputs) != 1 or layer.inputs[0] < 0:
        return None
    source = layer.inputs[0]
    return source if architecture.layers[source].activation == "none" else None

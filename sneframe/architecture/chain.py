"""Chains: architectures whose hidden neurons are each written by one layer and read by the next, and by no other.

What is a chain is read off the groups, not off the kinds of layers: linear layers and convolutions of any dimension,
with pooling or flattening between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from sneframe.architecture.description import Architecture, Axis, Layer, Parameter
from sneframe.errors import ArchitectureError


@frozen(kw_only=True)
class Link:
    """One layer of a chain.

    Args:
        weight: ``(outputs, inputs · …, …)``.
        bias: ``(outputs,)``.
        outputs: how many neurons it writes.
        inputs: how many neurons it reads.
        positions: how many weights join an input to an output: the entries of a convolution's kernel, the positions
            that were flattened in front of a linear layer, else 1. They vary fastest, so that a weight is
            ``(outputs, inputs, positions)`` in another shape.
    """

    weight: Parameter
    bias: Parameter
    outputs: int
    inputs: int
    positions: int


def read_chain(architecture: Architecture, *, layers: int = 2) -> tuple[Link, ...]:
    """Return the links of a chain, from input to output.

    Args:
        architecture: to read.
        layers: how many it must have, two at least.

    Raises:
        ArchitectureError: it is no chain of as many layers; the message is the reason, half a sentence.
    """
    movable = {g.name for g in architecture.groups if "permute" in g.actions and g.parent is None}
    weighted = [number for number, layer in enumerate(architecture.layers) if layer.parameters]
    if len(weighted) < layers:
        counted = "is one layer" if len(weighted) == 1 else f"are {len(weighted)} layers"
        raise ArchitectureError(f"there {counted} with parameters")
    links: list[Link] = []
    written: list[str] = []
    for number, layer in enumerate(architecture.layers):
        named = f"layer {number} ({layer.kind})"
        if layer.inputs != ((number - 1,) if number else ()):
            raise ArchitectureError(f"{named} reads layers {list(layer.inputs)}, not the one before it")
        if not layer.parameters:
            continue
        weight, bias = _pair(layer, named)
        columns = _reads(weight.axes[1], written[-1] if written else None)
        if columns is None or any(_groups(axis) for axis in weight.axes[2:]):
            expected = f"{written[-1]!r} of the layer before it" if written else "the fixed inputs"
            raise ArchitectureError(f"{named} reads {_words(weight.axes[1:])}, expected {expected}")
        rows = weight.axes[0]
        if number == weighted[-1]:
            if _groups(rows):
                raise ArchitectureError(f"{named} is the last one, and its outputs can be moved")
        else:
            group = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else None
            if not isinstance(group, str) or group not in movable or group in written:
                raise ArchitectureError(
                    f"{named} writes {_words([rows])}, expected a group of neurons of its own that can be permuted"
                )
            written.append(group)
        if bias.axes != (rows,):
            raise ArchitectureError(f"the bias of {named} does not move with its outputs")
        outputs, inputs, *kernel = weight.shape
        positions = columns * math.prod(kernel)
        links.append(
            Link(weight=weight, bias=bias, outputs=outputs, inputs=inputs // columns, positions=positions)
        )
    return tuple(links)


def _pair(layer: Layer, named: str) -> tuple[Parameter, Parameter]:
    roles = {parameter.role: parameter for parameter in layer.parameters}
    if sorted(roles) != ["bias", "weight"] or len(layer.parameters) != 2 or len(roles["weight"].shape) < 2:
        shown = ", ".join(f"{p.role} {p.shape}" for p in layer.parameters)
        raise ArchitectureError(f"{named} has {shown}, expected a weight matrix and a bias")
    return roles["weight"], roles["bias"]


def _reads(axis: Axis, group: str | None) -> int | None:
    """Return how many places along an axis belong to one neuron of the group, or to one fixed input; or None."""
    if group is None:
        return None if _groups(axis) else 1
    if len(axis) != 1 or axis[0][0] != group or any(isinstance(factor, str) for factor in axis[0][1:]):
        return None
    return math.prod(factor for factor in axis[0][1:] if isinstance(factor, int))


def _groups(axis: Axis) -> list[str]:
    return [factor for segment in axis for factor in segment if isinstance(factor, str)]


def _words(axes: Sequence[Axis]) -> str:
    """Say what stands along axes: ``hidden0 × 9``, ``hidden0 + hidden1``."""
    return " × ".join(
        " + ".join(" × ".join(str(factor) for factor in segment) for segment in axis) for axis in axes
    )

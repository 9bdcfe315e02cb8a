"""Read an architecture as a chain of layers.

In a chain, each layer writes hidden neurons that only the next layer reads.

Whether an architecture is a chain follows from its groups, not from the kinds of its layers. A multi-layer
perceptron is a chain. So is a stack of convolutions and linear layers, with pooling or flattening between
them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from sneframe.architecture.description import Architecture
from sneframe.architecture.layer import INPUT, Axis, Layer, Parameter
from sneframe.errors import ArchitectureError


@frozen(kw_only=True)
class Link:
    """One layer of a chain.

    Args:
        weight: the weight parameter, of shape ``(outputs, inputs · …, …)``.
        bias: the bias parameter, of shape ``(outputs,)``.
        outputs: number of neurons that the layer writes.
        inputs: number of neurons that the layer reads.
        positions: number of weights between one input neuron and one output neuron. For a convolution, this
            is the number of entries of the kernel. For a linear layer after a flattening, it is the number of
            flattened positions. Otherwise it is 1. Positions vary fastest, so the weight can be viewed as
            ``(outputs, inputs, positions)``.
    """

    weight: Parameter
    bias: Parameter
    outputs: int
    inputs: int
    positions: int


def read_chain(architecture: Architecture, *, layers: int = 2) -> tuple[Link, ...]:
    """Read an architecture as a chain, and return its layers with parameters, from input to output.

    Args:
        architecture: the architecture to read.
        layers: the smallest number of layers with parameters that the architecture must have.

    Raises:
        ArchitectureError: the architecture is not a chain, or has fewer than ``layers`` layers with
            parameters. The message gives the reason.
    """
    movable = {g.name for g in architecture.groups if "permute" in g.actions and g.parent is None}
    weighted = [number for number, layer in enumerate(architecture.layers) if layer.parameters]
    if len(weighted) < layers:
        amount = "is one layer" if len(weighted) == 1 else f"are {len(weighted)} layers"
        raise ArchitectureError(f"there {amount} with parameters")
    links: list[Link] = []
    written: list[str] = []
    for number, layer in enumerate(architecture.layers):
        named = f"layer {number} ({layer.kind})"
        if layer.inputs != ((number - 1,) if number else ()) and (number or layer.inputs != (INPUT,)):
            raise ArchitectureError(
                f"{named} reads layers {list(layer.inputs)}, not just the layer before it"
            )
        if not layer.parameters:
            continue
        weight, bias = _pair(layer, named)
        columns = _reads(weight.axes[1], written[-1] if written else None)
        if columns is None or any(_groups(axis) for axis in weight.axes[2:]):
            expected = f"{written[-1]!r}, which the layer before it writes" if written else "the fixed inputs"
            raise ArchitectureError(f"{named} reads {_words(weight.axes[1:])} instead of {expected}")
        rows = weight.axes[0]
        if number == weighted[-1]:
            if _groups(rows):
                raise ArchitectureError(
                    f"{named} is the last layer and must write fixed outputs, but writes {_words([rows])}"
                )
        else:
            group = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else None
            if not isinstance(group, str) or group not in movable or group in written:
                raise ArchitectureError(
                    f"{named} writes {_words([rows])} instead of a group of neurons of its own "
                    f"that can be permuted"
                )
            written.append(group)
        if bias.axes != (rows,):
            raise ArchitectureError(
                f"the bias of {named} is not permuted together with the outputs of the layer"
            )
        outputs, inputs, *kernel = weight.shape
        positions = columns * math.prod(kernel)
        links.append(
            Link(weight=weight, bias=bias, outputs=outputs, inputs=inputs // columns, positions=positions)
        )
    return tuple(links)


def _pair(layer: Layer, named: str) -> tuple[Parameter, Parameter]:
    """Return the weight and the bias of a layer.

    Raises:
        ArchitectureError: the layer lacks a weight matrix or a bias, or has other parameters.
    """
    roles = {parameter.role: parameter for parameter in layer.parameters}
    if sorted(roles) != ["bias", "weight"] or len(layer.parameters) != 2 or len(roles["weight"].shape) < 2:
        shown = ", ".join(f"{p.role} {p.shape}" for p in layer.parameters)
        raise ArchitectureError(f"{named} has {shown} instead of a weight matrix and a bias")
    return roles["weight"], roles["bias"]


def _reads(axis: Axis, group: str | None) -> int | None:
    """Return how many positions along an axis belong to each neuron, or to each fixed input.

    Args:
        axis: the axis of a weight along which a layer reads its inputs.
        group: the group that the layer before writes; None for the first layer, whose inputs are fixed.

    Returns:
        The number of positions; None if the axis does not read ``group``, or reads anything besides
        ``group``.
    """
    if group is None:
        return None if _groups(axis) else 1
    if len(axis) != 1 or axis[0][0] != group or any(isinstance(factor, str) for factor in axis[0][1:]):
        return None
    return math.prod(factor for factor in axis[0][1:] if isinstance(factor, int))


def _groups(axis: Axis) -> list[str]:
    """Return the names of the groups along an axis."""
    return [factor for segment in axis for factor in segment if isinstance(factor, str)]


def _words(axes: Sequence[Axis]) -> str:
    """Return the factors of axes as text, such as ``hidden0 × 9`` or ``hidden0 + hidden1``."""
    return " × ".join(
        " + ".join(" × ".join(str(factor) for factor in segment) for segment in axis) for axis in axes
    )

"""Compute the inputs, outputs, depth and widths of an architecture, as far as they are known."""

from __future__ import annotations

from sneframe.architecture import Architecture, Layer
from sneframe.architecture.layer import INPUT

#: The number of rows of the weights of a recurrent layer is this factor times its hidden size.
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def structure(architecture: Architecture) -> object:
    """Return the part of an architecture that is the same for every way to describe a network.

    This is everything except the names of the parameters and the neuron groups.
    """
    return tuple(
        (
            layer.kind,
            tuple((p.role, p.shape) for p in layer.parameters),
            () if layer.inputs == (INPUT,) else layer.inputs,
            layer.activation,
        )
        for layer in architecture.layers
    )


def activations(architecture: Architecture) -> set[str]:
    """Return the set of activations of an architecture, or ``{"none"}`` if no layer has an activation."""
    return {layer.activation for layer in architecture.layers} - {"none"} or {"none"}


def inputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return ``(kind, number of inputs)`` of each layer that reads the input of the network.

    A layer whose number of inputs is not known is left out. If the order of the layers is not known, any
    layer may be the first. The result then has every number of inputs that any layer may have.
    """
    if is_unordered(architecture):
        return {(layer.kind, size) for layer in architecture.layers for size in _may_read(layer)}
    first = [
        layer
        for layer, level in zip(architecture.layers, architecture.levels, strict=True)
        if layer.parameters and level == 0
    ]
    return {(layer.kind, size) for layer in first if (size := _reads(layer)) is not None}


def outputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return ``(kind, number of outputs)`` of each layer that no other layer with parameters follows.

    A layer whose number of outputs is not known is left out. If the order of the layers is not known, any
    layer may be the last. The result then has every number of outputs that any layer may have.
    """
    if is_unordered(architecture):
        return {(layer.kind, size) for layer in architecture.layers for size in _may_write(layer)}
    followed: set[int] = set()
    last = []
    for index in reversed(range(len(architecture.layers))):
        layer = architecture.layers[index]
        if layer.parameters and index not in followed:
            last.append(layer)
        if layer.parameters or index in followed:
            followed.update(layer.earlier)
    return {(layer.kind, size) for layer in last if (size := _writes(layer)) is not None}


def hidden_widths(architecture: Architecture) -> list[int]:
    """Return the widths of the hidden layers: linear, convolution and recurrent layers.

    The width of a linear or convolution layer is its number of outputs. The last such layer is not hidden.
    The width of a recurrent layer is its hidden size, and counts even if the layer is the last. If the order
    of the layers is not known, the result has every width that any layer may have.
    """
    layers = [
        layer
        for layer in architecture.layers
        if layer.parameters and (_is_map(layer.kind) or layer.kind in GATES)
    ]
    if is_unordered(architecture):
        sizes = {size for layer in layers for size in _may_write(layer)}
        return sorted(sizes | {size for layer in layers if (size := _hidden_size(layer))})
    if layers and _is_map(layers[-1].kind):
        layers = layers[:-1]
    found = [_hidden_size(layer) or _writes(layer) for layer in layers]
    return [width for width in found if width]


def depth(architecture: Architecture) -> int:
    """Return the number of layers with a weight matrix on the longest path. Norms do not count."""
    reached: list[int] = []
    for layer in architecture.layers:
        reached.append(max((reached[source] for source in layer.earlier), default=0) + _counts(layer))
    return max(reached)


def layers_of(architecture: Architecture) -> int:
    """Return the number of layers with a weight matrix. Norms do not count."""
    return sum(map(_counts, architecture.layers))


def is_unordered(architecture: Architecture) -> bool:
    """Return whether an architecture has several layers of which only names and shapes are known."""
    return (
        architecture.symmetry == "none" and sum(bool(layer.parameters) for layer in architecture.layers) > 1
    )


def _is_map(kind: str) -> bool:
    return kind == "linear" or kind.startswith("conv")


def _counts(layer: Layer) -> bool:
    return "norm" not in layer.kind and any(len(p.shape) > 1 for p in layer.parameters)


def _shape(layer: Layer, *roles: str) -> tuple[int, ...]:
    return next((p.shape for role in roles for p in layer.parameters if p.role == role), ())


def _reads(layer: Layer) -> int | None:
    """Return the number of inputs, channels or words that a layer reads, or None if it is not known."""
    shape = _shape(layer, "weight", "weight_ih", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind == "embedding" or layer.kind.startswith("conv_transpose"):
        return shape[0]
    groups = layer.attributes.get("groups", 1)
    return shape[1] * groups if _is_map(layer.kind) or layer.kind in (*GATES, "multihead_attention") else None


def _writes(layer: Layer) -> int | None:
    """Return the number of outputs or channels that a layer writes, or None if it is not known."""
    if layer.kind in GATES:
        size = (_shape(layer, "weight_hr") or (0,))[0] or _hidden_size(layer)
        return size * _directions(layer) or None
    shape = _shape(layer, "weight", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind in ("embedding", "multihead_attention"):
        return shape[1]
    if layer.kind.startswith("conv_transpose"):
        return int(shape[1] * layer.attributes.get("groups", 1))
    return shape[0] if _is_map(layer.kind) else None


def _hidden_size(layer: Layer) -> int:
    """Return the hidden size of a recurrent layer, or 0 for any other layer."""
    if layer.kind not in GATES:
        return 0
    return (_shape(layer, "weight_hh") or (0,))[0] // GATES[layer.kind]


def _directions(layer: Layer) -> int:
    return 2 if any(parameter.name.endswith("_reverse") for parameter in layer.parameters) else 1


def _may_read(layer: Layer) -> set[int]:
    """Return every number of inputs that a layer may have, given only its parameters' names and shapes."""
    return _may_have(layer, 1)


def _may_write(layer: Layer) -> set[int]:
    """Return every number of outputs that a layer may have, given only its parameters' names and shapes."""
    return _may_have(layer, 0)


def _may_have(layer: Layer, axis: int) -> set[int]:
    """Return every number of inputs (``axis`` 1) or outputs (``axis`` 0) that a layer may have.

    A matrix without a bias may be stored transposed, so both of its sizes are possible.
    """
    if layer.kind in GATES:
        size = _writes(layer) if axis == 0 else _reads(layer)
        return {size} if size else set()
    if "norm" in layer.kind:
        return {p.shape[0] for p in layer.parameters if p.shape}
    shapes = [parameter.shape for parameter in layer.parameters if len(parameter.shape) > 1]
    bias = _shape(layer, "bias")
    if layer.kind == "linear" and len(shapes) == 1 and bias == shapes[0][:1]:
        return {shapes[0][axis]}
    found = {size for shape in shapes for size in shape}
    if layer.kind.startswith("conv"):  # neither its groups nor whether it is transposed is known
        found = {size for shape in shapes for size in _channels(*shape[:2])}
    return found


def _channels(rows: int, columns: int) -> set[int]:
    return {rows, *(columns * groups for groups in range(1, rows + 1) if rows % groups == 0)}

"""Compute the inputs, outputs, depth and widths of an architecture, as far as they are known."""

from __future__ import annotations

from sneframe.architecture import Architecture, Layer

GATES = {"lstm": 4, "gru": 3, "rnn": 1}  #: of recurrent layers: how many times their hidden size the rows are


def structure(architecture: Architecture) -> object:
    """Return what identifies an architecture however it was described: all but names and neuron groups."""
    return tuple(
        (layer.kind, tuple((p.role, p.shape) for p in layer.parameters), layer.inputs, layer.activation)
        for layer in architecture.layers
    )


def activations(architecture: Architecture) -> set[str]:
    """Return the activations of an architecture; ``{"none"}`` if it has none, as in a linear network."""
    return {layer.activation for layer in architecture.layers} - {"none"} or {"none"}


def inputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return the kind and the number of inputs of each layer that reads the network's input, if known.

    If the order of the layers is not known, any layer may be the first; then every number that any layer may
    read is returned.
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
    """Return the kind and the number of outputs of each layer that no other layer with parameters follows.

    If the order of the layers is not known, any layer may be the last; then every number that any layer may
    write is returned.
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
            followed.update(layer.inputs)
    return {(layer.kind, size) for layer in last if (size := _writes(layer)) is not None}


def hidden_widths(architecture: Architecture) -> list[int]:
    """Return the widths of all linear, convolution and recurrent layers, without that of an output layer.

    The width is the number of outputs; for a recurrent layer it is the hidden size, also if the layer is the
    last. If the order of the layers is not known, all widths that any layer may have are returned.
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
    """Return the number of layers on the longest path. Only layers with a weight matrix count, not norms."""
    reached: list[int] = []
    for layer in architecture.layers:
        reached.append(max((reached[source] for source in layer.inputs), default=0) + _counts(layer))
    return max(reached)


def layers_of(architecture: Architecture) -> int:
    """Return the number of layers. Only layers with a weight matrix count, and no norms."""
    return sum(map(_counts, architecture.layers))


def is_unordered(architecture: Architecture) -> bool:
    """Whether an architecture has several layers of which only names and shapes are known."""
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
    """Return the number of inputs, channels or words that a layer reads; None if it is not known."""
    shape = _shape(layer, "weight", "weight_ih", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind == "embedding" or layer.kind.startswith("conv_transpose"):
        return shape[0]
    groups = layer.attributes.get("groups", 1)
    return shape[1] * groups if _is_map(layer.kind) or layer.kind in (*GATES, "multihead_attention") else None


def _writes(layer: Layer) -> int | None:
    """Return the number of outputs or channels that a layer writes; None if it is not known."""
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
    """Return the hidden size of a recurrent layer; 0 for any other layer."""
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
    """Return the numbers that a layer may read (``axis`` 1) or write (``axis`` 0).

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
    if layer.kind.startswith("conv"):  # its groups are not known, nor whether it is transposed
        found = {size for shape in shapes for size in _channels(*shape[:2])}
    return found


def _channels(rows: int, columns: int) -> set[int]:
    return {rows, *(columns * groups for groups in range(1, rows + 1) if rows % groups == 0)}

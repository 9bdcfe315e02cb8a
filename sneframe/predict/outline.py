"""An architecture, looked at from outside: its inputs and outputs, how deep and how wide it is, as far as that is known."""

from __future__ import annotations

from sneframe.architecture import Architecture, Layer

GATES = {"lstm": 4, "gru": 3, "rnn": 1}  #: of recurrent layers: how many times their hidden size the rows are


def structure(architecture: Architecture) -> object:
    """Return what is left of an architecture without names and groups, which depend on where its description comes from."""
    return tuple(
        (layer.kind, tuple((p.role, p.shape) for p in layer.parameters), layer.inputs, layer.activation)
        for layer in architecture.layers
    )


def activations(architecture: Architecture) -> set[str]:
    """Return the activations behind the layers of an architecture; ``none`` where there is none, as in a linear network."""
    return {layer.activation for layer in architecture.layers} - {"none"} or {"none"}


def inputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return kind and number of inputs of each layer that reads the network's input, where that is known.

    Where the order of layers is not known, any layer may read it; these are then all numbers that any may take.
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
    """Return kind and number of outputs of each layer behind which there is no other with parameters.

    Where the order of layers is not known, any layer may be the last; these are then all numbers that any may give.
    """
    if is_unordered(architecture):
        return {(layer.kind, size) for layer in architecture.layers for size in _may_write(layer)}
    followed: set[int] = set()
    last = []
    for place in reversed(range(len(architecture.layers))):
        layer = architecture.layers[place]
        if layer.parameters and place not in followed:
            last.append(layer)
        if layer.parameters or place in followed:
            followed.update(layer.inputs)
    return {(layer.kind, size) for layer in last if (size := _writes(layer)) is not None}


def hidden_widths(architecture: Architecture) -> list[int]:
    """Return the numbers of outputs of all linear, convolution and recurrent layers but the last such layer.

    The width of a recurrent layer is its hidden size, also where it is the last. Where the order of layers is not known,
    these are all numbers of outputs that any of them may give.
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
    """Return how many layers with matrices of weights lie on the longest path; norms and vectors do not count."""
    reached: list[int] = []
    for layer in architecture.layers:
        reached.append(max((reached[source] for source in layer.inputs), default=0) + _counts(layer))
    return max(reached)


def layers_of(architecture: Architecture) -> int:
    """Return how many layers with matrices of weights there are, in any order; norms and vectors do not count."""
    return sum(map(_counts, architecture.layers))


def is_unordered(architecture: Architecture) -> bool:
    """Whether the order of several layers says nothing, as nothing but their names and shapes is known."""
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
    """Return how many inputs, channels or words a layer reads; None where that is not known."""
    shape = _shape(layer, "weight", "weight_ih", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind == "embedding" or layer.kind.startswith("conv_transpose"):
        return shape[0]
    groups = layer.attributes.get("groups", 1)
    return shape[1] * groups if _is_map(layer.kind) or layer.kind in (*GATES, "multihead_attention") else None


def _writes(layer: Layer) -> int | None:
    """Return how many outputs or channels a layer writes; None where that is not known."""
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
    """Return the hidden size of a recurrent layer; of any other 0."""
    if layer.kind not in GATES:
        return 0
    return (_shape(layer, "weight_hh") or (0,))[0] // GATES[layer.kind]


def _directions(layer: Layer) -> int:
    return 2 if any(parameter.name.endswith("_reverse") for parameter in layer.parameters) else 1


def _may_read(layer: Layer) -> set[int]:
    """Return all numbers of inputs that a layer may have of which names and shapes alone are known."""
    return _may_have(layer, 1)


def _may_write(layer: Layer) -> set[int]:
    """Return all numbers of outputs that a layer may have of which names and shapes alone are known."""
    return _may_have(layer, 0)


def _may_have(layer: Layer, axis: int) -> set[int]:
    """Return what a layer may read (``axis`` 1) or write (0): a matrix without bias may be stored the other way round."""
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
    if layer.kind.startswith("conv"):  # of which neither its groups nor whether it is transposed are known
        found = {size for shape in shapes for size in _channels(*shape[:2])}
    return found


def _channels(rows: int, columns: int) -> set[int]:
    return {rows, *(columns * groups for groups in range(1, rows + 1) if rows % groups == 0)}

"""The multi-layer perceptron that DWSNet is built for: its weights and biases as sets over hidden axes.

Axis i of a perceptron of L layers is its row of neurons after i linear layers. Axes 1 … L−1 are hidden: their
neurons can be permuted, so weights and biases are sets along them. Axes 0 and L, input and output, are fixed.
"""

from __future__ import annotations

from attrs import frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.errors import PartError
from sneframe.part import Part, Spec

MIN_LAYERS = 3  #: the published layer maps are defined from three layers on

Axes = tuple[int, ...]


@frozen(kw_only=True)
class Member:
    """One weight or bias of the chain.

    Args:
        name: of the parameter.
        role: ``weight`` or ``bias``.
        layer: i, counted from 0; its weight joins the axes i and i + 1, its bias has the axis i + 1.
        hidden: its hidden axes, ascending.
        fixed: the size of its fixed axis, 1 if it has none.
        outside: einops names of the axes of its features in ``WeightFeatures``.
        inside: the same, hidden axes ascending and the fixed axis folded into the channels.
    """

    name: str
    role: str
    layer: int
    hidden: Axes
    fixed: int
    outside: str
    inside: str

    @property
    def label(self) -> str:
        """Its name in the keys of a state dict: ``weight_0``, ``bias_2``."""
        return f"{self.role}_{self.layer}"

    def fold(self, features: Tensor) -> Tensor:
        """Return ``(B, *hidden, fixed · channels)``."""
        return rearrange(features, f"{self.outside} -> {self.inside}")

    def unfold(self, features: Tensor, channels: int) -> Tensor:
        """Return ``(B, channels, out, in)`` or ``(B, channels, out)``: :meth:`fold` backwards."""
        return rearrange(features, f"{self.inside} -> {self.outside}", channels=channels)


def read_chain(part: Part, spec: Spec) -> tuple[Member, ...]:
    """Return the chain's weights, then its biases.

    Args:
        part: that is being built.
        spec: what it will be given.

    Raises:
        PartError: several architectures, or one that is no chain of at least three linear layers with biases.
    """
    architecture = part.one_architecture(spec)
    fault = _fault(architecture)
    if fault is not None:
        raise PartError(
            f"{part.slot} {part.name!r} takes a chain of at least {MIN_LAYERS} linear layers with weight and "
            f"bias, but {fault} in {architecture.summary}; choose a method for any architecture such as "
            f"'sne' or 'stats'"
        )
    last = len(architecture.layers) - 1
    roles = [_roles(layer) for layer in architecture.layers]
    weights = [_weight(named["weight"], number, last) for number, named in enumerate(roles)]
    biases = [_bias(named["bias"], number, last) for number, named in enumerate(roles)]
    return (*weights, *biases)


def _fault(architecture: Architecture) -> str | None:
    """Return why the architecture is no such chain, or None."""
    width = None
    for number, layer in enumerate(architecture.layers):
        if layer.kind != "linear":
            return f"layer {number} is {layer.kind}"
        if layer.inputs != ((number - 1,) if number else ()):
            return f"layer {number} reads layers {list(layer.inputs)}, not the one before it"
        if sorted(parameter.role for parameter in layer.parameters) != ["bias", "weight"]:
            return f"layer {number} has {', '.join(p.role for p in layer.parameters) or 'no parameters'}"
        shape, bias = _roles(layer)["weight"].shape, _roles(layer)["bias"].shape
        if len(shape) != 2 or bias != shape[:1] or width not in (None, shape[1]):
            return f"layer {number} has weight {shape} and bias {bias} behind a layer of width {width}"
        width = shape[0]
    return f"there are {len(architecture.layers)} layers" if len(architecture.layers) < MIN_LAYERS else None


def _roles(layer: Layer) -> dict[str, Parameter]:
    return {parameter.role: parameter for parameter in layer.parameters}


def _weight(parameter: Parameter, layer: int, last: int) -> Member:
    rows, columns = parameter.shape
    hidden: Axes
    if layer == 0:
        hidden, fixed, inside = (1,), columns, "b rows (columns channels)"
    elif layer == last:
        hidden, fixed, inside = (last,), rows, "b columns (rows channels)"
    else:
        hidden, fixed, inside = (layer, layer + 1), 1, "b columns rows channels"
    return Member(
        name=parameter.name,
        role="weight",
        layer=layer,
        hidden=hidden,
        fixed=fixed,
        outside="b channels rows columns",
        inside=inside,
    )


def _bias(parameter: Parameter, layer: int, last: int) -> Member:
    return Member(
        name=parameter.name,
        role="bias",
        layer=layer,
        hidden=() if layer == last else (layer + 1,),
        fixed=parameter.shape[0] if layer == last else 1,
        outside="b channels rows",
        inside="b (rows channels)" if layer == last else "b rows channels",
    )

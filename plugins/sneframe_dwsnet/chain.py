"""The chain of layers that DWSNet is built for: its weights and biases as sets over hidden axes.

Axis i of a chain of L linear or convolution layers is its row of neurons, or of channels, after i of them. Axes 1 … L−1
are hidden: their neurons can be permuted, so weights and biases are sets along them. Axes 0 and L, input and output, are
fixed. Between two neurons a weight has as many entries as the kernel of a convolution, or, behind a flatten, as the map
that a channel was flattened from; a permutation moves them together, so they are channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.errors import PartError
from sneframe.part import Part, Spec

MIN_LAYERS = 3  #: the published layer maps are defined from three layers on
KINDS = ("linear", "conv1d", "conv2d", "conv3d")
PASSED = (
    "flatten",
    "global_average_pool",
    "global_max_pool",
)  #: without parameters, and with nothing to permute

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
        entries: how many weights it has between two neurons: those of a kernel, or the positions of a flattened channel.
        outside: einops names of the axes of its features in ``WeightFeatures``.
        inside: the same, hidden axes ascending and the fixed axis folded into the channels.
    """

    name: str
    role: str
    layer: int
    hidden: Axes
    fixed: int
    entries: int
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
        PartError: several architectures, or one that is no chain of at least three linear or convolution layers with
            biases.
    """
    architecture = part.one_architecture(spec)
    fault = _fault(architecture)
    if fault is not None:
        raise PartError(
            f"{part.slot} {part.name!r} takes a chain of at least {MIN_LAYERS} linear or convolution layers with weight "
            f"and bias, but {fault} in {architecture.summary}; choose a method for any architecture such as "
            f"'sne' or 'stats'"
        )
    roles = [_roles(layer) for layer in architecture.layers if layer.parameters]
    last = len(roles) - 1
    widths = [roles[0]["weight"].shape[1], *(named["weight"].shape[0] for named in roles)]
    weights = [_weight(named["weight"], number, last, widths[number]) for number, named in enumerate(roles)]
    biases = [_bias(named["bias"], number, last) for number, named in enumerate(roles)]
    return (*weights, *biases)


def check_channels(
    part: Part, members: Sequence[Member], tensors: Sequence[Tensor], channels: Sequence[int]
) -> None:
    """Check how many channels features have on each member.

    Raises:
        PartError: other numbers than the part was built for, as from a layer encoder that folds otherwise.
    """
    for member, tensor, wanted in zip(members, tensors, channels, strict=True):
        if tensor.shape[1] != wanted:
            raise PartError(
                f"{part.slot} {part.name!r} takes {wanted} channels on {member.name!r}, it is given {tensor.shape[1]}"
            )


def _fault(architecture: Architecture) -> str | None:
    """Return why the architecture is no such chain, or None."""
    before: Parameter | None = None
    depth = 0
    for number, layer in enumerate(architecture.layers):
        if layer.inputs != ((number - 1,) if number else ()):
            return f"layer {number} ({layer.kind}) reads layers {list(layer.inputs)}, not the one before it"
        if layer.kind in PASSED and not layer.parameters:
            continue
        if layer.kind not in KINDS:
            return f"layer {number} is {layer.kind}"
        if sorted(parameter.role for parameter in layer.parameters) != ["bias", "weight"]:
            return f"layer {number} has {', '.join(p.role for p in layer.parameters) or 'no parameters'}"
        fault = _misfit(layer, number, before)
        if fault is not None:
            return fault
        before, depth = _roles(layer)["weight"], depth + 1
    return f"there are {depth} layers" if depth < MIN_LAYERS else None


def _misfit(layer: Layer, number: int, before: Parameter | None) -> str | None:
    """Return why a layer does not fit behind the weight before it, or None."""
    weight, bias = _roles(layer)["weight"], _roles(layer)["bias"]
    shapes = f"layer {number} has weight {weight.shape} and bias {bias.shape}"
    if len(weight.shape) < 2 or bias.shape != weight.shape[:1]:
        return shapes
    if before is None:
        return None
    width, columns = before.shape[0], weight.shape[1]
    if columns % width:
        return f"{shapes} behind a layer of width {width}"
    positions = columns // width
    if positions > 1 and weight.axes[1] != ((*before.axes[0][0], positions),):
        return f"the {columns} inputs of layer {number} are not known to be {width} channels of {positions} positions each"
    return None


def _roles(layer: Layer) -> dict[str, Parameter]:
    return {parameter.role: parameter for parameter in layer.parameters}


def _weight(parameter: Parameter, layer: int, last: int, columns: int) -> Member:
    rows = parameter.shape[0]
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
        entries=parameter.size // (rows * columns),
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
        entries=1,
        outside="b channels rows",
        inside="b (rows channels)" if layer == last else "b rows channels",
    )

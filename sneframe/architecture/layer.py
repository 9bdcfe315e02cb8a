"""Define the parts of an architecture: layers, parameters, and the neuron groups that act along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from sneframe.errors import ArchitectureError, choices

#: The actions on single neurons, which the trace of a module follows through every operation.
FOLLOWED = ("permute", "scale", "sign")
ACTIONS = (*FOLLOWED, "linear")
#: In ``Layer.inputs``, the first input of the network. The second input is −2, and so on.
INPUT = -1

#: A factor of a segment: a fixed size, or the name of a group.
Factor: TypeAlias = int | str
#: A product of factors, of which the last varies fastest. ``("conv", 9)`` is the group ``conv`` times 9 fixed
#: positions.
Segment: TypeAlias = tuple[Factor, ...]
#: An axis of a parameter: segments that follow each other, as after a concatenation.
Axis: TypeAlias = tuple[Segment, ...]


def _ints(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


def _strings(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class NeuronGroup:
    """A set of neurons that can be moved without changing what the network computes.

    They can be permuted, scaled, flipped, or mixed by any invertible matrix.

    Args:
        name: the name of the group, unique in the architecture.
        size: number of neurons.
        actions: the actions that are allowed, a subset of ``permute``, ``scale`` and ``sign``; or only
            ``linear``, which includes the three others.
        parent: the name of the outer group, if this group acts separately within each element of an outer
            group; otherwise None. For example, the group of the neurons of an attention head is nested in the
            group of heads.
    """

    name: str
    size: int
    actions: tuple[str, ...] = field(default=("permute",), converter=_strings)
    parent: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.size < 1:
            raise ArchitectureError(f"group {self.name!r}: size must be at least 1, but got {self.size}")
        for action in self.actions:
            if action not in ACTIONS:
                raise ArchitectureError(
                    f"group {self.name!r}: unknown action {action!r}, {choices(action, ACTIONS)}"
                )
        if "linear" in self.actions and (len(self.actions) > 1 or self.parent is not None):
            raise ArchitectureError(
                f"group {self.name!r}: linear includes all other actions, so it must be the only one, and "
                f"the group can have no parent"
            )


def _axes(value: Any) -> tuple[Axis, ...]:
    return tuple(tuple(tuple(segment) for segment in axis) for axis in value)


def _powers(value: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(powers) for powers in value)


@frozen(kw_only=True)
class Parameter:
    """One named tensor of a network.

    Args:
        name: the name of the parameter in the state dict.
        shape: the shape of the parameter.
        role: the purpose of the parameter in its layer: ``weight``, ``bias``, ``running_mean``, …
        axes: the segments of each axis. By default, every axis is fixed.
        scale: one power for each segment of each axis. If the neurons of a group are scaled by s, the weights
            along a segment of the group are multiplied by s to the power of the segment. The power is 1 for
            rows, which write the neurons, and −1 for columns, which read the neurons. The tuple is empty if
            all powers are 0.
        sign: the powers for signs, in the same form as ``scale``. Each power is 0 or 1.
        linear: the powers for matrices, in the same form. If the neurons of a group are mixed by G, the
            weights along a segment of the group are multiplied by G if the power is 1 (rows), and by the
            inverse of Gᵀ if it is −1 (columns).
    """

    name: str
    shape: tuple[int, ...] = field(converter=_ints)
    role: str = "weight"
    axes: tuple[Axis, ...] = field(converter=_axes)
    scale: tuple[tuple[int, ...], ...] = field(default=(), converter=_powers)
    sign: tuple[tuple[int, ...], ...] = field(default=(), converter=_powers)
    linear: tuple[tuple[int, ...], ...] = field(default=(), converter=_powers)

    @axes.default
    def _fixed(self) -> tuple[Axis, ...]:
        return tuple(((size,),) for size in self.shape)

    @property
    def powers(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The powers by action: ``scale``, ``sign`` or ``linear``. An action without powers is missing."""
        named = (("scale", self.scale), ("sign", self.sign), ("linear", self.linear))
        return {key: powers for key, powers in named if powers}

    @property
    def size(self) -> int:
        """Number of weights of the parameter."""
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output: the product of all sizes but the first, or 1 for a vector."""
        return math.prod(self.shape[1:])


def _parameters(values: Iterable[Parameter]) -> tuple[Parameter, ...]:
    return tuple(values)


def _attributes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(values)


@frozen(kw_only=True)
class Layer:
    """One layer of a network: an operation with its parameters, and the earlier layers that it reads.

    Args:
        kind: the kind of operation: ``linear``, ``conv2d``, ``global_average_pool``, ``flatten``, …
        parameters: the parameters of the layer, possibly none.
        inputs: what the operation reads, in order: indices of earlier layers, :data:`INPUT` for the first
            input of the network, −2 for the second, and so on. An index may occur twice. If the tuple is
            empty and the operation reads something, it reads the first input of the network.
        activation: the name of the element-wise function after the operation, or ``none``.
        attributes: further settings as JSON values, such as the stride of a convolution.
    """

    kind: str
    parameters: tuple[Parameter, ...] = field(default=(), converter=_parameters)
    inputs: tuple[int, ...] = field(default=(), converter=_ints)
    activation: str = "none"
    attributes: Mapping[str, Any] = field(factory=dict, converter=_attributes, hash=False)

    def renamed(self, name: Callable[[str], str]) -> Layer:
        """Return the layer with other names of parameters, also where attributes name them.

        Args:
            name: returns the new name of a parameter.
        """
        attributes = dict(self.attributes)
        if "tied" in attributes:
            attributes["tied"] = {name(other): name(own) for other, own in attributes["tied"].items()}
        if "uses" in attributes:
            attributes["uses"] = {
                role: name(use) if isinstance(use, str) else {**use, "parameter": name(use["parameter"])}
                for role, use in attributes["uses"].items()
            }
        parameters = [evolve(each, name=name(each.name)) for each in self.parameters]
        return evolve(self, parameters=parameters, attributes=attributes)

    @property
    def earlier(self) -> tuple[int, ...]:
        """The indices of the earlier layers that the operation reads, without the inputs of the network."""
        return tuple(source for source in self.inputs if source >= 0)

"""Describe the structure of a network without its weights, as values that need no torch.

An :class:`Architecture` is a directed acyclic graph of layers. A :class:`Layer` owns parameters, and each
axis of a :class:`Parameter` names the :class:`NeuronGroup` that acts along it. Architectures with equal
content have an equal :attr:`Architecture.id`.

Example: a network with 3 inputs, 8 hidden neurons and 2 outputs has one group ``hidden0`` of size 8. The
weight of its first layer has shape ``(8, 3)`` and the axes ``((("hidden0",),), ((3,),))``: permuting the
group permutes the rows, and the columns are fixed. The weight of its second layer has shape ``(2, 8)`` and
the axes ``(((2,),), (("hidden0",),))``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve, field, frozen

from sneframe.architecture.consistency import check_axes, check_nesting
from sneframe.architecture.layer import INPUT, Layer, NeuronGroup, Parameter
from sneframe.errors import ArchitectureError, choices

if TYPE_CHECKING:
    from torch import Tensor, nn

#: The order in which a linear layer reads the flattened maps of a convolution.
Flatten = Literal["unknown", "channels_first"]
#: Where the groups of an architecture come from, the least reliable origin first.
ORIGINS = ("none", "guessed", "stated", "derived", "verified")


def _layers(values: Iterable[Layer]) -> tuple[Layer, ...]:
    return tuple(values)


def _groups(values: Iterable[NeuronGroup]) -> tuple[NeuronGroup, ...]:
    return tuple(values)


def _shapes(values: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in values)


def _indices(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


@frozen(kw_only=True, eq=False)
class Architecture:
    """The structure of a network: its layers and its neuron groups.

    The neurons of a group can be permuted, and possibly scaled or flipped, without changing what the network
    computes.

    Args:
        layers: the layers in topological order.
        groups: the groups that the axes of the parameters name. A parent comes before the groups nested in
            it.
        symmetry: the origin of the groups. ``verified``: derived from the module, and checked by running it;
            ``derived``: derived from the module only; ``stated``: written down by somebody who knows the
            network, which is the default if there are groups; ``guessed``: guessed from names and shapes;
            ``none``: nothing is known and every axis is fixed, which is the default if there are no groups.
            The origin is not part of the identity: two architectures that differ only in the origin are
            equal.
        input_shapes: the shape of each input tensor of the network, without its first axis, which is that of
            the examples. Empty if the shapes are not recorded, or if a first linear layer tells them.
        outputs: the indices of the layers that the network returns. Empty if they are not recorded. Then the
            output is the only layer that no other layer reads; if there are several, it is not known.

    Raises:
        ArchitectureError: the segments of an axis do not add up to its size, a group is unknown, a name
            occurs twice, a layer reads itself or a later layer, an output is no layer, or the origin of the
            symmetry is unknown.
    """

    layers: tuple[Layer, ...] = field(converter=_layers)
    groups: tuple[NeuronGroup, ...] = field(default=(), converter=_groups)
    symmetry: str = field()
    input_shapes: tuple[tuple[int, ...], ...] = field(default=(), converter=_shapes)
    outputs: tuple[int, ...] = field(default=(), converter=_indices)

    @symmetry.default
    def _stated(self) -> str:
        return "stated" if self.groups else "none"

    def __attrs_post_init__(self) -> None:
        if self.symmetry not in ORIGINS:
            raise ArchitectureError(
                f"unknown symmetry {self.symmetry!r}, {choices(str(self.symmetry), ORIGINS)}"
            )
        if self.groups and self.symmetry == "none":
            raise ArchitectureError("an architecture with groups cannot have the symmetry 'none'")
        sizes: dict[str, int] = {}
        for group in self.groups:
            if group.name in sizes:
                raise ArchitectureError(f"group {group.name!r} is described twice")
            if group.parent is not None and group.parent not in sizes:
                raise ArchitectureError(
                    f"group {group.name!r}: its parent {group.parent!r} must be described before this group"
                )
            sizes[group.name] = group.size
        parents = {group.name: group.parent for group in self.groups if group.parent is not None}
        seen: set[str] = set()
        for index, layer in enumerate(self.layers):
            if not all(source < index for source in layer.inputs):
                raise ArchitectureError(
                    f"layer {index} ({layer.kind}): inputs must be earlier layers, or negative for inputs of "
                    f"the network, but got {layer.inputs}"
                )
            if self.input_shapes and min(layer.inputs, default=INPUT) < -len(self.input_shapes):
                raise ArchitectureError(
                    f"layer {index} ({layer.kind}) reads input {-min(layer.inputs)} of the network, "
                    f"but {len(self.input_shapes)} are described"
                )
            for parameter in layer.parameters:
                if parameter.name in seen:
                    raise ArchitectureError(f"parameter {parameter.name!r} is described twice")
                seen.add(parameter.name)
                check_axes(parameter, sizes)
                check_nesting(parameter, parents)
        if not seen:
            raise ArchitectureError("an architecture needs at least one parameter")
        if not all(0 <= output < len(self.layers) for output in self.outputs):
            raise ArchitectureError(
                f"outputs must be indices of the {len(self.layers)} layers, but got {self.outputs}"
            )

    # -- contents ----------------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order of their weights in the flat weights ``(B, P)`` of B networks."""
        return tuple(parameter for layer in self.layers for parameter in layer.parameters)

    @cached_property
    def layer_of_parameter(self) -> tuple[int, ...]:
        """For each of :attr:`parameters`, the index of its layer."""
        return tuple(index for index, layer in enumerate(self.layers) for _ in layer.parameters)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """For each of :attr:`parameters`, its type ``KIND.ROLE``, such as ``linear.weight``."""
        return tuple(
            f"{layer.kind}.{parameter.role}" for layer in self.layers for parameter in layer.parameters
        )

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """For each of :attr:`parameters`, the position in the flat weights at which the parameter starts."""
        starts, start = [], 0
        for parameter in self.parameters:
            starts.append(start)
            start += parameter.size
        return tuple(starts)

    @cached_property
    def num_weights(self) -> int:
        """P, the number of weights of a network."""
        return sum(parameter.size for parameter in self.parameters)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """For each layer, the number of layers with parameters before it, on the longest path to it."""
        levels: list[int] = []
        for layer in self.layers:
            levels.append(
                max((levels[s] + bool(self.layers[s].parameters) for s in layer.earlier), default=0)
            )
        return tuple(levels)

    @cached_property
    def depth(self) -> int:
        """The number of layers with parameters on the longest path from the input to an output."""
        return 1 + max(
            level for level, layer in zip(self.levels, self.layers, strict=True) if layer.parameters
        )

    @cached_property
    def summary(self) -> str:
        """The layers and the number of weights: ``linear 1×32 · linear 32×1 (97 weights)``."""
        words = [
            f"{layer.kind} {'×'.join(str(n) for n in reversed(layer.parameters[0].shape))}"
            for layer in self.layers
            if layer.parameters
        ]
        return f"{' · '.join(words)} ({self.num_weights} weights)"

    def weakened(self, symmetry: str) -> Architecture:
        """Return this architecture with the origin ``symmetry``, unless its own origin is less reliable."""
        weaker = min(self.symmetry, symmetry, key=ORIGINS.index)
        return self if weaker == self.symmetry else evolve(self, symmetry=weaker)

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Return every parameter by name, as a view ``(B, *shape)`` of the flat weights ``(B, P)``.

        A parameter without axes is returned as ``(B, 1)``.
        """
        pairs = zip(self.parameters, self.offsets, strict=True)
        return {p.name: weights[:, o : o + p.size].unflatten(1, p.shape or (1,)) for p, o in pairs}

    # -- identity ----------------------------------------------------------------------------------------

    @cached_property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of :meth:`canonical`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def canonical(self) -> str:
        """Return the structure as canonical JSON: with sorted keys, no spaces, and no key ``symmetry``."""
        structure = {key: value for key, value in self.to_json().items() if key != "symmetry"}
        return json.dumps(structure, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    # -- conversion --------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as JSON values, in the form that zoos and run folders store.

        The keys ``input_shapes`` and ``outputs`` are left out if they are not recorded.
        """
        return {
            "symmetry": self.symmetry,
            **({"input_shapes": [list(shape) for shape in self.input_shapes]} if self.input_shapes else {}),
            **({"outputs": list(self.outputs)} if self.outputs else {}),
            "groups": [
                {"name": g.name, "size": g.size, "actions": list(g.actions), "parent": g.parent}
                for g in self.groups
            ],
            "layers": [
                {
                    "kind": layer.kind,
                    "inputs": list(layer.inputs),
                    "activation": layer.activation,
                    "attributes": dict(layer.attributes),
                    "parameters": [
                        {
                            "name": p.name,
                            "shape": list(p.shape),
                            "role": p.role,
                            "axes": [[list(segment) for segment in axis] for axis in p.axes],
                            **{key: [list(axis) for axis in powers] for key, powers in p.powers.items()},
                        }
                        for p in layer.parameters
                    ],
                }
                for layer in self.layers
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Architecture:
        """Read an architecture that :meth:`to_json` wrote.

        If the key ``symmetry`` is missing, the origin of the groups is unknown. The symmetry is then
        ``guessed`` if there are groups, else ``none``.

        Raises:
            ArchitectureError: a key is missing or unknown, or the content is inconsistent.
        """
        try:
            return cls(
                symmetry=data.get("symmetry", "guessed" if data["groups"] else "none"),
                input_shapes=data.get("input_shapes", ()),
                outputs=data.get("outputs", ()),
                groups=[NeuronGroup(**group) for group in data["groups"]],
                layers=[
                    Layer(**{**layer, "parameters": [Parameter(**p) for p in layer["parameters"]]})
                    for layer in data["layers"]
                ],
            )
        except KeyError as error:
            raise ArchitectureError(
                f"the JSON of an architecture is incomplete: the key {error} is missing"
            ) from error
        except TypeError as error:
            raise ArchitectureError(f"the JSON does not describe an architecture: {error}") from error

    @classmethod
    def from_module(cls, module: nn.Module, example_input: Any = None) -> Architecture:
        """Derive the architecture of a module by running it once and following every axis of every parameter.

        The trace follows every operation that torch executes, whatever Python code calls it. So it
        understands residual streams, concatenation, attention heads, recurrent gates, normalisation, grouped
        convolution and tied weights. An axis that the trace cannot follow is fixed, and a warning names the
        axis. The origin of the symmetry is ``derived``. :func:`sneframe.symmetry.describe.describe` also
        verifies the symmetry.

        Args:
            module: the module, which is not changed.
            example_input: an input of ``module.forward``: a tensor, a tuple of arguments, or a mapping from
                names to arguments. By default, the function makes up inputs that suit the first layer, and
                uses the first input that the module accepts.

        Raises:
            ArchitectureError: the module has no parameters; a parameter is lazy, complex or on the meta
                device; or the module fails on the example input, or on every made-up input.
        """
        from sneframe.architecture import derive  # imported here, because it imports this module and torch

        return derive.from_module(module, example_input)

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        *,
        activation: str | None = None,
        flatten: Flatten = "unknown",
        trust_names: bool = False,
    ) -> Architecture:
        """Guess the architecture of a network from the names and shapes in its state dict.

        The order of the keys does not matter. A group is described only if names and shapes leave no doubt
        that the layers follow each other. The module :mod:`sneframe.architecture.named_chain` gives the exact
        rule. Otherwise every axis is fixed, and a warning says why. The origin of the symmetry is ``guessed``
        if there are groups, else ``none``.

        Args:
            state: the result of ``module.state_dict()``; tensors of integers and booleans are left out.
            activation: the activation after every layer of the chain but the last, such as ``relu``, or
                ``sine:30`` for sin(30 z). Without an activation, neurons can be permuted, but not scaled or
                flipped, and the network cannot be evaluated.
            flatten: the order in which a linear layer reads the flattened maps of a convolution. With
                ``channels_first``, which is torch's order, the channels of the convolution can be permuted.
                By default, the channels are fixed.
            trust_names: whether to treat the layers as a chain whenever their sizes fit in the order of their
                names. The result can be wrong: networks with branches, skip connections or transposed
                convolutions can have the same names and shapes as a chain.

        Raises:
            ArchitectureError: the state dict has no floating-point tensor, or the activation is unknown.
        """
        from sneframe.architecture import guess  # imported here, because it imports this module and torch

        return guess.from_state_dict(state, activation=activation, flatten=flatten, trust_names=trust_names)

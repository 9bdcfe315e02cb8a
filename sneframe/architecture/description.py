"""The values that describe a network's structure; no weights, no torch.

An :class:`Architecture` is a DAG of :class:`Layer`; a layer owns :class:`Parameter`; each axis of a parameter
says which :class:`NeuronGroup` moves it. Equal content gives an equal :attr:`Architecture.id`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, field, frozen

from sneframe.architecture.consistency import check_axes, check_nesting
from sneframe.errors import ArchitectureError, choices

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sneframe.architecture.guess import Flatten

ACTIONS = ("permute", "scale", "sign")
#: Where the symmetry of a description comes from, the weakest first.
ORIGINS = ("none", "guessed", "stated", "derived", "verified")

#: A fixed size, or the name of a group.
Factor: TypeAlias = int | str
#: A product of factors, the last varying fastest: ``("conv", 9)`` is a group times a fixed 3 × 3.
Segment: TypeAlias = tuple[Factor, ...]
#: Segments that follow each other along one axis, as after a concatenation.
Axis: TypeAlias = tuple[Segment, ...]


def _ints(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


def _strings(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen(kw_only=True)
class NeuronGroup:
    """A set of neurons that can be moved without changing what the network computes.

    Args:
        name: unique in its architecture.
        size: how many neurons.
        actions: what may be done to them, a subset of ``permute``, ``scale`` and ``sign``.
        parent: the group inside each element of which this one acts (the neurons within an attention head).
    """

    name: str
    size: int
    actions: tuple[str, ...] = field(default=("permute",), converter=_strings)
    parent: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.size < 1:
            raise ArchitectureError(f"group {self.name!r}: size must be at least 1, got {self.size}")
        for action in self.actions:
            if action not in ACTIONS:
                raise ArchitectureError(
                    f"group {self.name!r}: unknown action {action!r}, {choices(action, ACTIONS)}"
                )


def _axes(value: Any) -> tuple[Axis, ...]:
    return tuple(tuple(tuple(segment) for segment in axis) for axis in value)


def _powers(value: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(powers) for powers in value)


@frozen(kw_only=True)
class Parameter:
    """One named tensor.

    Args:
        name: as in the state dict.
        shape: its shape.
        role: what it does in its layer: ``weight``, ``bias``, ``running_mean``, …
        axes: for each axis its segments; all fixed where not given.
        scale: for each segment of each axis the power of the scale of its groups that its weights are multiplied by,
            −1 for the columns that read scaled neurons; empty where all are 0.
        sign: the same for signs, 0 or 1.
    """

    name: str
    shape: tuple[int, ...] = field(converter=_ints)
    role: str = "weight"
    axes: tuple[Axis, ...] = field(converter=_axes)
    scale: tuple[tuple[int, ...], ...] = field(default=(), converter=_powers)
    sign: tuple[tuple[int, ...], ...] = field(default=(), converter=_powers)

    @axes.default
    def _fixed(self) -> tuple[Axis, ...]:
        return tuple(((size,),) for size in self.shape)

    @property
    def powers(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The powers under ``scale`` and ``sign``, where there are any."""
        return {key: powers for key, powers in (("scale", self.scale), ("sign", self.sign)) if powers}

    @property
    def size(self) -> int:
        """How many weights it has."""
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """How many inputs one output sums over: all axes but the first; 1 for vectors and scalars."""
        return math.prod(self.shape[1:])


def _parameters(values: Iterable[Parameter]) -> tuple[Parameter, ...]:
    return tuple(values)


def _attributes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(values)


@frozen(kw_only=True)
class Layer:
    """The parameters of one operation, and where its input comes from.

    Args:
        kind: ``linear``, ``conv2d``, ``global_average_pool``, ``flatten``, …
        parameters: its parameters, possibly none.
        inputs: indices of earlier layers; empty for a layer that reads the network's input.
        activation: the name of the element-wise function after it, or ``none``.
        attributes: further JSON values, such as a stride.
    """

    kind: str
    parameters: tuple[Parameter, ...] = field(default=(), converter=_parameters)
    inputs: tuple[int, ...] = field(default=(), converter=_ints)
    activation: str = "none"
    attributes: Mapping[str, Any] = field(factory=dict, converter=_attributes, hash=False)


def _layers(values: Iterable[Layer]) -> tuple[Layer, ...]:
    return tuple(values)


def _groups(values: Iterable[NeuronGroup]) -> tuple[NeuronGroup, ...]:
    return tuple(values)


@frozen(kw_only=True, eq=False)
class Architecture:
    """A network's structure: a DAG of layers in topological order, and the groups that act on it.

    Args:
        layers: in topological order.
        groups: every group that an axis names.
        symmetry: where the groups come from. ``verified``: from the module, and checked by running it; ``derived``: from
            the module alone; ``stated``: written down by somebody who knows the network, the default where there are
            groups; ``guessed``: from names and shapes; ``none``: nothing is known, every axis is fixed, the default
            where there are no groups. It is no part of the identity: two descriptions that differ in it alone are equal.

    Raises:
        ArchitectureError: an axis that does not add up, an unknown group, a parameter named twice, a layer that
            reads a later one, an unknown origin of the symmetry.
    """

    layers: tuple[Layer, ...] = field(converter=_layers)
    groups: tuple[NeuronGroup, ...] = field(default=(), converter=_groups)
    symmetry: str = field()

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
                    f"group {group.name!r}: its parent {group.parent!r} must be described before it"
                )
            sizes[group.name] = group.size
        parents = {group.name: group.parent for group in self.groups if group.parent is not None}
        seen: set[str] = set()
        for index, layer in enumerate(self.layers):
            if not all(0 <= source < index for source in layer.inputs):
                raise ArchitectureError(
                    f"layer {index} ({layer.kind}): inputs must be earlier layers, got {layer.inputs}"
                )
            for parameter in layer.parameters:
                if parameter.name in seen:
                    raise ArchitectureError(f"parameter {parameter.name!r} is described twice")
                seen.add(parameter.name)
                check_axes(parameter, sizes)
                check_nesting(parameter, parents)
        if not seen:
            raise ArchitectureError("an architecture needs at least one parameter")

    # -- what it holds -----------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order in which the flat weights ``(B, P)`` hold them."""
        return tuple(parameter for layer in self.layers for parameter in layer.parameters)

    @cached_property
    def layer_of_parameter(self) -> tuple[int, ...]:
        """For each of :attr:`parameters` the index of its layer."""
        return tuple(index for index, layer in enumerate(self.layers) for _ in layer.parameters)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """For each of :attr:`parameters` its type, ``KIND.ROLE``, such as ``linear.weight``."""
        return tuple(
            f"{layer.kind}.{parameter.role}" for layer in self.layers for parameter in layer.parameters
        )

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """For each of :attr:`parameters` where it starts in the flat weights."""
        starts, start = [], 0
        for parameter in self.parameters:
            starts.append(start)
            start += parameter.size
        return tuple(starts)

    @cached_property
    def num_weights(self) -> int:
        """P, how many weights a network has."""
        return sum(parameter.size for parameter in self.parameters)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """For each layer how many layers with parameters lie before it on the longest path from the input."""
        levels: list[int] = []
        for layer in self.layers:
            levels.append(max((levels[s] + bool(self.layers[s].parameters) for s in layer.inputs), default=0))
        return tuple(levels)

    @cached_property
    def depth(self) -> int:
        """How many layers with parameters lie on the longest path."""
        return 1 + max(
            level for level, layer in zip(self.levels, self.layers, strict=True) if layer.parameters
        )

    @cached_property
    def summary(self) -> str:
        """One line for people: ``linear 1×32 · linear 32×32 · linear 32×1 (1153 weights)``."""
        words = [
            f"{layer.kind} {'×'.join(str(n) for n in reversed(layer.parameters[0].shape))}"
            for layer in self.layers
            if layer.parameters
        ]
        return f"{' · '.join(words)} ({self.num_weights} weights)"

    def weakened(self, symmetry: str) -> Architecture:
        """Return this architecture with the weaker of two origins of its symmetry: its own, and that of an equal one."""
        weaker = min(self.symmetry, symmetry, key=ORIGINS.index)
        return self if weaker == self.symmetry else evolve(self, symmetry=weaker)

    # -- its identity ------------------------------------------------------------------------------------

    @cached_property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of :meth:`canonical`: equal structure, equal id."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def canonical(self) -> str:
        """Return the canonical JSON of the structure: sorted keys, no spaces, without the key ``symmetry``."""
        structure = {key: value for key, value in self.to_json().items() if key != "symmetry"}
        return json.dumps(structure, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    # -- to and from -------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, the form that zoos and run folders store."""
        return {
            "symmetry": self.symmetry,
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
        """Read what :meth:`to_json` wrote.

        Where the key ``symmetry`` is missing nobody says where the groups come from, so they count as guessed.

        Raises:
            ArchitectureError: keys that are missing or unknown, or content that is inconsistent.
        """
        try:
            return cls(
                symmetry=data.get("symmetry", "guessed" if data["groups"] else "none"),
                groups=[NeuronGroup(**group) for group in data["groups"]],
                layers=[
                    Layer(**{**layer, "parameters": [Parameter(**p) for p in layer["parameters"]]})
                    for layer in data["layers"]
                ],
            )
        except (KeyError, TypeError) as error:
            raise ArchitectureError(f"not an architecture: {error}") from error

    @classmethod
    def from_module(cls, module: nn.Module, example_input: Any = None) -> Architecture:
        """Describe a module by running it once, and following what becomes of every axis of every parameter.

        What torch carries out is followed, whatever Python code asks for it: residual streams, concatenation, attention
        heads, recurrent gates, normalisation, grouped convolution, tied weights. An axis that cannot be followed is
        fixed, and named in a warning. The symmetry is ``derived``;
        :func:`sneframe.symmetry.describe.describe` also verifies it.

        Args:
            module: left as it is.
            example_input: what its ``forward`` takes: a tensor, a tuple of arguments, or a mapping by name; not given:
                one is made up for the first layer.

        Raises:
            ArchitectureError: no parameters, an input that the module fails on, or none that could be made up.
        """
        from sneframe.architecture import derive

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
        """Describe a network by the names and shapes of its state dict alone; the order of the keys does not matter.

        A group is claimed only where names and shapes leave no doubt that layers follow each other; the rule stands in
        :mod:`sneframe.architecture.named_chain`. Of anything else every axis is fixed, and a warning says why. The
        symmetry is ``guessed`` where there are groups, else ``none``.

        Args:
            state: as ``module.state_dict()`` gives it; tensors of integers and booleans are left out.
            activation: of every layer of a chain but the last. Only where it is given are neurons scaled or flipped.
            flatten: in which order a linear layer reads the maps of a convolution that are flattened: as
                ``channels_first``, torch's order, its neurons can be moved; by default they are fixed.
            trust_names: take any layers for a chain whose sizes fit in the order of their names, although branches,
                connections around layers and transposed convolutions can look the same.

        Raises:
            ArchitectureError: there is no floating-point tensor.
        """
        from sneframe.architecture import guess

        return guess.from_state_dict(state, activation=activation, flatten=flatten, trust_names=trust_names)

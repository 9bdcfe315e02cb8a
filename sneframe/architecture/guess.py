"""Guess the architecture of a network whose code is missing, from the names and shapes in its state dict.

The kinds of layers follow from names and shapes. Groups are described only for chains that are certain by the
rules in :mod:`sneframe.architecture.named_chain`. For any other network, every axis is fixed and a warning
says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from torch import Tensor

from sneframe.architecture.activation import StatedActivation, stated_activation
from sneframe.architecture.description import Architecture, Flatten
from sneframe.architecture.layer import Axis, Layer, NeuronGroup, Parameter
from sneframe.architecture.low_rank import adapter, is_other_kind, parts_of_modules
from sneframe.architecture.named_chain import (
    ChainDoubt,
    NamedLayer,
    chain_of,
    check_certain,
    entries_of,
    next_to_doubtful,
    unclear_flattening,
)
from sneframe.architecture.operations import role
from sneframe.errors import ArchitectureError

#: Activations that commute with a scale or a sign, so that the neurons before them may be scaled or flipped.
COMMUTING = {"scale": ("relu", "leaky_relu", "none"), "sign": ("tanh", "sine", "erf", "none")}
HINT_MODULE = "--module (Architecture.from_module in Python) derives the groups from the code"
HINT_TRUST = "--trust-names treats the layers as a chain nevertheless"


def from_state_dict(
    state: Mapping[str, Tensor],
    *,
    activation: str | None = None,
    flatten: Flatten = "unknown",
    trust_names: bool = False,
) -> Architecture:
    """Guess an architecture; see :meth:`sneframe.architecture.Architecture.from_state_dict`."""
    stated = stated_activation(activation)
    if (found := adapter_of(state)) is not None:
        return found
    entries = entries_of(state)
    if not entries:
        raise ArchitectureError("the state dict describes no network: it has no floating-point tensors")
    try:
        chain = chain_of(entries)
    except ChainDoubt as doubt:
        warnings.warn(f"{doubt}, so every axis is taken as fixed; {HINT_MODULE}", stacklevel=3)
        return _fixed(entries)
    fixed: dict[int, str] = {}
    if not trust_names:
        try:
            check_certain(chain)
        except ChainDoubt as doubt:
            warnings.warn(
                f"{doubt}, so every axis is taken as fixed; {HINT_MODULE}, and {HINT_TRUST}", stacklevel=3
            )
            return _fixed(entries)
        fixed = next_to_doubtful(chain)
        for reason in dict.fromkeys(fixed.values()):
            warnings.warn(f"{reason}; {HINT_MODULE}, and {HINT_TRUST}", stacklevel=3)
    if flatten == "unknown" and (unclear := unclear_flattening(chain)) is not None:
        warnings.warn(unclear[1], stacklevel=3)
        fixed[unclear[0]] = unclear[1]
    return _described(chain, stated, fixed)


def adapter_of(state: Mapping[str, Tensor]) -> Architecture | None:
    """Return the architecture of a low-rank adapter, or None if the names are not those of one.

    An adapter of another kind, whose matrices look like a chain, has fixed axes.
    """
    floating = {name: value for name, value in state.items() if value.is_floating_point()}
    if is_other_kind(floating):
        warnings.warn("an adapter that is no product of two matrices: every axis is fixed", stacklevel=4)
        return fixed(floating)
    modules = parts_of_modules(floating)
    taken = {name for names in modules.values() for name in names.values()}
    left = {name: value for name, value in floating.items() if name not in taken}
    others = fixed(left).layers if modules and left else ()
    return adapter({name: tuple(value.shape) for name, value in floating.items()}, others)


def fixed(state: Mapping[str, Tensor]) -> Architecture:
    """Return the layers that the names and shapes in a state dict suggest. Every axis is fixed.

    Raises:
        ArchitectureError: the state dict has no floating-point tensors.
    """
    if not (entries := entries_of(state)):
        raise ArchitectureError("the state dict describes no network: it has no floating-point tensors")
    return _fixed(entries)


def _fixed(entries: Sequence[NamedLayer]) -> Architecture:
    """Return the architecture of layers that may not form a chain. Every axis is fixed."""
    layers = []
    for number, entry in enumerate(entries):
        parameters = [
            Parameter(name=entry.name(last), shape=shape, role=role(last, entry.kind))
            for last, shape in entry.shapes.items()
        ]
        inputs = (number - 1,) if number else ()
        layers.append(Layer(kind=entry.kind, parameters=parameters, inputs=inputs, activation="other"))
    return Architecture(layers=layers)


def _described(
    chain: Sequence[NamedLayer], stated: StatedActivation | None, fixed: Mapping[int, str]
) -> Architecture:
    """Return the architecture of a chain, with a group for each hidden layer that is not in ``fixed``.

    Args:
        chain: the layers of the chain.
        stated: the activation after every layer but the last; None if it is unknown.
        fixed: the positions in ``chain`` of the layers whose output neurons are fixed, with the reasons.
    """
    layers: list[Layer] = []
    groups: list[NeuronGroup] = []
    # The activation after a layer is known only if the caller states it.
    activation, attributes = (stated.name, stated.attributes) if stated is not None else ("other", {})
    actions = [action for action, names in COMMUTING.items() if activation in names]
    rows: Axis = ((chain[0].inputs,),)
    for position, entry in enumerate(chain):
        columns = rows
        before, last = chain[position - 1] if position else None, position == len(chain) - 1
        if before is not None and before.kind != "linear" and entry.kind == "linear":
            flat = entry.inputs != before.outputs
            kind, settings = ("flatten", {}) if flat else ("global_average_pool", {"keepdim": False})
            layers.append(Layer(kind=kind, inputs=(len(layers) - 1,), attributes=settings))
            if flat:
                group = rows[0][0]
                columns = (
                    ((group, entry.inputs // before.outputs),)
                    if isinstance(group, str)
                    else ((entry.inputs,),)
                )
        rows = ((entry.outputs,),)
        if not last and position not in fixed:
            # A state dict does not show whether a max-pool follows a convolution. A max-pool commutes with
            # scales, but not with signs.
            kept = [action for action in actions if action != "sign" or entry.kind == "linear"]
            groups.append(
                NeuronGroup(name=f"hidden{len(groups)}", size=entry.outputs, actions=("permute", *kept))
            )
            rows = ((groups[-1].name,),)
        for each in (entry, *entry.norms):
            ends = each is (entry.norms or [entry])[-1]
            parameters = []
            for name, shape in each.shapes.items():
                axes = (rows, columns, *(((size,),) for size in shape[2:]))[: len(shape)]
                # A batch norm removes the scale of its input. So only the weight and bias of the last batch
                # norm can be scaled.
                own = rows if ends and not name.startswith("running") else ()
                powers = {action: _powers(action, shape, own, columns, groups) for action in actions}
                parameters.append(
                    Parameter(name=each.name(name), shape=shape, role=name, axes=axes, **powers)
                )
            follows = ends and not last
            layers.append(
                Layer(
                    kind=each.kind,
                    parameters=parameters,
                    inputs=(len(layers) - 1,) if layers else (),
                    activation=activation if follows else "none",
                    attributes=attributes if follows else {},
                )
            )
    return Architecture(layers=layers, groups=groups, symmetry="guessed" if groups else "none")


def _powers(
    action: str, shape: Sequence[int], rows: Axis, columns: Axis, groups: Sequence[NeuronGroup]
) -> list[list[int]]:
    """Return the power of each axis of a parameter under an action, or an empty list if all powers are 0.

    Args:
        action: ``scale`` or ``sign``.
        shape: the shape of the parameter.
        rows: the axis of the outputs of the parameter.
        columns: the axis of the inputs of the parameter.
        groups: the groups described so far.
    """
    acted = {group.name for group in groups if action in group.actions}
    writes, reads = (int(bool(axis) and axis[0][0] in acted) for axis in (rows, columns))
    powers = [[writes], [reads if action == "sign" else -reads], *([0] for _ in shape[2:])][: len(shape)]
    return powers if any(power for axis in powers for power in axis) else []

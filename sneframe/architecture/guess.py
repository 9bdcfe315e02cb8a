"""Describe a network of which there is no code: kinds of layers from names and shapes, groups where these leave no doubt.

Which chains of layers are certain is said by :mod:`sneframe.architecture.named_chain`. Of anything else every
axis is fixed, and a warning says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from sneframe.architecture.description import Architecture, Axis, Layer, NeuronGroup, Parameter
from sneframe.architecture.named_chain import (
    Doubt,
    Entry,
    beside_doubtful,
    chain_of,
    check_certain,
    entries_of,
    unclear_flattening,
)
from sneframe.architecture.operations import role
from sneframe.errors import ArchitectureError

#: What commutes with the activation, so that the neurons behind it may be scaled or flipped.
KEPT = {"scale": ("relu", "leaky_relu", "none"), "sign": ("tanh", "sine", "erf", "none")}
Flatten = Literal["unknown", "channels_first"]
CODE = "--module (Architecture.from_module in Python) finds the groups from the code"
TRUST = "--trust-names takes the names and shapes at their word"


def from_state_dict(
    state: Mapping[str, Tensor],
    *,
    activation: str | None = None,
    flatten: Flatten = "unknown",
    trust_names: bool = False,
) -> Architecture:
    """See :meth:`sneframe.architecture.Architecture.from_state_dict`."""
    entries = entries_of(state)
    if not entries:
        raise ArchitectureError("a state dict without floating-point tensors describes no network")
    try:
        chain = chain_of(entries)
    except Doubt as doubt:
        warnings.warn(f"{doubt}, so every axis is taken as fixed; {CODE}", stacklevel=3)
        return _fixed(entries)
    fixed: dict[int, str] = {}
    if not trust_names:
        try:
            check_certain(chain)
        except Doubt as doubt:
            warnings.warn(f"{doubt}, so every axis is taken as fixed; {CODE}, {TRUST}", stacklevel=3)
            return _fixed(entries)
        fixed = beside_doubtful(chain)
        for reason in dict.fromkeys(fixed.values()):
            warnings.warn(f"{reason}; {CODE}, {TRUST}", stacklevel=3)
    if flatten == "unknown" and (unclear := unclear_flattening(chain)) is not None:
        warnings.warn(unclear[1], stacklevel=3)
        fixed[unclear[0]] = unclear[1]
    return _described(chain, activation, fixed)


def _fixed(entries: Sequence[Entry]) -> Architecture:
    layers = []
    for number, entry in enumerate(entries):
        parameters = [
            Parameter(name=entry.name(last), shape=shape, role=role(last, entry.kind))
            for last, shape in entry.shapes.items()
        ]
        layers.append(Layer(kind=entry.kind, parameters=parameters, inputs=(number - 1,) if number else ()))
    return Architecture(layers=layers)


def _described(chain: Sequence[Entry], activation: str | None, fixed: Mapping[int, str]) -> Architecture:
    """Describe a chain, with a group for each hidden layer but those at the given places."""
    layers: list[Layer] = []
    groups: list[NeuronGroup] = []
    actions = [action for action, names in KEPT.items() if activation in names]
    rows: Axis = ((chain[0].inputs,),)
    for place, entry in enumerate(chain):
        columns = rows
        before, last = chain[place - 1] if place else None, place == len(chain) - 1
        if before is not None and before.kind != "linear" and entry.kind == "linear":
            flat = entry.inputs != before.outputs
            layers.append(Layer(kind="flatten" if flat else "global_average_pool", inputs=(len(layers) - 1,)))
            if flat:
                group = rows[0][0]
                columns = (
                    ((group, entry.inputs // before.outputs),)
                    if isinstance(group, str)
                    else ((entry.inputs,),)
                )
        rows = ((entry.outputs,),)
        if not last and place not in fixed:
            # A max-pool behind a convolution, which a state dict does not show, keeps scales and no signs.
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
                # A batch norm undoes the scale of what it reads, and brings its own.
                own = rows if ends and not name.startswith("running") else ()
                answers = {action: _answers(action, shape, own, columns, groups) for action in actions}
                parameters.append(
                    Parameter(name=each.name(name), shape=shape, role=name, axes=axes, **answers)
                )
            # What stands behind a layer is known only where somebody says it.
            behind = "none" if last or not ends else activation or "other"
            inputs = (len(layers) - 1,) if layers else ()
            layers.append(Layer(kind=each.kind, parameters=parameters, inputs=inputs, activation=behind))
    return Architecture(layers=layers, groups=groups, symmetry="guessed" if groups else "none")


def _answers(
    action: str, shape: Sequence[int], rows: Axis, columns: Axis, groups: Sequence[NeuronGroup]
) -> list[list[int]]:
    """Return the powers of an action for a parameter that answers to it on these rows and columns; none if there is none."""
    acted = {group.name for group in groups if action in group.actions}
    writes, reads = (int(bool(axis) and axis[0][0] in acted) for axis in (rows, columns))
    powers = [[writes], [reads if action == "sign" else -reads], *([0] for _ in shape[2:])][: len(shape)]
    return powers if any(power for axis in powers for power in axis) else []

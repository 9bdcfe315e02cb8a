"""Describe a network of which there is no code: kinds and order from names and shapes, groups where these leave no doubt.

A plain chain of linear and convolution layers, batch norms between them, has one group per hidden layer. In anything
else (attention, recurrence, branches that would have to be guessed) every axis is fixed, and a warning says why.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import define
from torch import Tensor

from sneframe.architecture.description import Architecture, Axis, Group, Layer, Parameter
from sneframe.architecture.operations import role
from sneframe.errors import ArchitectureError

EMBEDDING = re.compile(r"(^|[._])(\w*emb\w*|wte|wpe)$")
RECURRENT = {4: "lstm", 3: "gru", 1: "rnn"}
#: What commutes with the activation, so that the neurons behind it may be scaled or flipped.
KEPT = {"scale": ("relu", "leaky_relu", "none"), "sign": ("tanh", "sine", "erf", "none")}
Flatten = Literal["unknown", "channels_first"]
CHAIN = ("linear", "conv1d", "conv2d", "conv3d")


@define(eq=False)
class _Entry:
    """The parameters under one name."""

    stem: str
    kind: str
    shapes: dict[str, tuple[int, ...]]

    def name(self, last: str) -> str:
        return f"{self.stem}.{last}" if self.stem else last


def from_state_dict(
    state: Mapping[str, Tensor], *, activation: str = "relu", flatten: Flatten = "unknown"
) -> Architecture:
    """See :meth:`sneframe.architecture.Architecture.from_state_dict`."""
    entries = _entries(state)
    if not entries:
        raise ArchitectureError("a state dict without floating-point tensors describes no network")
    doubt = _doubt(entries)
    if doubt is not None:
        warnings.warn(
            f"{doubt}, so every axis is taken as fixed; the groups are found from the code, by Architecture.from_module, "
            f"--module on the command line",
            stacklevel=3,
        )
        return _fixed(entries)
    return _chain(entries, activation, flatten)


def _entries(state: Mapping[str, Tensor]) -> list[_Entry]:
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, value in state.items():
        if value.is_floating_point():
            stem, _, last = name.rpartition(".")
            shapes.setdefault(stem, {})[last] = tuple(value.shape)
    found: list[_Entry] = []
    for stem, own in shapes.items():
        kind = _kind(stem, own)
        alone = [{last: shape} for last, shape in own.items()] if kind == "parameter" else [own]
        found += [_Entry(stem, kind, part) for part in alone]
    return found


def _kind(stem: str, shapes: Mapping[str, tuple[int, ...]]) -> str:  # noqa: PLR0911  # one line per kind
    """Return what kind of layer has parameters of these names and shapes."""
    if "in_proj_weight" in shapes:
        return "multihead_attention"
    recurrent = next((last for last in shapes if last.startswith("weight_hh")), None)
    if recurrent is not None:
        rows, hidden = shapes[recurrent][:2]
        return RECURRENT.get(rows // hidden, "parameter")
    weight = shapes.get("weight")
    if weight is None or shapes.keys() - {"weight", "bias", "running_mean", "running_var"}:
        return "parameter"
    if len(weight) == 1:
        if "running_mean" in shapes:
            return "batch_norm"
        return "layer_norm" if "bias" in shapes else "rms_norm"
    if len(weight) == 2:
        return "embedding" if "bias" not in shapes and EMBEDDING.search(stem) else "linear"
    return f"conv{len(weight) - 2}d" if len(weight) <= 5 else "parameter"


def _doubt(entries: Sequence[_Entry]) -> str | None:
    """Return why the entries are no plain chain, or None."""
    before: _Entry | None = None
    for entry in entries:
        if entry.kind == "batch_norm" and before is not None:
            if entry.shapes["weight"][0] != before.shapes["weight"][0]:
                return f"{entry.name('weight')!r} does not fit the outputs of {before.name('weight')!r}"
            continue
        if entry.kind not in CHAIN:
            return f"{entry.name(next(iter(entry.shapes)))!r} ({entry.kind.replace('_', ' ')}) stands in no plain chain"
        weight = entry.shapes["weight"]
        if entry.shapes.get("bias", weight[:1]) != weight[:1]:
            return f"{entry.name('bias')!r} has shape {entry.shapes['bias']}, expected {weight[:1]}"
        if before is not None:
            wanted = before.shapes["weight"][0]
            flattens = before.kind != "linear" and entry.kind == "linear"
            if before.kind == "linear" and entry.kind != "linear":
                return f"{entry.name('weight')!r} is a {entry.kind} after a linear layer"
            if weight[1] != wanted and not (flattens and weight[1] % wanted == 0):
                return f"{entry.name('weight')!r} takes {weight[1]} inputs, the layer before it has {wanted} outputs"
        before = entry
    return None if before is not None else "there is no linear or convolution layer"


def _fixed(entries: Sequence[_Entry]) -> Architecture:
    layers = []
    for number, entry in enumerate(entries):
        parameters = [
            Parameter(name=entry.name(last), shape=shape, role=role(last, entry.kind))
            for last, shape in entry.shapes.items()
        ]
        layers.append(Layer(kind=entry.kind, parameters=parameters, inputs=(number - 1,) if number else ()))
    return Architecture(layers=layers)


def _chain(entries: Sequence[_Entry], activation: str, flatten: Flatten) -> Architecture:
    layers: list[Layer] = []
    groups: list[Group] = []
    weighted = [number for number, entry in enumerate(entries) if entry.kind in CHAIN]
    actions = [action for action, names in KEPT.items() if activation in names]
    rows: Axis = ((entries[0].shapes["weight"][1],),)
    columns = rows
    before: _Entry | None = None
    for number, entry in enumerate(entries):
        ends_stage = number + 1 == len(entries) or entries[number + 1].kind in CHAIN
        if entry.kind in CHAIN:
            weight = entry.shapes["weight"]
            columns = rows
            if before is not None and before.kind != "linear" and entry.kind == "linear":
                flat = weight[1] != before.shapes["weight"][0]
                layers.append(
                    Layer(kind="flatten" if flat else "global_average_pool", inputs=(len(layers) - 1,))
                )
                if flat and isinstance(rows[0][0], str):
                    columns = ((rows[0][0], weight[1] // before.shapes["weight"][0]),)
                elif flat:
                    columns = ((weight[1],),)
            rows = ((weight[0],),)
            if number != weighted[-1] and (
                flatten == "channels_first" or _is_known(entry, entries[weighted[weighted.index(number) + 1]])
            ):
                # A max-pool behind a convolution, which a state dict does not show, keeps scales and no signs.
                kept = [action for action in actions if action != "sign" or entry.kind == "linear"]
                groups.append(Group(name=f"hidden{len(groups)}", size=weight[0], actions=("permute", *kept)))
                rows = ((groups[-1].name,),)
            before = entry
        parameters = []
        for last, shape in entry.shapes.items():
            axes = (rows, columns, *(((size,),) for size in shape[2:]))[: len(shape)]
            # A batch norm undoes the scale of what it reads, and brings its own.
            own = ends_stage and not last.startswith("running")
            answers = {
                action: _answers(action, shape, rows if own else (), columns, groups) for action in actions
            }
            parameters.append(Parameter(name=entry.name(last), shape=shape, role=last, axes=axes, **answers))
        layers.append(
            Layer(
                kind=entry.kind,
                parameters=parameters,
                inputs=(len(layers) - 1,) if layers else (),
                activation=activation if ends_stage and number < weighted[-1] else "none",
            )
        )
    return Architecture(layers=layers, groups=groups)


def _answers(
    action: str, shape: Sequence[int], rows: Axis, columns: Axis, groups: Sequence[Group]
) -> list[list[int]]:
    """Return the powers of an action for a parameter that answers to it on these rows and columns; none if there is none."""
    acted = {group.name for group in groups if action in group.actions}
    writes, reads = (int(bool(axis) and axis[0][0] in acted) for axis in (rows, columns))
    powers = [[writes], [reads if action == "sign" else -reads], *([0] for _ in shape[2:])][: len(shape)]
    return powers if any(power for axis in powers for power in axis) else []


def _is_known(entry: _Entry, following: _Entry) -> bool:
    """Whether it is known which inputs of the next layer belong to which output of this one."""
    inputs, outputs = following.shapes["weight"][1], entry.shapes["weight"][0]
    if inputs == outputs:
        return True
    warnings.warn(
        f"{following.name('weight')!r} reads {inputs} inputs from {outputs} channels: whether channels or positions vary "
        f"fastest cannot be read off a state dict, so the neurons of {entry.name('weight')!r} are taken as fixed; "
        f"flatten = channels_first says that it is torch's order",
        stacklevel=5,
    )
    return False

"""Evaluate torch's recurrent layers and cells, for all networks and examples at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sneframe.architecture.evaluate.linear import product
from sneframe.architecture.evaluate.step import Step, refuse
from sneframe.architecture.layer import Layer

#: The number of rows of the weights for each hidden neuron.
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
_SETTINGS = ("num_layers", "bidirectional", "batch_first", "cell")
#: Further attributes that a layer of each kind may have.
SETTINGS = {"lstm": (*_SETTINGS, "proj_size"), "gru": _SETTINGS, "rnn": (*_SETTINGS, "nonlinearity")}
RETURNS = ("sequence", "state", "cell")
NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}

#: Returns the next state and cell ``(B, K, H)``. The arguments are the weighted input and the weighted state,
#: ``(B, K, gates · H)``, the state and the cell.
Cell = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def recurrent(step: Step) -> Tensor:
    """Return what ``returns`` says: the ``sequence``, the last ``state``, or the last ``cell`` of an LSTM.

    The layer reads a sequence, ``(n, K, time, columns)`` if ``batch_first`` and else ``(n, time, K,
    columns)``, and perhaps first states ``(n, levels · directions, K, H)``, which are 0 if not read. The last
    states have this shape too. A ``cell`` computes one step: it reads and returns tensors ``(n, K, …)``.
    """
    if step.get("cell", False):
        return _one_step(step)
    value = step.value
    if value.ndim != 4:
        raise refuse(f"it reads a sequence, but got the shape {tuple(value.shape[1:])}")
    if step["batch_first"]:
        value = value.transpose(1, 2)  # (n, time, K, columns)
    directions = ("", "_reverse") if step["bidirectional"] else ("",)
    states: list[Tensor] = []
    cells: list[Tensor] = []
    for level in range(step["num_layers"]):
        outputs = []
        for direction in directions:
            first = [given[:, len(states)] for given in step.inputs[1:]]
            back = direction == "_reverse"
            sequence, state, cell = _run(
                step, value.flip(1) if back else value, f"_l{level}{direction}", first
            )
            outputs.append(sequence.flip(1) if back else sequence)
            states.append(state)
            cells.append(cell)
        value = torch.cat(outputs, -1)
    if step["returns"] == "sequence":
        return value.transpose(1, 2) if step["batch_first"] else value
    return torch.stack(states if step["returns"] == "state" else cells, 1)


def _one_step(step: Step) -> Tensor:
    """Return the next state of a cell."""
    if step.value.ndim != 3:
        raise refuse(f"it reads one step of a sequence, but got the shape {tuple(step.value.shape[1:])}")
    _, state, cell = _run(step, step.value[:, None], "", list(step.inputs[1:]))
    return state if step["returns"] == "state" else cell


def _run(step: Step, value: Tensor, suffix: str, first: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Run one level in one direction.

    Args:
        step: the layer.
        value: the sequence ``(n, time, K, columns)``.
        suffix: level and direction as in the names of parameters, such as ``_l0_reverse``.
        first: the first state and cell, ``(n, K, H)``; missing ones are 0.

    Returns:
        The states ``(B, time, K, H)``, the last state and the last cell ``(B, K, H)``.
    """
    found = {
        name.removesuffix(suffix): tensor for name, tensor in step.parameters.items() if _at(name, suffix)
    }
    weight, columns = found["weight_hh"], found["weight_ih"].shape[2]
    if value.shape[-1] != columns:
        raise refuse(
            f"it reads {columns} columns, but got {value.shape[-1]} (shape {tuple(value.shape[1:])})"
        )
    given = product(value, found["weight_ih"], found.get("bias_ih"))
    shape = (len(weight), value.shape[2])
    state, cell = (
        first[place].expand(len(weight), -1, -1) if len(first) > place else given.new_zeros(*shape, size)
        for place, size in ((0, weight.shape[2]), (1, step["hidden_size"]))
    )
    kind = step.layer.kind
    advance = _plain(step["nonlinearity"]) if kind == "rnn" else _lstm if kind == "lstm" else _gru
    states = []
    for moment in given.unbind(1):
        state, cell = advance(moment, product(state, weight, found.get("bias_hh")), state, cell)
        if "weight_hr" in found:
            state = product(state, found["weight_hr"], None)
        states.append(state)
    return torch.stack(states, 1), state, cell


def _at(name: str, suffix: str) -> bool:
    """Return whether a parameter belongs to a level and direction."""
    return re.fullmatch(rf"(weight|bias)_(ih|hh|hr){suffix}", name) is not None


def _lstm(given: Tensor, before: Tensor, _state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state and cell of an LSTM."""
    enter, forget, new, leave = (given + before).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _gru(given: Tensor, before: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state of a GRU."""
    (reset, update, new), (reset_, update_, new_) = given.chunk(3, -1), before.chunk(3, -1)
    update = torch.sigmoid(update + update_)
    new = torch.tanh(new + torch.sigmoid(reset + reset_) * new_)
    return (1 - update) * new + update * state, cell


def _plain(nonlinearity: str) -> Cell:
    """Return the function that computes the next state of a plain recurrent layer."""
    function = NONLINEARITIES[nonlinearity]

    def advance(given: Tensor, before: Tensor, _state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        return function(given + before), cell

    return advance


def recurrent_lacks(layer: Layer) -> Iterator[str]:
    """Yield which settings or parameters of a recurrent layer are missing or not understood."""
    attributes = layer.attributes
    if attributes.get("cell", False):
        suffixes = [""]
    else:
        for need in ("num_layers", "bidirectional", "batch_first"):
            if need not in attributes:
                yield f"its attribute {need!r} is not known"
        directions = ("", "_reverse") if attributes["bidirectional"] else ("",)
        suffixes = [f"_l{level}{d}" for level in range(attributes["num_layers"]) for d in directions]
    if attributes["returns"] not in RETURNS or (layer.kind != "lstm" and attributes["returns"] == "cell"):
        yield (
            f"its attribute 'returns' must be one of {', '.join(RETURNS)}, but is {attributes['returns']!r}"
        )
    if layer.kind == "rnn" and attributes.get("nonlinearity") not in NONLINEARITIES:
        yield f"its nonlinearity must be tanh or relu, but is {attributes.get('nonlinearity')!r}"
    if layer.kind == "lstm" and len(layer.inputs) == 2:
        yield "it must read both first states or none, but reads one"
    yield from _parameters_lack(layer, suffixes)


def _parameters_lack(layer: Layer, suffixes: Sequence[str]) -> Iterator[str]:
    """Yield which parameter of a recurrent layer is missing, not expected, or of a shape that does not fit.

    Args:
        layer: the layer.
        suffixes: its levels and directions as in the names of parameters, such as ``_l0_reverse``.
    """
    attributes = layer.attributes
    shapes = {p.name.rpartition(".")[2]: p.shape for p in layer.parameters}
    roles = {*shapes, *attributes.get("uses", {})}
    for suffix in suffixes:
        for role in ("weight_ih", "weight_hh", *(["weight_hr"] if "proj_size" in attributes else [])):
            if role + suffix not in roles:
                yield f"it has no parameter {role + suffix!r}"
    if unknown := sorted(name for name in roles if not any(_at(name, suffix) for suffix in suffixes)):
        yield f"it has a parameter {unknown[0]!r}, which it is not evaluated with"
    rows = GATES[layer.kind] * attributes["hidden_size"]
    for name, shape in shapes.items():
        if "_hr" not in name and shape[0] != rows:
            yield f"its {name} must have {rows} rows, but has the shape {shape}"

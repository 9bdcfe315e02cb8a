"""Functions of single elements: axes of the same place are the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.description import ACTIONS
from sneframe.architecture.digit import Dim, take
from sneframe.architecture.rules.dims import (
    Dims,
    aligned,
    fix_all,
    fixed_dim,
    is_trivial,
    joined,
    mark,
    summed,
)
from sneframe.architecture.space import Clash

SAME = {"clone", "alias", "detach", "_to_copy", "contiguous", "lift_fresh", "positive"}
#: f(s x) = s f(x): for s > 0, and for s = −1.
POSITIVE = {"relu", "leaky_relu", "abs", "_prelu_kernel", "rrelu_with_noise"}
ODD = {
    "tanh",
    "sin",
    "erf",
    "asinh",
    "atan",
    "sinh",
    "tan",
    "asin",
    "atanh",
    "hardshrink",
    "softshrink",
    "sign",
}
SUMS = {"add", "sub", "rsub"}


def elementwise(call: Call) -> list[Dims]:
    """Broadcast: axes of the same place are the same. What scale and sign become, the function decides."""
    values = [value for value in call.inputs if value.ndim or id(value) in call.labels]
    shape = call.outputs[0].shape if call.outputs else ()
    found: Dims = {}
    for action in ACTIONS:
        each = [aligned(call.dims(value, action), len(shape)) for value in values]
        if call.name == "_prelu_kernel" and action != "permute":  # its slopes stay as they are
            fix_all(each.pop())
            values = values[:1]
        if action == "permute" or _keeps(call, action, values, each):
            if action == "permute":
                found[action] = joined(each)
            else:
                found[action] = _factor(each) if call.name in ("mul", "div") else summed(each)
                mark(call, values, action, 1)
        else:
            for dims in each:
                fix_all(dims)
            found[action] = [fixed_dim(size, action) for size in shape]
    # What else is returned, such as what log_sigmoid keeps for its gradient, nobody reads on the way forward.
    return [found if output.shape == shape else _unread(output) for output in call.outputs]


def _unread(output: Tensor) -> Dims:
    return {action: [fixed_dim(size, action) for size in output.shape] for action in ACTIONS}


def _keeps(call: Call, action: str, values: Sequence[Tensor], each: Sequence[Sequence[Dim]]) -> bool:
    """Whether the action on the inputs is the same action on the output."""
    name = call.name
    numbers = [arg for arg in call.args[1:] if isinstance(arg, int | float) and not isinstance(arg, bool)]
    if name in SAME or name in ("neg", "copy"):
        return call.outputs[0].is_floating_point()
    if name in SUMS:
        return all(not _is_other(arg, values) or not bool(arg) for arg in call.args[:2])
    if name == "mul":
        return len(each) == 1 or sum(not is_trivial(dims) for dims in each) <= 1
    if name == "div":
        dividend, divisor = call.args[:2]
        exact = call.argument(2, "rounding_mode") is None and not _is_other(dividend, values)
        return exact and (_is_other(divisor, values) or is_trivial(each[1]))
    if action == "scale":
        lowest = [call.argument(1, "min"), call.argument(2, "max")]
        return name in POSITIVE or (name in ("clamp", "clamp_min") and lowest in ([0, None], [0.0, None]))
    symmetric = name in ("hardtanh", "clamp") and len(numbers) == 2 and numbers[0] == -numbers[1]
    return name in ODD or symmetric


def _is_other(argument: object, values: Sequence[Tensor]) -> bool:
    """Whether an argument is a number, or a constant tensor without axes."""
    return not any(argument is value for value in values)


def _factor(each: Sequence[list[Dim]]) -> list[Dim]:
    """Return the axes of a product, scale and sign being those of the one factor on which they are not trivial."""
    ordered = sorted(each, key=is_trivial)
    return [next((dim for dim in place if dim), ()) for place in zip(*ordered, strict=True)]


def fill(call: Call) -> list[Dims]:
    """A tensor is overwritten by one number, which any permutation leaves as it is."""
    value = call.inputs[0]
    number = 0 if call.name == "zero" else call.argument(1, "value")
    found: Dims = {}
    for action in ACTIONS:
        dims = call.dims(value, action)
        if action != "permute" and bool(number):
            fix_all(dims)
        found[action] = dims
    return [found]


def mask(call: Call) -> list[Dims]:
    """``x[mask] = number`` with a mask of the shape of x: element by element."""
    value, indices, new = call.args[:3]
    given = [index for index in indices if index is not None]
    if len(given) != 1 or given[0].dtype != torch.bool or given[0].ndim != value.ndim or new.numel() != 1:
        raise Clash
    if new.ndim and id(new) in call.labels:
        raise Clash
    found: Dims = {}
    for action in ACTIONS:
        each = [call.dims(value, action), call.dims(given[0], action)]
        if action == "permute":
            found[action] = joined(each)
        else:
            for dims in each:
                fix_all(dims)
            found[action] = each[0]
    return [found]


def glu(call: Call) -> list[Dims]:
    """One half of an axis is gated by the other."""
    axis = call.argument(1, "dim", -1) % call.inputs[0].ndim
    half = call.outputs[0].shape[axis]
    found: Dims = {}
    for action in ACTIONS:
        dims = call.dims(call.inputs[0], action)
        value, gate = take(dims, axis, 0, half), take(dims, axis, half, half)
        if action == "permute":
            value = joined([value, gate])
        else:
            fix_all(gate)
        found[action] = value
    return [found]

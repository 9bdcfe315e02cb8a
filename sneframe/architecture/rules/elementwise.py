"""Define the rules of operations that work element by element.

The inputs and outputs of such an operation have the same axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Dim, take
from sneframe.architecture.layer import FOLLOWED
from sneframe.architecture.rules.dims import (
    Dims,
    aligned,
    are_fixed,
    fix_all,
    fixed_dim,
    joined,
    set_power_of_parameters,
    summed,
)
from sneframe.architecture.space import Clash

SAME = {"clone", "alias", "detach", "_to_copy", "contiguous", "lift_fresh", "positive"}
#: Functions with f(s x) = s f(x): ``POSITIVE`` for s > 0, ``ODD`` for s = −1.
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
    """Trace element-wise operations: unify the axes of all inputs, after broadcasting.

    Scale and sign pass through only if the operation commutes with them. Otherwise all axes are fixed under
    scale and sign.
    """
    values = [value for value in call.inputs if value.ndim or id(value) in call.labels]
    shape = call.outputs[0].shape if call.outputs else ()
    result: Dims = {}
    for action in FOLLOWED:
        each = [aligned(call.dims(value, action), len(shape)) for value in values]
        if call.name == "_prelu_kernel" and action != "permute":  # the slopes of a PReLU are not scaled
            fix_all(each.pop())
            values = values[:1]
        if action == "permute" or _keeps(call, action, values, each):
            if action == "permute":
                result[action] = joined(each)
            else:
                result[action] = _factor(each) if call.name in ("mul", "div") else summed(each)
                set_power_of_parameters(call, values, action, 1)
        else:
            for dims in each:
                fix_all(dims)
            result[action] = [fixed_dim(size, action) for size in shape]
    # Further outputs, such as the buffer that log_sigmoid keeps for its gradient, are not read in a forward
    # pass.
    return [result if output.shape == shape else _unread(output) for output in call.outputs]


def _unread(output: Tensor) -> Dims:
    """Return fixed axes for an output that no forward pass reads."""
    return {action: [fixed_dim(size, action) for size in output.shape] for action in FOLLOWED}


def _keeps(call: Call, action: str, values: Sequence[Tensor], each: Sequence[Sequence[Dim]]) -> bool:
    """Whether scaling or flipping the inputs has the same effect as scaling or flipping the output."""
    name = call.name
    numbers = [arg for arg in call.args[1:] if isinstance(arg, int | float) and not isinstance(arg, bool)]
    if name in SAME or name in ("neg", "copy"):
        return call.outputs[0].is_floating_point()
    if name in SUMS:
        return all(not _is_other(arg, values) or not bool(arg) for arg in call.args[:2])
    if name == "mul":
        return len(each) == 1 or sum(not are_fixed(dims) for dims in each) <= 1
    if name == "div":
        dividend, divisor = call.args[:2]
        exact = call.argument(2, "rounding_mode") is None and not _is_other(dividend, values)
        return exact and (_is_other(divisor, values) or are_fixed(each[1]))
    if action == "scale":
        lowest = [call.argument(1, "min"), call.argument(2, "max")]
        return name in POSITIVE or (name in ("clamp", "clamp_min") and lowest in ([0, None], [0.0, None]))
    symmetric = name in ("hardtanh", "clamp") and len(numbers) == 2 and numbers[0] == -numbers[1]
    return name in ODD or symmetric


def _is_other(argument: object, values: Sequence[Tensor]) -> bool:
    """Whether an argument is a number or a constant of one element, and is thus not one of ``values``."""
    return not any(argument is value for value in values)


def _factor(each: Sequence[list[Dim]]) -> list[Dim]:
    """Return the axes of a product under scale or sign: the axes of the one factor that is not fixed."""
    ordered = sorted(each, key=are_fixed)
    return [next((dim for dim in axes if dim), ()) for axes in zip(*ordered, strict=True)]


def fill(call: Call) -> list[Dims]:
    """Trace ``fill`` and ``zero``: fix scales and signs unless the new value is 0."""
    value = call.inputs[0]
    number = 0 if call.name == "zero" else call.argument(1, "value")
    result: Dims = {}
    for action in FOLLOWED:
        dims = call.dims(value, action)
        if action != "permute" and bool(number):
            fix_all(dims)
        result[action] = dims
    return [result]


def mask(call: Call) -> list[Dims]:
    """Trace ``x[mask] = number``: unify the axes of the mask with the axes of ``x``.

    Raises:
        Clash: the mask does not have the shape of ``x``, or the new value is not a single number.
    """
    value, indices, new = call.args[:3]
    given = [index for index in indices if index is not None]
    if len(given) != 1 or given[0].dtype != torch.bool or given[0].ndim != value.ndim or new.numel() != 1:
        raise Clash
    if new.ndim and id(new) in call.labels:
        raise Clash
    result: Dims = {}
    for action in FOLLOWED:
        each = [call.dims(value, action), call.dims(given[0], action)]
        if action == "permute":
            result[action] = joined(each)
        else:
            for dims in each:
                fix_all(dims)
            result[action] = each[0]
    return [result]


def glu(call: Call) -> list[Dims]:
    """Trace ``glu``: unify the two halves of an axis.

    ``glu`` multiplies the first half by the sigmoid of the second half.
    """
    axis = call.argument(1, "dim", -1) % call.inputs[0].ndim
    half = call.outputs[0].shape[axis]
    result: Dims = {}
    for action in FOLLOWED:
        dims = call.dims(call.inputs[0], action)
        value, gate = take(dims, axis, 0, half), take(dims, axis, half, half)
        if action == "permute":
            value = joined([value, gate])
        else:
            fix_all(gate)
        result[action] = value
    return [result]

"""Record element-wise operations: sums, products, and functions of one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.recording.node import Record

if TYPE_CHECKING:
    from sneframe.architecture.recording import Recorder

SELU = 1.0507009873554805  #: torch computes selu by calling elu with this scale
SELU_ALPHA = 1.6732632423543772
SOFTPLUS = ((1, "beta", 1.0), (2, "threshold", 20.0))  #: position, name and default of torch's arguments
#: Activations without settings, by the name of torch's operation.
PLAIN = {
    **{name: name for name in ("relu", "silu", "mish", "tanh", "sigmoid", "hardswish", "hardsigmoid", "erf")},
    "sin": "sine",
    "cos": "cosine",
}
#: Other functions of one tensor, which become layers of the kind ``function``.
FUNCTIONS = (
    *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cosh", "erfc", "exp", "exp2"),
    *("expm1", "floor", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sign"),
    *("sinh", "sqrt", "tan", "trunc"),
)


def add(recorder: Recorder, call: Call) -> int:
    """Record ``a + alpha b`` and ``a - alpha b``. Numbers become ``factor`` and ``shift``."""
    first, second = call.args[:2]
    if call.name == "rsub":
        first, second = second, first
    alpha = float(call.argument(2, "alpha", 1))
    by = alpha if call.name == "add" else -alpha
    if (number := recorder.number(second)) is not None:
        return recorder.affine(first, 1.0, by * number)
    if (number := recorder.number(first)) is not None:
        return recorder.affine(second, by, number)
    if by not in (1.0, -1.0):
        return recorder.add("add", [recorder.of(first), recorder.affine(second, by, 0.0)])
    return recorder.add("add" if by == 1.0 else "subtract", [recorder.of(first), recorder.of(second)])


def multiply(recorder: Recorder, call: Call) -> int:
    """Record products and quotients. A number becomes a ``factor``."""
    first, second = call.args[:2]
    if call.kwargs.get("rounding_mode") is not None:
        return recorder.unknown(call)
    if call.name == "mul" and recorder.number(first) is not None:
        first, second = second, first
    if (number := recorder.number(second)) is not None:
        return recorder.affine(first, number if call.name == "mul" else 1.0 / number, 0.0)
    if (number := recorder.number(first)) is not None:
        inverse = recorder.add("function", [recorder.of(second)], function="reciprocal")
        return recorder.affine(inverse, number, 0.0)
    kind = "multiply" if call.name == "mul" else "divide"
    return recorder.add(kind, [recorder.of(first), recorder.of(second)])


def same(recorder: Recorder, call: Call) -> int:
    """Record a copy: the value does not change, unless its type changes to whole numbers."""
    if call.outputs[0].is_floating_point() == call.inputs[0].is_floating_point():
        return recorder.of(call.args[0])
    return recorder.unknown(call)


def plain(recorder: Recorder, call: Call) -> int:
    """Record an activation without settings."""
    return recorder.activation(PLAIN[call.name], call.args[0])


def gelu(recorder: Recorder, call: Call) -> int:
    """Record GELU, in its exact or its approximate form."""
    form = call.kwargs.get("approximate", "none")
    return recorder.activation("gelu", call.args[0], **({} if form == "none" else {"approximate": form}))


def leaky_relu(recorder: Recorder, call: Call) -> int:
    """Record a leaky ReLU with its slope."""
    slope = float(call.argument(1, "negative_slope", 0.01))
    return recorder.activation("leaky_relu", call.args[0], negative_slope=slope)


def random_leaky_relu(recorder: Recorder, call: Call) -> int:
    """Record a randomised leaky ReLU, which has the mean slope in evaluation mode."""
    lower, upper = call.argument(2, "lower", 1 / 8), call.argument(3, "upper", 1 / 3)
    return recorder.activation("leaky_relu", call.args[0], negative_slope=(lower + upper) / 2)


def elu(recorder: Recorder, call: Call) -> int:
    """Record ELU, SELU and CELU."""
    alpha, scale, inner = (
        float(call.argument(n, name, 1.0)) for n, name in enumerate(("alpha", "scale", "input_scale"), 1)
    )
    if (alpha, scale, inner) == (SELU_ALPHA, SELU, 1.0):
        return recorder.activation("selu", call.args[0])
    if scale != 1.0 or inner != 1.0:
        return recorder.unknown(call)
    return recorder.activation("elu", call.args[0], **({} if alpha == 1.0 else {"alpha": alpha}))


def celu(recorder: Recorder, call: Call) -> int:
    """Record CELU: max(0, x) + min(0, α (exp(x / α) − 1))."""
    alpha = float(call.argument(1, "alpha", 1.0))
    if alpha == 1.0:
        return recorder.activation("elu", call.args[0])
    return recorder.unknown(call)


def softplus(recorder: Recorder, call: Call) -> int:
    """Record softplus with its settings."""
    beta, threshold = (float(call.argument(n, name, usual)) for n, name, usual in SOFTPLUS)
    usual = (beta, threshold) == (1.0, 20.0)
    return recorder.activation(
        "softplus", call.args[0], **({} if usual else {"beta": beta, "threshold": threshold})
    )


def bounded(recorder: Recorder, call: Call) -> int:
    """Record an activation that cuts values off, such as ReLU6 and ``clamp``."""
    low, high = call.argument(1, "min"), call.argument(2, "max")
    if call.name == "hardtanh":
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if call.name == "clamp_min":
        high = None
    if call.name == "clamp_max":
        low, high = None, low
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return recorder.unknown(call)
    if high is None and low == 0:
        return recorder.activation("relu", call.args[0])
    if low is not None and high is not None:
        return recorder.activation("hardtanh", call.args[0], min=float(low), max=float(high))
    bounds = {name: float(value) for name, value in (("min", low), ("max", high)) if value is not None}
    return recorder.add("function", [recorder.of(call.args[0])], function="clamp", **bounds)


def glu(recorder: Recorder, call: Call) -> int:
    """Record a gated linear unit with the axis that it halves."""
    return recorder.activation("glu", call.args[0], axis=int(call.argument(1, "dim", -1)))


def prelu(recorder: Recorder, call: Call) -> int:
    """Record PReLU. Its slopes were reshaped so that they lie along the channels."""
    slopes = recorder.of(call.args[1])
    return recorder.add("prelu", [recorder.of(call.args[0])], roles={"weight": recorder.unshaped(slopes)})


def log_sigmoid(recorder: Recorder, call: Call) -> int:
    """Record the logarithm of a sigmoid: −softplus(−x)."""
    inner = recorder.add("activation", [recorder.affine(call.args[0], -1.0, 0.0)], activation="softplus")
    return recorder.add("affine", [inner], factor=-1.0)


def function(recorder: Recorder, call: Call) -> int:
    """Record any other function of one tensor."""
    return recorder.add("function", [recorder.of(call.args[0])], function=call.name)


def power(recorder: Recorder, call: Call) -> int:
    """Record a power with a number as its exponent."""
    exponent = recorder.number(call.argument(1, "exponent"))
    if exponent is None or not isinstance(call.args[0], Tensor):
        return recorder.unknown(call)
    return recorder.add("function", [recorder.of(call.args[0])], function="pow", exponent=exponent)


def masked_fill(recorder: Recorder, call: Call) -> int:
    """Record ``masked_fill`` with a number, for a mask that does not depend on the network's input."""
    value = recorder.number(call.argument(2, "value"))
    if value is None:
        return recorder.unknown(call)
    inputs = [recorder.of(call.args[0]), recorder.of(call.args[1])]
    return recorder.add("masked_fill", inputs, value=json_number(value))


def where(recorder: Recorder, call: Call) -> int:
    """Record ``where`` as a masked fill, if one of its branches is a number."""
    condition, yes, no = call.args[:3]
    number = recorder.number(yes)
    if number is None:
        return recorder.unknown(call)
    inputs = [recorder.of(no), recorder.of(condition)]
    return recorder.add("masked_fill", inputs, value=json_number(number))


def json_number(value: float) -> Any:
    """Return a number as a JSON value. JSON has no infinity, so an infinity becomes a string."""
    number = float(value)
    return number if abs(number) != float("inf") and number == number else str(number)


RECORDS: Mapping[str, Record] = {
    **dict.fromkeys(("add", "sub", "rsub"), add),
    **dict.fromkeys(("mul", "div"), multiply),
    **dict.fromkeys(("clone", "alias", "detach", "_to_copy", "contiguous", "lift_fresh", "positive"), same),
    **dict.fromkeys(PLAIN, plain),
    **dict.fromkeys(FUNCTIONS, function),
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min", "clamp_max"), bounded),
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "rrelu_with_noise": random_leaky_relu,
    "elu": elu,
    "celu": celu,
    "softplus": softplus,
    "glu": glu,
    "_prelu_kernel": prelu,
    "log_sigmoid_forward": log_sigmoid,
    "pow": power,
    "masked_fill": masked_fill,
    "where": where,
}

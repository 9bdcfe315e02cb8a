"""Evaluate element-wise operations, products of values, and operations along an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce

import torch
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, aligned, number, own_axis, refuse
from sneframe.architecture.layer import Layer

#: Element-wise operations of two values.
BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
}
#: Element-wise functions of one value without settings, by torch's names.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    name: getattr(torch, name)
    for name in (
        *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cosh", "erfc", "exp", "exp2"),
        *("expm1", "floor", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sign"),
        *("sinh", "sqrt", "square", "tan", "trunc"),
    )
}


#: Comparisons of one value with a number, by torch's names. The result is a mask.
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def combined(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Step], Tensor]:
    """Return the operation that combines all values of a step from left to right."""

    def compute(step: Step) -> Tensor:
        return reduce(function, aligned(step.inputs))

    return compute


def identity(step: Step) -> Tensor:
    """Return the value itself: the layer has only a factor, a shift or an activation."""
    return step.value


def function(step: Step) -> Tensor:
    """Return a function of each element."""
    name = step["function"]
    if name == "pow":
        return step.value ** number(step["exponent"])
    if name == "clamp":
        low, high = (None if step.get(key) is None else number(step[key]) for key in ("min", "max"))
        return step.value.clamp(low, high)
    if name in COMPARISONS:
        mask: Tensor = getattr(torch, name)(step.value, number(step["value"]))
        return mask
    return FUNCTIONS[name](step.value)


def function_lacks(layer: Layer) -> Iterator[str]:
    """Yield which setting of a function is missing or not understood."""
    name, attributes = layer.attributes["function"], layer.attributes
    if name not in (*FUNCTIONS, *COMPARISONS, "pow", "clamp"):
        yield f"its function {name!r} is not one that can be evaluated"
    if name in COMPARISONS and "value" not in attributes:
        yield "its attribute 'value' is not known"
    if name == "pow" and "exponent" not in attributes:
        yield "its attribute 'exponent' is not known"
    if name == "clamp" and "min" not in attributes and "max" not in attributes:
        yield "neither of its attributes 'min' and 'max' is known"


def parameter(step: Step) -> Tensor:
    """Combine a parameter with the value that the layer reads, or return the parameter ``(B, *shape)``."""
    (own,) = step.parameters.values()
    operation = step["operation"]
    if operation == "value":
        return own
    first, second = aligned((step.value, own))
    if step.get("reversed", False):
        first, second = second, first
    return BINARY[operation](first, second)


def parameter_lacks(layer: Layer) -> Iterator[str]:
    """Yield what a layer of one parameter lacks."""
    operation = layer.attributes["operation"]
    if operation not in (*BINARY, "value"):
        yield f"its operation must be value, {', '.join(BINARY)}, but is {operation!r}"
    if operation == "value" and layer.inputs:
        yield f"it gives a parameter and must read nothing, but reads {list(layer.inputs)}"
    uses = layer.attributes.get("uses", {})
    named = {use if isinstance(use, str) else use.get("parameter") for use in uses.values()}
    count = len(uses) + sum(p.name not in named for p in layer.parameters)
    if count != 1:
        yield f"it must have one parameter, but has {count}"


def matmul(step: Step) -> Tensor:
    """Return the matrix products of two values, as ``torch.matmul`` of one network does."""
    first, second = step.inputs
    rows, columns = first.ndim == 2, second.ndim == 2  # vectors, in a network's own axes
    if min(first.ndim, second.ndim) < 2:
        raise refuse("it multiplies matrices, but got a single number")
    first = first[:, None] if rows else first
    second = second[..., None] if columns else second
    result = torch.matmul(*aligned((first, second)))
    result = result.squeeze(-2) if rows else result
    return result.squeeze(-1) if columns else result


def masked_fill(step: Step) -> Tensor:
    """Replace the elements where the second value, a mask, is true."""
    value, mask = aligned(step.inputs)
    return torch.where(mask.bool(), torch.full_like(value[:1], number(step["value"])), value)


def _axes(step: Step) -> tuple[int, ...]:
    return tuple(own_axis(axis) for axis in step["axes"])


def mean(step: Step) -> Tensor:
    """Return the mean over axes."""
    return step.value.mean(_axes(step), keepdim=step["keepdim"])


def total(step: Step) -> Tensor:
    """Return the sum over axes."""
    return step.value.sum(_axes(step), keepdim=step["keepdim"])


def largest(step: Step) -> Tensor:
    """Return the maximum over axes."""
    return step.value.amax(_axes(step), keepdim=step["keepdim"])


def smallest(step: Step) -> Tensor:
    """Return the minimum over axes."""
    return step.value.amin(_axes(step), keepdim=step["keepdim"])


def variance(step: Step) -> Tensor:
    """Return the variance over axes; the sum is divided by the number of elements less ``correction``."""
    return step.value.var(_axes(step), correction=step["correction"], keepdim=step["keepdim"])


def norm(step: Step) -> Tensor:
    """Return the norm of the order ``ord`` of the vectors along axes."""
    result: Tensor = torch.linalg.vector_norm(
        step.value, number(step["ord"]), _axes(step), keepdim=step["keepdim"]
    )
    return result


def running_sum(step: Step) -> Tensor:
    """Return the sums of all elements up to each element along ``axis``."""
    return step.value.cumsum(own_axis(step["axis"]))


def softmax(step: Step) -> Tensor:
    """Return the softmax along ``axis``."""
    return torch.softmax(step.value, own_axis(step["axis"]))


def log_softmax(step: Step) -> Tensor:
    """Return the logarithm of the softmax along ``axis``."""
    return torch.log_softmax(step.value, own_axis(step["axis"]))

"""Compute the operations of ONNX with torch.

An operation raises ``UnsupportedOnnxError`` for a form of inputs or attributes that it cannot compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe_formats.onnx_inputs import (
    DTYPES,
    Attributes,
    Inputs,
    Operation,
    UnsupportedOnnxError,
    axis_of,
    ints,
    maybe,
    need,
    number,
)
from sneframe_formats.onnx_rearrange import REARRANGE
from sneframe_formats.onnx_windows import WINDOWS

# -- element by element --------------------------------------------------------------------------------------


def _pair(function: Callable[[Any, Any], Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    def operation(inputs: Inputs, _: Attributes) -> Tensor:
        return function(need(inputs, 0), need(inputs, 1))

    return operation


def _one(function: Callable[[Tensor], Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    def operation(inputs: Inputs, _: Attributes) -> Tensor:
        return function(need(inputs, 0))

    return operation


def div(inputs: Inputs, _: Attributes) -> Tensor:
    """Divide. The quotient of integers is rounded towards zero."""
    a, b = need(inputs, 0), need(inputs, 1)
    both = isinstance(a, Tensor) and isinstance(b, Tensor)
    if both and not a.is_floating_point() and not b.is_floating_point():
        return torch.div(a, b, rounding_mode="trunc")
    return a / b


def clip(inputs: Inputs, given: Attributes) -> Tensor:
    """Limit values to a range."""
    low, high = number(maybe(inputs, 1)), number(maybe(inputs, 2))
    low, high = given.get("min", low), given.get("max", high)
    x = need(inputs, 0)
    if low == 0 and high is None:
        return F.relu(x)
    if low is None and high is None:
        return x
    if low is not None and high is not None and x.is_floating_point():
        return F.hardtanh(x, low, high) if low <= high else torch.full_like(x, high)
    return x.clamp(low, high)


def hard_sigmoid(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute max(0, min(1, αx + β))."""
    x, alpha, beta = need(inputs, 0), given.get("alpha", 0.2), given.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return (x * alpha + beta).clamp(0, 1)


def selu(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute selu. With other factors than torch's, it is computed from elu."""
    x = need(inputs, 0)
    alpha, gamma = given.get("alpha", 1.67326319), given.get("gamma", 1.05070102)
    if abs(alpha - 1.67326319) < 1e-5 and abs(gamma - 1.05070102) < 1e-5:
        return F.selu(x)
    return F.elu(x, alpha) * gamma


def gelu(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute gelu, either exactly or by its approximation with tanh."""
    return F.gelu(need(inputs, 0), approximate=given.get("approximate", "none"))


def softmax(function: Callable[..., Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    """Return the operation for torch's softmax or log-softmax.

    Before opset 13, the operation normalised over all axes from ``axis`` on together.
    """

    def operation(inputs: Inputs, given: Attributes) -> Tensor:
        x = need(inputs, 0)
        if given["opset"] >= 13:
            return function(x, dim=given.get("axis", -1))
        axis = axis_of(given.get("axis", 1), x.ndim)
        if axis == x.ndim - 1:
            return function(x, dim=axis)
        flat = x.reshape(prod(x.shape[:axis]), -1)
        return function(flat, dim=1).reshape(x.shape)

    return operation


def prelu(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute prelu, whose slopes broadcast to the input. Torch's prelu has one slope, or one per channel.

    If the attribute ``axes`` is given, there is a slope for each channel. Its value is the number of axes
    that the slopes had in the file.
    """
    x, slope = need(inputs, 0), need(inputs, 1)
    if given.get("axes", x.ndim - 1) != x.ndim - 1:
        raise UnsupportedOnnxError("the slopes are along another axis than the channels")
    last = slope.ndim == 1 and x.ndim == 2 and slope.shape[0] == x.shape[1]
    if slope.numel() == 1 or last or "axes" in given:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, x * slope, x)


def cast(inputs: Inputs, given: Attributes) -> Tensor:
    """Convert to another type. If ``wide`` is given, it is used instead of float32."""
    dtype = DTYPES.get(given.get("to", 0))
    if dtype is None:
        raise UnsupportedOnnxError("the type to convert to is not supported")
    if dtype == torch.float32 and given.get("wide") is not None:
        dtype = given["wide"]
    return need(inputs, 0).to(dtype)


def dropout(inputs: Inputs, _: Attributes) -> Tensor:
    """Return the input, because dropout has no effect outside of training."""
    mode = number(maybe(inputs, 2))
    if mode:
        raise UnsupportedOnnxError("training mode is not supported")
    return need(inputs, 0)


# -- products and norms --------------------------------------------------------------------------------------


def linear(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute a linear layer. The reader writes ``Linear`` for matrix products with weights."""
    x, weight, bias = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    weight = weight.t() if given.get("turn") else weight
    alpha, beta = given.get("alpha", 1), given.get("beta", 1)
    if alpha == 1 and beta == 1:
        return F.linear(x, weight, bias)
    found = F.linear(x, weight) * alpha
    return found if bias is None else found + bias * beta


def gemm(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute αAB + βC, where A and B may be transposed."""
    a, b, c = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    found = (a.t() if given.get("transA") else a) @ (b.t() if given.get("transB") else b)
    if given.get("alpha", 1) != 1:
        found = found * given["alpha"]
    if c is None:
        return found
    return found + (c * given["beta"] if given.get("beta", 1) != 1 else c)


def einsum(inputs: Inputs, given: Attributes) -> Tensor:
    """Compute an einsum."""
    return torch.einsum(given["equation"], *[need(inputs, at) for at in range(len(inputs))])


def batch_norm(inputs: Inputs, given: Attributes) -> Tensor:
    """Normalise each channel by the running mean and variance."""
    x, weight, bias, mean, var = (need(inputs, at) for at in range(5))
    if given.get("training_mode") or not given.get("spatial", 1):
        raise UnsupportedOnnxError("training mode, and norms that are not by channel, are not supported")
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, given.get("epsilon", 1e-5))


def layer_norm(inputs: Inputs, given: Attributes) -> Tensor:
    """Normalise over the axes from ``axis`` to the last."""
    x, weight, bias = need(inputs, 0), need(inputs, 1), maybe(inputs, 2)
    shape, epsilon = x.shape[axis_of(given.get("axis", -1), x.ndim) :], given.get("epsilon", 1e-5)
    if weight.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, weight, bias, epsilon)
    found = F.layer_norm(x, shape, None, None, epsilon) * weight
    return found if bias is None else found + bias


def instance_norm(inputs: Inputs, given: Attributes) -> Tensor:
    """Normalise each channel of each example."""
    x, weight, bias = (need(inputs, at) for at in range(3))
    return F.instance_norm(x, weight=weight, bias=bias, eps=given.get("epsilon", 1e-5))


def group_norm(inputs: Inputs, given: Attributes) -> Tensor:
    """Normalise groups of channels. Before opset 21, each group had a single weight and bias."""
    x, weight, bias = (need(inputs, at) for at in range(3))
    groups = given["num_groups"]
    if weight.numel() == x.shape[1]:
        return F.group_norm(x, groups, weight, bias, given.get("epsilon", 1e-5))
    weight, bias = (each.repeat_interleave(x.shape[1] // groups) for each in (weight, bias))
    return F.group_norm(x, groups, weight, bias, given.get("epsilon", 1e-5))


# -- reductions ----------------------------------------------------------------------------------------------


def reduce(function: Callable[..., Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    """Return the operation that reduces axes by a torch function."""

    def operation(inputs: Inputs, given: Attributes) -> Tensor:
        x, axes = need(inputs, 0), ints(inputs, 1, given, "axes")
        if not axes:
            if given.get("noop_with_empty_axes"):
                return x
            axes = list(range(x.ndim))
        return function(x, dim=axes, keepdim=bool(given.get("keepdims", 1)))

    return operation


def global_pool(function: Callable[..., Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    """Return the operation that reduces all axes after the channels by a torch function."""

    def operation(inputs: Inputs, _: Attributes) -> Tensor:
        x = need(inputs, 0)
        return function(x, dim=list(range(2, x.ndim)), keepdim=True)

    return operation


OPERATIONS: Mapping[str, Operation] = {
    "Add": _pair(lambda a, b: a + b),
    "Sub": _pair(lambda a, b: a - b),
    "Mul": _pair(lambda a, b: a * b),
    "Div": div,
    "Pow": _pair(torch.pow),
    "Equal": _pair(torch.eq),
    "Greater": _pair(torch.gt),
    "GreaterOrEqual": _pair(torch.ge),
    "Less": _pair(torch.lt),
    "LessOrEqual": _pair(torch.le),
    "And": _pair(torch.logical_and),
    "Or": _pair(torch.logical_or),
    "Not": _one(torch.logical_not),
    "Abs": _one(torch.abs),
    "Floor": _one(torch.floor),
    "Ceil": _one(torch.ceil),
    "Mod": lambda i, a: (torch.fmod if a.get("fmod") else torch.remainder)(need(i, 0), need(i, 1)),
    "Mish": _one(F.mish),
    "Neg": _one(torch.neg),
    "Sqrt": _one(torch.sqrt),
    "Reciprocal": _one(torch.reciprocal),
    "Exp": _one(torch.exp),
    "Log": _one(torch.log),
    "Relu": _one(F.relu),
    "Tanh": _one(torch.tanh),
    "Sigmoid": _one(torch.sigmoid),
    "HardSwish": _one(F.hardswish),
    "Softplus": _one(F.softplus),
    "Softsign": _one(F.softsign),
    "Sin": _one(torch.sin),
    "Cos": _one(torch.cos),
    "Erf": _one(torch.erf),
    "Identity": _one(lambda x: x),
    "LeakyRelu": lambda i, a: F.leaky_relu(need(i, 0), a.get("alpha", 0.01)),
    "Elu": lambda i, a: F.elu(need(i, 0), a.get("alpha", 1.0)),
    "Celu": lambda i, a: F.celu(need(i, 0), a.get("alpha", 1.0)),
    "Selu": selu,
    "Gelu": gelu,
    "PRelu": prelu,
    "HardSigmoid": hard_sigmoid,
    "Clip": clip,
    "Cast": cast,
    "Dropout": dropout,
    "Where": lambda i, _: torch.where(need(i, 0), need(i, 1), need(i, 2)),
    "Softmax": softmax(F.softmax),
    "LogSoftmax": softmax(F.log_softmax),
    "Linear": linear,
    "Gemm": gemm,
    "MatMul": _pair(torch.matmul),
    "Einsum": einsum,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "ReduceMean": reduce(torch.mean),
    "ReduceSum": reduce(torch.sum),
    "ReduceMax": reduce(torch.amax),
    "ReduceMin": reduce(torch.amin),
    "ReduceL2": reduce(torch.linalg.vector_norm),
    "GlobalAveragePool": global_pool(torch.mean),
    "GlobalMaxPool": global_pool(torch.amax),
    **WINDOWS,
    **REARRANGE,
}

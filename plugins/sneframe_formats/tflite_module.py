"""Build the torch module that computes a TFLite graph.

The channels are the last axis between operators, as in TFLite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, final

import torch
import torch.nn.functional as F
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.errors import ArchitectureError
from sneframe_formats.tflite_graph import Operator, TfliteConstant, TfliteGraph
from sneframe_formats.tflite_weights import ROLES, Weights

LARGEST = 1 << 27  #: largest number of values of a tensor that an operator computes
WIDEST = 1 << 12  #: largest number of positions of a padding
Pads = tuple[int, int, int, int]  #: left, right, top, bottom

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "relu_n1_to_1": F.hardtanh,
    "relu6": F.relu6,
    "tanh": torch.tanh,
}
#: Operators that are functions of one tensor, without options.
PLAIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "RELU": torch.relu,
    "RELU6": F.relu6,
    "TANH": torch.tanh,
    "LOGISTIC": torch.sigmoid,
    "ELU": F.elu,
    "HARD_SWISH": F.hardswish,
}


class UnsupportedOperatorError(Exception):
    """An operator or a graph cannot be computed. The message names what is not supported."""


@frozen
class TfliteStep:
    """An operator that the module computes.

    Args:
        name: the name of the operator.
        inputs: the numbers of the input tensors, without weights and constants.
        output: the number of the tensor that the operator computes.
        weight: the name of the kernel, or an empty string.
        bias: the name of the bias, or an empty string.
        settings: the options of the operator. Two entries are added: ``shape`` is the shape of the result
            without the batch, and ``constant`` has the constant integers that the operator reads.
    """

    name: str
    inputs: tuple[int, ...]
    output: int
    weight: str
    bias: str
    settings: Mapping[str, Any]


def steps_of(
    graph: TfliteGraph, weights: Weights, constants: Mapping[int, tuple[int, ...]]
) -> tuple[TfliteStep, ...]:
    """Return the steps that compute a graph.

    Args:
        graph: the graph.
        weights: the weights of the graph.
        constants: the values of the short integer constants, by the numbers of the tensors.

    Raises:
        UnsupportedOperatorError: an operator cannot be computed, or the graph has several inputs or outputs.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedOperatorError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
    known, steps = {graph.inputs[0]}, []
    for each in graph.operators:
        if each.name == "DEQUANTIZE" and each.outputs and each.outputs[0] in weights.sources:
            continue
        step = _step(each, graph, weights, constants)
        if not known.issuperset(step.inputs) or step.output in known:
            raise UnsupportedOperatorError(f"operator {each.name} out of order")
        known.add(step.output)
        steps.append(step)
    if graph.outputs[0] not in known:
        raise UnsupportedOperatorError("output that no operator computes")
    return tuple(steps)


def _step(
    operator: Operator, graph: TfliteGraph, weights: Weights, constants: Mapping[int, tuple[int, ...]]
) -> TfliteStep:
    """Return the step of an operator. Raise an error if its result would differ from that of TFLite."""
    name, roles = operator.name, ROLES.get(operator.name, {})
    given = [(n, position) for position, n in enumerate(operator.inputs) if n >= 0]
    names = {"weight": "", "bias": ""}
    inputs = []
    for number, position in given:
        weight = weights.of(number)
        if weight is None and not graph.tensors[number].constant:
            inputs.append(number)
        elif position in roles:
            if weight is None or (weight.role, weight.operator) != (roles[position], name):
                raise UnsupportedOperatorError(f"operator {name} with a {roles[position]} of another kind")
            names[roles[position]] = weight.name
        elif not (name in ("RESHAPE", "MEAN", "PAD") and position == 1):
            raise UnsupportedOperatorError(f"operator {name} with a constant")
    if len(operator.outputs) != 1 or operator.outputs[0] < 0 or len(inputs) != (2 if name == "ADD" else 1):
        raise UnsupportedOperatorError(f"operator {name} with {len(inputs)} inputs")
    before, after = [graph.tensors[n] for n in inputs], graph.tensors[operator.outputs[0]]
    settings = dict(operator.options)
    constant = constants.get(operator.inputs[-1], ())
    if not _computed(operator, before, after, constant, names["weight"]):
        raise UnsupportedOperatorError(f"operator {name}")
    if settings.get("activation", "none") not in ACTIVATIONS:
        raise UnsupportedOperatorError(f"operator {name} with the activation {settings['activation']}")
    settings |= {"shape": after.shape[1:], "constant": constant}
    return TfliteStep(name, tuple(inputs), operator.outputs[0], names["weight"], names["bias"], settings)


def _computed(  # noqa: PLR0911  # one line per operator
    operator: Operator,
    before: Sequence[TfliteConstant],
    after: TfliteConstant,
    axes: tuple[int, ...],
    weight: str,
) -> bool:
    """Return whether an operator with these inputs and options can be computed."""
    options, shape = operator.options, before[0].shape
    if any(each.kind != "FLOAT32" for each in (*before, after)) or not shape:
        return False
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"):
        sizes = [v for name, v in options.items() if name not in ("padding", "activation")]
        pools = operator.name.endswith("POOL_2D")
        return (
            len(shape) == 4
            and min(sizes) > 0
            and bool(pools or weight)
            and options["padding"] in ("same", "valid")
        )
    match operator.name:
        case "FULLY_CONNECTED":
            return bool(weight) and options["format"] == 0 and len(shape) >= 2
        case "RESHAPE":
            same = bool(after.shape) and after.shape[0] == shape[0]
            return same and min(*shape, *after.shape) > 0 and prod(after.shape) == prod(shape)
        case "MEAN":
            return len(shape) == 4 and sorted(axis % 4 for axis in axes) == [1, 2]
        case "PAD":
            outside = (*axes[:2], *axes[6:])
            return len(shape) == 4 and len(axes) == 8 and min(axes) >= 0 and not any(outside)
        case "ADD":
            return len({each.shape for each in before}) == 1
        case "SOFTMAX":
            return bool(options["beta"] == 1)
    return operator.name in (*PLAIN, "LEAKY_RELU")


@final
class TfliteModule(nn.Module):
    """Computes a TFLite graph.

    Args:
        steps: the operators in the order in which they run.
        source: the number of the input tensor of the network.
        result: the number of the output tensor of the network.
        tensors: the weights by name.
    """

    def __init__(
        self, steps: Sequence[TfliteStep], source: int, result: int, tensors: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            stem, _, last = name.rpartition(".")
            if stem not in self._modules:
                self.add_module(stem, nn.Module())
            # The network computes in float32, so float16 constants are converted.
            self.get_submodule(stem).register_parameter(last, nn.Parameter(tensor.float().contiguous()))
        self._steps = [
            (each.name, each.inputs, each.output, each.weight, each.bias, dict(each.settings))
            for each in steps
        ]
        self._source, self._result = source, result

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output of the network."""
        values = {self._source: x}
        for name, inputs, output, weight, bias, settings in self._steps:
            own = [self.get_parameter(each) if each else None for each in (weight, bias)]
            found = _compute(name, [values[n] for n in inputs], own[0], own[1], settings)
            values[output] = ACTIVATIONS[settings.get("activation", "none")](found)
        return values[self._result]


def _compute(  # noqa: PLR0911  # one line per operator
    name: str, inputs: Sequence[Tensor], weight: Tensor | None, bias: Tensor | None, given: Mapping[str, Any]
) -> Tensor:
    """Compute one operator without the activation that follows it."""
    x = inputs[0]
    if name in PLAIN:
        return PLAIN[name](x)
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        assert weight is not None
        return _convolution(x, weight, bias, given, depthwise=name.startswith("DEPTHWISE"))
    match name:
        case "FULLY_CONNECTED":
            assert weight is not None
            return _linear(x, weight, bias, given)
        case "MAX_POOL_2D" | "AVERAGE_POOL_2D":
            return _pooled(x, given, largest=name.startswith("MAX"))
        case "RESHAPE":
            return x.reshape(len(x), *given["shape"])
        case "MEAN":
            return x.mean((1, 2), keepdim=bool(given["keep_axes"]))
        case "PAD":
            top, bottom, left, right = given["constant"][2:6]
            if max(top, bottom, left, right) > WIDEST:
                raise ArchitectureError("a padding is too wide to be computed")
            return F.pad(x, (0, 0, left, right, top, bottom))
        case "ADD":
            return x + inputs[1]
        case "SOFTMAX":
            return x.softmax(-1)
        case "LEAKY_RELU":
            return F.leaky_relu(x, given["alpha"])
    raise ArchitectureError(f"the operator {name} is not computed")


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, given: Mapping[str, Any]) -> Tensor:
    if x.ndim > 2 and not given["keep_axes"]:
        if prod(x.shape[1:]) != weight.shape[1]:
            raise ArchitectureError(f"FULLY_CONNECTED reads an input of shape {tuple(x.shape)}")
        x = x.flatten(1)
    _limit(x.numel() // max(1, x.shape[-1]) * len(weight))
    return F.linear(x, weight, bias)


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, given: Mapping[str, Any], *, depthwise: bool
) -> Tensor:
    maps = rearrange(x, "b h w c -> b c h w")
    steps = (int(given["dilation_h"]), int(given["dilation_w"]))
    strides, (height, width) = _strides(given), weight.shape[2:]
    pads = _pads(maps, (height, width), strides, steps, given["padding"])
    channels = maps.shape[1]
    groups = channels if depthwise else channels // max(1, weight.shape[1])
    _limit(maps.numel() // max(1, channels) * len(weight))
    if pads[0] == pads[1] and pads[2] == pads[3]:
        found = F.conv2d(maps, weight, bias, strides, (pads[2], pads[0]), steps, groups)
    else:
        found = F.conv2d(F.pad(maps, pads), weight, bias, strides, 0, steps, groups)
    return rearrange(found, "b c h w -> b h w c")


def _pooled(x: Tensor, given: Mapping[str, Any], *, largest: bool) -> Tensor:
    """Pool a tensor. Padding is never the maximum, and is not counted in a mean."""
    maps, strides = rearrange(x, "b h w c -> b c h w"), _strides(given)
    size = (int(given["height"]), int(given["width"]))
    pads = _pads(maps, size, strides, (1, 1), given["padding"])
    even, pad = pads[0] == pads[1] and pads[2] == pads[3], (pads[2], pads[0])
    if largest and even:
        found = F.max_pool2d(maps, size, strides, pad)
    elif largest:
        found = F.max_pool2d(F.pad(maps, pads, value=float("-inf")), size, strides)
    elif even:
        found = F.avg_pool2d(maps, size, strides, pad, count_include_pad=False)
    else:
        ones = F.pad(torch.ones_like(maps[:1, :1]), pads)
        found = F.avg_pool2d(F.pad(maps, pads), size, strides) / F.avg_pool2d(ones, size, strides)
    return rearrange(found, "b c h w -> b h w c")


def _strides(given: Mapping[str, Any]) -> tuple[int, int]:
    return int(given["stride_h"]), int(given["stride_w"])


def _pads(
    maps: Tensor, kernel: tuple[int, int], strides: tuple[int, int], steps: tuple[int, int], padding: str
) -> Pads:
    """Return the paddings left, right, top and bottom. An odd total is larger at the right and the bottom."""
    found: list[int] = []
    for size, k, stride, step in zip(maps.shape[2:], kernel, strides, steps, strict=True):
        total = (
            max(0, (-(-size // stride) - 1) * stride + (k - 1) * step + 1 - size) if padding == "same" else 0
        )
        if total > WIDEST:
            raise ArchitectureError(f"a padding of {total} positions is too wide to be computed")
        found += [total // 2, total - total // 2]
    return found[2], found[3], found[0], found[1]


def _limit(number: int) -> None:
    if number > LARGEST:
        raise ArchitectureError(f"a tensor of {number} values is too large to be computed")

"""Name the weights of a TFLite graph after its operators, and change their axes to torch's order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import final

from attrs import field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.errors import FileError
from sneframe_formats.tflite_graph import FLOATS, Operator, TfliteGraph

#: The roles of the inputs of operators, by position. Input n without an entry has the role ``input{n}``.
ROLES: Mapping[str, Mapping[int, str]] = {
    "FULLY_CONNECTED": {1: "weight", 2: "bias"},
    "CONV_2D": {1: "weight", 2: "bias"},
    "DEPTHWISE_CONV_2D": {1: "weight", 2: "bias"},
    "TRANSPOSE_CONV": {1: "weight", 3: "bias"},
}
#: The order of the axes of a kernel in TFLite and in torch, as einops writes it, by operator.
KERNELS = {
    "FULLY_CONNECTED": "o i -> o i",
    "CONV_2D": "o h w i -> o i h w",
    "DEPTHWISE_CONV_2D": "1 h w o -> o 1 h w",
    "TRANSPOSE_CONV": "o h w i -> i o h w",
}


@final
@frozen
class Weight:
    """A float constant that an operator reads.

    Args:
        name: the name of the parameter.
        number: the number of the tensor in the graph.
        operator: the name of the operator that reads the tensor first.
        role: the role of the tensor for this operator: ``weight``, ``bias``, or a name such as ``input1``.
    """

    name: str
    number: int
    operator: str
    role: str

    def in_torch_order(self, tensor: Tensor) -> Tensor:
        """Return the values of the tensor with torch's order of axes.

        Raises:
            FileError: the kernel does not have the axes that the operator expects. The message does not
                contain the path.
        """
        if self.role != "weight":
            return tensor
        order = KERNELS[self.operator]
        if tensor.ndim != len(order.partition(" -> ")[0].split()) or (
            order[0] == "1" and tensor.shape[0] != 1
        ):
            raise FileError(f"the kernel of {self.operator} has the wrong shape {tuple(tensor.shape)}")
        return rearrange(tensor, order)


@final
@frozen
class Weights:
    """The weights of a graph.

    Args:
        named: the weights by the numbers of their stored tensors, in the order in which operators read them.
        sources: the number of the stored tensor, by the number of the tensor to which it is converted in
            float32.
    """

    named: Mapping[int, Weight]
    sources: Mapping[int, int] = field(factory=dict)

    def of(self, number: int) -> Weight | None:
        """Return the weight for the number of a tensor, or None if the tensor is not a weight."""
        return self.named.get(self.sources.get(number, number))


def weights_of(graph: TfliteGraph) -> Weights:
    """Name the float constants that the operators read: ``conv_2d_0.weight``, ``fully_connected_1.bias``.

    The number in a name counts the operators that have weights.

    Raises:
        FileError: weights are quantised or sparse. The message does not contain the path.
    """
    sources = {
        each.outputs[0]: each.inputs[0]
        for each in graph.operators
        if each.name == "DEQUANTIZE" and _converts(graph, each)
    }
    named: dict[int, Weight] = {}
    layers = 0
    for operator in graph.operators:
        if operator.name == "DEQUANTIZE" and operator.outputs and operator.outputs[0] in sources:
            continue
        stem = f"{re.sub(r'[^a-z0-9]+', '_', operator.name.lower())}_{layers}"
        new = {}
        for position, given in enumerate(operator.inputs):
            number = sources.get(given, given)
            role = ROLES.get(operator.name, {}).get(position, f"input{position}")
            if number >= 0 and _is_weight(graph, number, role) and number not in named:
                new[number] = Weight(f"{stem}.{role}", number, operator.name, role)
        layers += bool(new)
        named |= new
    return Weights(named, sources)


def _converts(graph: TfliteGraph, operator: Operator) -> bool:
    """Return whether an operator only converts a stored float tensor, such as float16, to float32."""
    if (
        len(operator.inputs) != 1
        or len(operator.outputs) != 1
        or min(*operator.inputs, *operator.outputs) < 0
    ):
        return False
    stored = graph.tensors[operator.inputs[0]]
    return stored.constant and stored.kind in FLOATS


def _is_weight(graph: TfliteGraph, number: int, role: str) -> bool:
    """Return whether a tensor is a float constant. Raise an error if it is quantised or sparse."""
    stored = graph.tensors[number]
    if not stored.constant:
        return False
    if stored.sparse:
        raise FileError(f"{stored.name!r} is sparse, and sparse weights are not read")
    if stored.quantised or (role == "weight" and stored.kind not in FLOATS):
        raise FileError(
            f"{stored.name!r} is quantised ({stored.kind}), and quantised weights are not read; "
            f"convert the network without quantisation"
        )
    return stored.kind in FLOATS

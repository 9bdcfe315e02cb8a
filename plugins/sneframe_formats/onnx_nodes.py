"""Read the nodes and tensors of an ONNX model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from sneframe.errors import FileError
from sneframe_formats.onnx_names import own_name, scope_of
from sneframe_formats.onnx_tensors import FLOATS, Tensors

#: Matches operations whose inputs are quantised weights if they are integers of one byte.
QUANTISED = re.compile(r"Dequantize|QLinear|Integer$|NBits|QAttention|QGemm|DynamicQuantize")
STANDARD = ("", "ai.onnx")  #: names of the domain of the standard operations
SCOPES = "pkg.torch.onnx.name_scopes"  #: the metadata key of a node with the paths of its modules
STRING = 8  #: the type of tensors of strings, which are left out
#: The field with the value of an attribute, by the number of the type of the attribute.
FIELDS = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}


@frozen(kw_only=True)
class OnnxStep:
    """One operation.

    Args:
        op: the name of the operation in ONNX, or ``Linear``.
        inputs: the names of the values that the operation reads, with an empty string for an input that is
            not given.
        outputs: the names of the values that the operation computes.
        attributes: the attributes, as plain values.
        scope: the path of the module to which the operation belongs.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(factory=dict)
    scope: str = ""


@frozen(kw_only=True)
class Input:
    """An input of the graph.

    Args:
        name: the name of the input.
        kind: the number of its type in ONNX.
        shape: the size of each axis, or None if the model states no shape. Instead of a size, a symbolic axis
            has its name, or None without a name.
    """

    name: str
    kind: int
    shape: tuple[int | str | None, ...] | None


@final
class Nodes:
    """The nodes and tensors of a graph.

    Args:
        model: the message ``ModelProto``.
        path: the path of the model, for errors and for tensors in other files.

    Attributes:
        values: the initialisers and constants by name.
        given: the names of the initialisers among ``values``.
        alias: the values that equal a tensor of ``values`` or its transpose. Each has the name of that
            tensor, and whether the value is the transpose.
        steps: the operations.
        nested: the names and values of weights in graphs inside nodes, such as the branches of an ``If``.
        inputs: the inputs of the graph.
        outputs: the names of the outputs of the graph.
        opset: the version of ONNX's set of operations.
        fault: why the graph cannot be computed, or an empty string.

    Raises:
        FileError: the graph is damaged, or its weights are quantised.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self.path, self._proto, self._tensors = path, model.graph, Tensors(path)
        self.opset = max((each.version for each in model.opset_import if each.domain in STANDARD), default=0)
        self.values: dict[str, Tensor] = {}
        self.given: set[str] = set()
        self.alias: dict[str, tuple[str, bool]] = {}
        self.steps: list[OnnxStep] = []
        self.nested: list[tuple[str, Tensor]] = []
        self.fault = "" if self.opset >= 7 else f"the graph has version {self.opset} of the operations"
        self._initialisers()
        self.inputs = self._inputs()
        self._nodes()
        self.outputs = tuple(self._plain(each.name) for each in self._proto.output)
        self._refuse_quantised()

    def source(self, name: str) -> tuple[str, bool]:
        """Return the name of the tensor that a value equals, and whether the value is its transpose."""
        return self.alias.get(name, (name, False))

    def is_weight(self, name: str, ndim: int | None = None) -> bool:
        """Return whether the file has a floating-point tensor ``name``, with ``ndim`` axes if given."""
        value = self.values.get(name)
        return value is not None and value.is_floating_point() and ndim in (None, value.ndim)

    def _initialisers(self) -> None:
        if len(self._proto.sparse_initializer):
            raise FileError(f"{self.path}: holds sparse tensors, which are not read")
        for tensor in self._proto.initializer:
            if tensor.name in self.values:
                raise FileError(f"{self.path}: holds two tensors with the name {tensor.name!r}")
            if tensor.data_type != STRING:
                self.values[tensor.name] = self._tensors.read(tensor, tensor.name)
                self.given.add(tensor.name)

    def _inputs(self) -> tuple[Input, ...]:
        found = []
        for each in self._proto.input:
            if each.name in self.values:
                continue
            kind = each.type.tensor_type
            shape = (
                tuple(
                    int(axis.dim_value) if axis.HasField("dim_value") else axis.dim_param or None
                    for axis in kind.shape.dim
                )
                if kind.HasField("shape")
                else None
            )
            found.append(Input(name=each.name, kind=kind.elem_type, shape=shape))
        return tuple(found)

    def _nodes(self) -> None:
        known = {"", *self.values, *(each.name for each in self.inputs)}
        known |= {tensor.name for tensor in self._proto.initializer}
        for number, node in enumerate(self._proto.node):
            name = node.name or f"{node.op_type} number {number}"
            for each in node.input:
                if each not in known:
                    raise FileError(
                        f"{self.path}: the node {name!r} reads {each!r}, which no earlier node computes"
                    )
            for each in node.output:
                if each and each in known:
                    raise FileError(f"{self.path}: {each!r} is computed twice")
                known.add(each)
            if node.op_type == "Constant" and node.domain in STANDARD:
                self._constant(node)
                continue
            self._step(node)
        for each in self._proto.output:
            if each.name not in known:
                raise FileError(f"{self.path}: no node computes the output {each.name!r}")

    def _constant(self, node: Any) -> None:
        output, value = (node.output or [""])[0], None
        for each in node.attribute:
            if each.name == "value" and each.t.data_type != STRING:
                value = self._tensors.read(each.t, output)
            elif each.name in ("value_float", "value_floats"):
                value = torch.tensor(each.f if each.name == "value_float" else list(each.floats))
            elif each.name in ("value_int", "value_ints"):
                value = torch.tensor(
                    each.i if each.name == "value_int" else list(each.ints), dtype=torch.int64
                )
        if value is not None:
            self.values[output] = value

    def _step(self, node: Any) -> None:
        op, attributes = node.op_type, {}
        if node.domain not in STANDARD:
            self._unsupported(f"{node.domain}.{op}")
        for each in node.attribute:
            if each.HasField("g") or len(each.graphs):
                self._unsupported(op)
                for inner in (each.g, *each.graphs):
                    self._collect(inner)
            attributes[each.name] = self._attribute(each)
        scopes = next((each.value for each in node.metadata_props if each.key == SCOPES), "")
        words = re.findall(r"'([^']*)'", scopes)
        scope = scope_of(node.name, words[:-1] if len(words) > 1 else ())
        inputs, outputs = tuple(map(self._plain, node.input)), tuple(node.output)
        if op in ("Identity", "Transpose") and inputs and outputs:
            source, flipped = self.alias.get(inputs[0], (inputs[0], False))
            value = self.values.get(source)
            if op == "Identity" and source in self.values and not flipped:
                self.alias[outputs[0]] = (source, False)
            order = attributes.get("perm") or (1, 0)
            turns = op == "Transpose" and order in ((1, 0), (0, 1))
            if turns and value is not None and value.ndim == 2:
                self.alias[outputs[0]] = (source, flipped ^ (order == (1, 0)))
        self.steps.append(OnnxStep(op=op, inputs=inputs, outputs=outputs, attributes=attributes, scope=scope))

    def _attribute(self, each: Any) -> Any:
        """Return an attribute as a plain value."""
        if each.type == 4:
            if each.t.data_type == STRING:
                return None
            tensor = self._tensors.read(each.t, each.name)
            return (str(tensor.dtype).removeprefix("torch."), tensor.flatten()[:1].tolist())
        value: Any = getattr(each, FIELDS[each.type]) if each.type in FIELDS else None
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if value is None or isinstance(value, int | float):
            return _shortest(value) if isinstance(value, float) else value
        return tuple(_shortest(item) if isinstance(item, float) else item for item in value)

    def _collect(self, graph: Any) -> None:
        """Add the weights of a graph inside a node, and of the graphs nested in it, to ``nested``."""
        waiting = [graph]
        while waiting:
            graph = waiting.pop()
            found = [(each.name, each) for each in graph.initializer]
            for node in graph.node:
                for each in node.attribute:
                    waiting += [each.g] if each.HasField("g") else []
                    waiting += each.graphs
                    if node.op_type == "Constant" and each.name == "value":
                        found.append((node.output[0] if node.output else "", each.t))
            for name, tensor in found:
                if tensor.data_type != STRING:
                    value = self._tensors.read(tensor, name)
                    own = own_name(name)
                    if tensor.data_type in FLOATS and value.ndim and (own or value.numel() > 1):
                        self.nested.append((own or "within.weight", value))

    def _unsupported(self, op: str) -> None:
        self.fault = self.fault or f"the graph has the operation {' '.join(op[:80].split())}"

    def _plain(self, name: str) -> str:
        """Return the name of the tensor that a value equals, or its own name if there is no such tensor."""
        source, flipped = self.alias.get(name, (name, False))
        return name if flipped else source

    def _refuse_quantised(self) -> None:
        for step in self.steps:
            if QUANTISED.search(step.op):
                for name in step.inputs:
                    value = self.values.get(name)
                    if value is not None and value.element_size() == 1 and value.numel() > 1:
                        raise FileError(
                            f"{self.path}: {name!r} holds quantised weights, which are not read; "
                            f"export the network in floating point"
                        )


def _shortest(value: float) -> float:
    """Return the shortest number that is stored as this float32: 0.1 instead of 0.10000000149."""
    return float(str(np.float32(value)))

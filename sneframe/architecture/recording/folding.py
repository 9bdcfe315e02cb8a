"""Fold the recorded nodes of a network into layers.

A layer computes one operation, then ``factor · z + shift``, then an activation. So a recorded scaling or
activation becomes part of the layer that it reads, if no other node reads the value in between. A linear
layer that torch ran on flattened rows becomes a linear layer on the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen
from torch import nn

from sneframe.architecture.operations import Operation, kind_of, owner_path, role
from sneframe.architecture.recording.arithmetic import json_number
from sneframe.architecture.recording.node import INPUT, WEIGHT, Node
from sneframe.architecture.recording.rearranging import LONGEST
from sneframe.architecture.recording.recorder import Recorder

#: Element-wise operations of two values, by kind; with one parameter they become ``parameter`` layers.
BINARY = ("add", "subtract", "multiply", "divide")


@frozen(kw_only=True, eq=False)
class Folded:
    """The layers of a network.

    Args:
        operations: the layers, in the order in which they ran.
        outputs: the indices of the layers that the network returns.
    """

    operations: list[Operation]
    outputs: tuple[int, ...]


def fold(recorder: Recorder, module: nn.Module) -> Folded:
    """Return the layers of a recorded network.

    Args:
        recorder: the recorder of the network.
        module: the network.
    """
    if recorder.escaped and recorder.outputs:
        left = "values left torch, and the computation may depend on them"
        recorder.outputs = [recorder.not_recorded(left, [node]) for node in recorder.outputs]
    recorder.outputs = [
        recorder.add("affine", [node]) if recorder.nodes[node].kind == INPUT else node
        for node in recorder.outputs
    ]
    graph = _Graph(recorder)
    graph.flatten_rows()
    graph.absorb()
    return _Emission(graph, module).folded()


class _Graph:
    """The nodes of a recorder, while they are folded into each other.

    Args:
        recorder: the recorder.

    Attributes:
        nodes: the nodes.
        outputs: the numbers of the nodes that the network returns.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.nodes = recorder.nodes
        self.outputs = list(recorder.outputs)
        self._alias: dict[int, int] = {}

    def find(self, node: int) -> int:
        """Return the node that stands for ``node`` after folding."""
        while node in self._alias:
            node = self._alias[node]
        return node

    def reads(self, node: Node) -> list[int]:
        """Return the nodes that a node reads, after folding."""
        return [self.find(number) for number in node.reads]

    def readers(self) -> dict[int, list[int]]:
        """Return the nodes that read each node. An output is also read by −1."""
        found: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            if number not in self._alias:
                for source in self.reads(node):
                    found.setdefault(source, []).append(number)
        for number in self.outputs:
            found.setdefault(self.find(number), []).append(-1)
        return found

    def flatten_rows(self) -> None:
        """Undo the views with which torch runs a linear layer on more than one axis of rows."""
        readers = self.readers()
        for number, node in enumerate(self.nodes):
            if node.kind != "linear":
                continue
            before = self.nodes[node.inputs[0]]
            after = readers.get(number, [])
            if before.kind not in ("reshape", "flatten") or len(after) != 1 or after[0] < 0:
                continue
            source, behind = self.nodes[before.inputs[0]], self.nodes[after[0]]
            rows = source.shape[:-1]
            fits = behind.kind == "reshape" and behind.shape[:-1] == rows and len(rows) > 1
            if fits and before.shape == (math.prod(rows), source.shape[-1]):
                node.inputs = [before.inputs[0]]
                node.shape = behind.shape
                self._alias[after[0]] = number

    def absorb(self) -> None:
        """Fold scalings and activations into the layers that they read."""
        readers = self.readers()
        for number, node in enumerate(self.nodes):
            if number in self._alias or node.kind not in ("affine", "activation") or not node.inputs:
                continue
            source = self.find(node.inputs[0])
            into = self.nodes[source]
            alone = all(self.find(reader) in (number, source) for reader in readers.get(source, [])) and (
                -1 not in readers.get(source, [])
            )
            if not alone or into.kind in (INPUT, WEIGHT, "constant", "not_recorded"):
                continue
            if not self.recorder.is_stream(source) or into.activation != "none":
                continue
            factor, shift = (node.attributes.get(name, usual) for name, usual in (("factor", 1.0), ("shift", 0.0)))
            known = into.attributes.get("factor", 1.0), into.attributes.get("shift", 0.0)
            _set_numbers(into, factor * known[0], factor * known[1] + shift)
            into.activation = node.activation
            if "activation_options" in node.attributes:
                into.attributes["activation_options"] = node.attributes["activation_options"]
            into.shape = node.shape
            self._alias[number] = source
            readers[source] = readers.get(number, [])


def _set_numbers(node: Node, factor: float, shift: float) -> None:
    for name, value, usual in (("factor", factor, 1.0), ("shift", shift, 0.0)):
        node.attributes.pop(name, None)
        if value != usual:
            node.attributes[name] = value


class _Emission:
    """Turns folded nodes into layers.

    Args:
        graph: the folded nodes.
        module: the network.
    """

    def __init__(self, graph: _Graph, module: nn.Module) -> None:
        self.graph = graph
        self.recorder = graph.recorder
        self.owners = dict(module.named_modules())
        self.operations: list[Operation] = []
        self.inputs = [n for n, node in enumerate(graph.nodes) if node.kind == INPUT]
        self._layer_of: dict[int, int] = {}
        self._owned: set[str] = set()

    def folded(self) -> Folded:
        """Return the layers."""
        for number in self._order():
            self._emit(number)
        outputs = [self._value(number) for number in map(self.graph.find, self.graph.outputs)]
        return Folded(operations=self.operations, outputs=tuple(dict.fromkeys(outputs)))

    def _order(self) -> Iterator[int]:
        """Yield the nodes that become layers: what outputs need, and every layer with weights."""
        graph = self.graph
        needed: set[int] = set()
        queue = [graph.find(number) for number in graph.outputs]
        queue += [
            n for n, node in enumerate(graph.nodes) if graph.find(n) == n and node.roles and self._streams(n)
        ]
        while queue:
            number = queue.pop()
            if number not in needed:
                needed.add(number)
                queue += [graph.find(source) for source in graph.nodes[number].inputs]
        yield from (n for n in sorted(needed) if self._streams(n) and graph.nodes[n].kind != INPUT)

    def _streams(self, number: int) -> bool:
        return self.recorder.is_stream(number)

    def _value(self, number: int) -> int:
        """Return the layer of a node, or −1 − i for input i. A node that is no layer yet becomes one."""
        number = self.graph.find(number)
        if number in self.inputs:
            return -1 - self.inputs.index(number)
        if number not in self._layer_of:
            self._emit(number)
        return self._layer_of[number]

    def _emit(self, number: int) -> None:
        """Add the layer of a node, and the layers of the parameters and constants that it reads as values."""
        node = self.graph.nodes[number]
        if number in self._layer_of:
            return
        if node.kind == WEIGHT:
            operation = Operation("parameter", attributes={"operation": "value"})
            self._own(operation, {"value": number})
        elif node.kind == "constant":
            operation = Operation("constant", attributes=_constant(node))
        else:
            operation = self._operation(number, node)
        self.operations.append(operation)
        self._layer_of[number] = len(self.operations) - 1

    def _operation(self, number: int, node: Node) -> Operation:
        """Return the layer of a node that computes something."""
        kind, inputs, roles, attributes = node.kind, node.inputs, dict(node.roles), dict(node.attributes)
        if kind in BINARY and len(inputs) == 2:
            weights = [n for n in inputs if not self._streams(n) and self.recorder.chain(self.graph.find(n))]
            if len(weights) == 1 and self._streams(number):
                attributes["operation"] = kind
                if inputs[0] == weights[0] and kind in ("subtract", "divide"):
                    attributes["reversed"] = True
                kind, roles = "parameter", {"value": weights[0]}
                inputs = [n for n in inputs if n != weights[0]]
        read = tuple(self._value(n) for n in inputs)
        if kind == "not_recorded" and roles:
            path = owner_path(self.recorder.parameters(next(iter(roles.values())))[0])
            kind = kind_of(self.owners[path]) or "parameter"
        operation = Operation(
            kind,
            inputs=() if read == (-1,) else read,
            activation=node.activation,
            attributes=attributes,
            owner=node.owner,
        )
        self._own(operation, roles)
        return operation

    def _own(self, operation: Operation, roles: dict[str, int]) -> None:
        """Give a layer the parameters that its weights are, or are computed from.

        A parameter belongs to the first layer that uses it. A later layer names it in ``uses``.
        """
        uses: dict[str, Any] = {}
        computed: list[str] = []
        for wanted, node in roles.items():
            for name in self.recorder.parameters(node):
                if name not in self._owned:
                    operation.names.append(name)
            chain = self.recorder.chain(node)
            if chain is None:
                computed.append(wanted)
                continue
            name, steps = chain
            own = name not in self._owned and not steps
            fits = wanted == "value" or name.rpartition(".")[2] == wanted
            if not (own and fits) and "not_recorded" not in operation.attributes:
                uses[wanted] = {"parameter": name, "steps": steps}
        self._owned.update(operation.names)
        if uses:
            operation.attributes["uses"] = uses
        if computed and "not_recorded" not in operation.attributes:
            operation.attributes["computed"] = sorted(computed)


def _constant(node: Node) -> dict[str, Any]:
    """Return the attributes of a constant: its shape and values, if it is not too large."""
    assert node.constant is not None
    value = node.constant
    if value.numel() > LONGEST or value.is_complex() or value.layout is not None and value.is_sparse:
        return {"not_recorded": f"a constant of {value.numel()} numbers", "shape": list(value.shape)}
    attributes: dict[str, Any] = {"shape": list(value.shape)}
    if value.is_floating_point():
        attributes["values"] = [json_number(number) for number in value.double().flatten().tolist()]
    else:
        attributes["values"] = value.flatten().tolist()
        attributes["dtype"] = str(value.dtype).removeprefix("torch.")
    return attributes

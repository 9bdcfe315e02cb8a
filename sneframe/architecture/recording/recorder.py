"""Record the computation of a traced module, step by step, as a graph of nodes.

The recorder gets every call that the trace follows. It knows the node of each tensor that depends on an input
or on a parameter. Any other tensor is a constant. If the recorder does not know an operation, or cannot tell
what a tensor holds, the result is a node of the kind ``not_recorded``. So a description is either exact or
says where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sneframe.architecture.call import Call, Label
from sneframe.architecture.recording import functions, products, rearranging, whole_modules, windows
from sneframe.architecture.recording.node import INPUT, STEPS, WEIGHT, Node, Record
from sneframe.architecture.rules import BATCH_NORMS

RECORDS: Mapping[str, Record] = {
    **functions.RECORDS,
    **rearranging.RECORDS,
    **products.RECORDS,
    **windows.RECORDS,
}
#: Kinds of nodes that keep the channels of their input on axis 1.
KEEPS_CHANNELS = ("activation", "affine", "function", "pad", "upsample", "prelu", "add", "multiply")
CHANNELS = ("conv", "batch_norm", "group_norm", "instance_norm", "max_pool", "avg_pool", "adaptive")


class Recorder:
    """Collects the nodes of one forward pass.

    Args:
        label: returns the label that the trace gave to a tensor, or None.
        storage: returns a number that identifies the memory of a tensor.

    Attributes:
        nodes: the nodes so far, in the order in which they ran.
        examples: the size of the first axis of the first input; None before an input is known.
        outputs: the nodes that the module returned.
        escaped: whether values left torch, so that the computation may depend on them.
    """

    def __init__(self, label: Callable[[Tensor], Label | None], storage: Callable[[Tensor], int]) -> None:
        self.nodes: list[Node] = []
        self.examples: int | None = None
        self.outputs: list[int] = []
        self.escaped = False
        self._label, self._storage = label, storage
        self._node_of: dict[int, tuple[int, int]] = {}  # id of a tensor → its node, version of its memory
        self._constants: dict[int, int] = {}
        self._versions: dict[int, int] = {}
        self._streams: list[bool] = []  # for each node: whether it depends on an input
        self._whole: nn.Module | None = None  # the module that is recorded as one step and is running now

    # -- what a call adds ------------------------------------------------------------------------------------

    def record(self, call: Call) -> None:
        """Add the nodes of a call that the trace follows."""
        made: int | list[int | None] = []
        if self._whole is None:
            try:
                made = RECORDS.get(call.name, Recorder.unknown)(self, call)
            except Exception:  # noqa: BLE001  # a form of the operation that no record expects
                made = self.unknown(call)
        for value in call.writes if call.name not in BATCH_NORMS else ():
            storage = self._storage(value)
            self._versions[storage] = self._versions.get(storage, 0) + 1
        nodes = made if isinstance(made, list) else [made] * len(call.outputs)
        for output, node in zip(call.outputs, nodes, strict=False):
            if node is not None:
                self.set(output, node)

    def unknown(self, call: Call) -> int:
        """Add a node for an operation that no description covers."""
        inputs = [self.of(value) for value in call.inputs if self._label(value) is not None]
        return self.not_recorded(call.name, inputs)

    def not_recorded(self, operation: str, inputs: Sequence[int]) -> int:
        """Add a node whose value is not described. The parameters among ``inputs`` become its weights."""
        streams = [node for node in dict.fromkeys(inputs) if self.is_stream(node)]
        weights = {
            f"operand{number}": node
            for number, node in enumerate(dict.fromkeys(inputs))
            if not self.is_stream(node) and self.parameters(node)
        }
        return self.add("not_recorded", streams, roles=weights, not_recorded=operation)

    def weight(self, value: Tensor, name: str) -> None:
        """Add the node of a parameter."""
        self.set(value, self._append(Node(WEIGHT, name=name), stream=False))

    def input(self, value: Tensor) -> None:
        """Add the node of an input of the network."""
        if self.examples is None and value.ndim:
            self.examples = value.shape[0]
        self.set(value, self._append(Node(INPUT), stream=True))

    def draw(self, value: Tensor) -> None:
        """Add the node of a tensor of random numbers."""
        self.set(value, self.not_recorded("random numbers", []))

    def output(self, value: Tensor) -> None:
        """Note that the module returned a tensor."""
        node = self.of(value)
        if node not in self.outputs:
            self.outputs.append(node)

    def enter(self, module: nn.Module) -> None:
        """Note that a module starts to run. A module of some kinds is recorded as one step."""
        if self._whole is None and whole_modules.is_whole(module):
            self._whole = module

    def leave(
        self, path: str, module: nn.Module, given: Sequence[Any], named: Mapping[str, Any], made: Any
    ) -> None:
        """Note that a module has run. Add the node of the module if it is recorded as one step."""
        if self._whole is module:
            self._whole = None
            whole_modules.record(self, path, module, given, named, made)

    # -- building nodes --------------------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        inputs: Sequence[int],
        *,
        roles: Mapping[str, int] | None = None,
        activation: str = "none",
        owner: str | None = None,
        **attributes: Any,
    ) -> int:
        """Add a node, and return its number."""
        node = Node(kind, [*inputs], dict(roles or {}), attributes, activation, owner=owner)
        if kind != "not_recorded" and any(self._streams[number] for number in node.roles.values()):
            return self.not_recorded(f"{kind} with computed weights", node.reads)
        stream = any(self._streams[number] for number in node.reads)
        return self._append(node, stream=stream)

    def affine(self, value: Tensor | int, factor: float, shift: float) -> int:
        """Add ``factor · value + shift``, unless that is the value itself."""
        node = self.of(value)
        if factor == 1 and shift == 0:
            return node
        numbers: dict[str, Any] = {"factor": float(factor)} if factor != 1 else {}
        if shift != 0:
            numbers["shift"] = float(shift)
        return self.add("affine", [node], **numbers)

    def activation(self, name: str, value: Tensor, **options: Any) -> int:
        """Add an activation with its settings."""
        given: dict[str, Any] = {"activation_options": options} if options else {}
        return self.add("activation", [self.of(value)], activation=name, **given)

    def transposed(self, node: int, order: Sequence[int]) -> int:
        """Add a permutation of axes. Two permutations in a row become one."""
        before = self.nodes[node]
        if before.kind == "transpose":
            order = [before.attributes["order"][axis] for axis in order]
            node = before.inputs[0]
        if list(order) == sorted(order):
            return node
        return self.add("transpose", [node], order=[*map(int, order)])

    def sliced(self, node: int, axis: int, start: int, stop: int, step: int, size: int) -> int:
        """Add a slice along an axis of the given size. A slice of everything is the node itself."""
        if (start, step) == (0, 1) and stop >= size:
            return node
        ends: dict[str, Any] = {"step": step} if step != 1 else {}
        if stop < size:  # an open end follows a longer axis, as x[:, 1:] does
            ends["stop"] = stop
        return self.add("slice", [node], axis=axis, start=start, **ends)

    def unshaped(self, node: int) -> int:
        """Return the node of a parameter vector that was only reshaped, else the node itself."""
        source = node
        while self.nodes[source].kind in ("reshape", "expand"):
            source = self.nodes[source].inputs[0]
        return source if self.nodes[source].kind == WEIGHT else node

    def constant(self, value: Tensor) -> int:
        """Add the present values of a tensor that depends on no input and on no parameter."""
        kept = value.detach()
        if kept.ndim and kept.shape[0] == self.examples and bool((kept == kept[:1]).all()):
            kept = kept[:1]  # the examples share one constant, however many there are
        known = self._constants.get(id(value))
        if known is not None:
            before = self.nodes[known].constant
            if before is not None and torch.equal(before, kept):
                return known
        # The tensor is new, or was written into since it was last read.
        self._constants[id(value)] = self._append(Node("constant", constant=kept.clone()), stream=False)
        return self._constants[id(value)]

    # -- what is known ---------------------------------------------------------------------------------------

    def of(self, value: Tensor | int) -> int:
        """Return the node that holds the present values of a tensor."""
        if isinstance(value, int):
            return value
        version = self._versions.get(self._storage(value), 0)
        if id(value) in self._node_of:
            node, known = self._node_of[id(value)]
            return node if known == version else self.not_recorded("write into shared memory", [node])
        label = self._label(value)
        if label is None or label.buffer is not None:
            return self.constant(value)
        return self.not_recorded("write into a constant", [])

    def number(self, value: Any) -> float | None:
        """Return a number, or the number in a constant tensor without axes; otherwise None."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, Tensor) and not value.ndim and self._label(value) is None:
            return float(value)
        return None

    def is_stream(self, node: int) -> bool:
        """Whether a node depends on an input of the network."""
        return self._streams[node]

    def chain(self, node: int) -> tuple[str, list[list[Any]]] | None:
        """Return the parameter that a node rearranges, and the steps that do so; None for any other node."""
        steps: list[list[Any]] = []
        while self.nodes[node].kind in STEPS:
            steps.append([self.nodes[node].kind, self.nodes[node].attributes])
            node = self.nodes[node].inputs[0]
        return (self.nodes[node].name, steps[::-1]) if self.nodes[node].kind == WEIGHT else None

    def parameters(self, node: int) -> list[str]:
        """Return the names of all parameters that a node is computed from."""
        names: dict[str, None] = {}
        queue, seen = [node], set()
        while queue:
            current = queue.pop()
            if current not in seen:
                seen.add(current)
                if self.nodes[current].kind == WEIGHT:
                    names[self.nodes[current].name] = None
                queue += self.nodes[current].reads
        return list(names)

    def has_channels(self, node: int) -> bool:
        """Whether axis 1 of a node holds the channels of a convolution or of a norm over channels."""
        while self.nodes[node].kind in KEEPS_CHANNELS:
            node = next((n for n in self.nodes[node].inputs if self.is_stream(n)), node)
            if self.nodes[node].kind == INPUT:
                return False
        kind = self.nodes[node].kind
        if kind == "concatenate":
            return self.nodes[node].attributes["axis"] == 1 and self.has_channels(self.nodes[node].inputs[0])
        return kind.startswith(CHANNELS)

    # -- inside ----------------------------------------------------------------------------------------------

    def _append(self, node: Node, *, stream: bool) -> int:
        self.nodes.append(node)
        self._streams.append(stream)
        return len(self.nodes) - 1

    def set(self, value: Tensor, node: int) -> None:
        """Note the node of a tensor, and the shape of the node."""
        if not self.nodes[node].shape:
            self.nodes[node].shape = tuple(value.shape)
        self._node_of[id(value)] = node, self._versions.get(self._storage(value), 0)

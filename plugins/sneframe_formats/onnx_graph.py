"""Turn the graph of an ONNX model into named weights in torch's order, and steps that compute the network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from attrs import evolve, field, frozen
from torch import Tensor

from sneframe.errors import FileError
from sneframe_formats.onnx_names import Names, own_name, scope_of, sibling
from sneframe_formats.onnx_tensors import FLOATS, Tensors

#: The inputs of operations that hold weights, and their names in torch.
AFFINE = {1: "weight", 2: "bias"}
ROLES: Mapping[str, Mapping[int, str]] = {
    **dict.fromkeys(("Gemm", "Conv", "ConvTranspose"), AFFINE),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), AFFINE),
    "MatMul": {0: "weight", 1: "weight"},
    "BatchNormalization": {**AFFINE, 3: "running_mean", 4: "running_var"},
    "PRelu": {1: "weight"},
    "Gather": {0: "weight"},
    **dict.fromkeys(("LSTM", "GRU", "RNN"), {1: "W", 2: "R", 3: "B"}),
}
QUANTISED = re.compile(r"Dequantize|QLinear|Integer$|NBits|QAttention|QGemm|DynamicQuantize")
STANDARD = ("", "ai.onnx")  #: names of the domain of the standard operations
SCOPES = "pkg.torch.onnx.name_scopes"
STRING = 8
SHOWN = 4  #: number of names in a note


@frozen(kw_only=True)
class Step:
    """One operation.

    Args:
        op: the name of the operation in ONNX, or ``Linear``.
        inputs: the names of the values that it reads; an empty string is an input that is not given.
        outputs: the names of the values that it computes.
        attributes: the attributes, as plain values.
        scope: the path of the module that the operation belongs to.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(factory=dict)
    scope: str = ""


@frozen(kw_only=True)
class Input:
    """An input of the graph: its name, its type in ONNX, and its axes. A symbolic axis is a name or None."""

    name: str
    kind: int
    shape: tuple[int | str | None, ...] | None


@frozen(kw_only=True, eq=False)
class Graph:
    """A graph with named weights.

    Args:
        inputs: the inputs.
        outputs: the names of the outputs.
        steps: the operations, in an order in which they can be computed.
        weights: the weights by name, in torch's order of axes.
        names: the names of the weights, by the names that the steps use for them.
        constants: all other tensors that the steps read, by the names that the steps use for them.
        opset: the version of the operations.
        notes: what was left out or changed.
        fault: why the graph cannot be computed, or an empty string.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    weights: Mapping[str, Tensor]
    names: Mapping[str, str]
    constants: Mapping[str, Tensor]
    opset: int
    notes: tuple[str, ...]
    fault: str


@final
class _Linear:
    """A matrix product with a weight that becomes a linear layer.

    Args:
        x: the input.
        weight: the name of the weight.
        out_in: whether the weight as it is stored has the order ``(out, in)``.
        bias: the name of the bias, or an empty string.
        alpha: the factor of the weight.
        beta: the factor of the bias.
    """

    def __init__(self, x: str, weight: str, *, out_in: bool, alpha: float = 1.0, beta: float = 1.0) -> None:
        self.x, self.weight, self.out_in, self.alpha, self.beta = x, weight, out_in, alpha, beta
        self.bias = ""


def read_graph(model: Any, path: Path) -> Graph:
    """Read the graph of a model.

    Args:
        model: the message ``ModelProto``.
        path: the path of the model, for errors and for tensors in other files.

    Raises:
        FileError: the graph is damaged, or its weights are quantised.
    """
    return _Reading(model, path).graph()


class _Reading:
    """The state of reading one model."""

    def __init__(self, model: Any, path: Path) -> None:
        self.path, self.proto, self.tensors = path, model.graph, Tensors(path)
        self.opset = max((each.version for each in model.opset_import if each.domain in STANDARD), default=0)
        self.values: dict[str, Tensor] = {}
        self.given: set[str] = set()  # the names of values that are initialisers
        self.alias: dict[str, tuple[str, bool]] = {}
        self.notes: list[str] = []
        self.fault = "" if self.opset >= 7 else f"the graph has version {self.opset} of the operations"
        self.steps: list[Step] = []
        self.nested: list[tuple[str, Tensor]] = []

    def graph(self) -> Graph:
        self._initialisers()
        inputs = self._inputs()
        self._nodes(inputs)
        outputs = tuple(self._plain(each.name) for each in self.proto.output)
        self._refuse_quantised()
        linear, merged = self._linear(outputs)
        roles = self._roles(linear, merged)
        weights = self._weights(roles)
        uses = self._uses(linear, merged, outputs)
        steps = self._rewritten(linear, merged, weights, uses)
        values = {name: self.values[source] for source, name in weights.items()}
        names = Names()
        for name in values:
            names.take(name, own=True)
        for name, value in self.nested:
            values[names.take(name, own=True)] = value
        constants = {name: value for name, value in self.values.items() if name not in weights}
        self._note_constants(constants)
        return Graph(
            inputs=inputs, outputs=outputs, steps=_needed(steps, outputs), weights=values, names=weights,
            constants=constants, opset=self.opset, notes=tuple(self.notes), fault=self.fault,
        )  # fmt: skip

    # -- reading ---------------------------------------------------------------------------------------------

    def _initialisers(self) -> None:
        if len(self.proto.sparse_initializer):
            raise FileError(f"{self.path}: holds sparse tensors, which are not read")
        for tensor in self.proto.initializer:
            if tensor.name in self.values:
                raise FileError(f"{self.path}: holds two tensors with the name {tensor.name!r}")
            if tensor.data_type != STRING:
                self.values[tensor.name] = self.tensors.read(tensor, tensor.name)
                self.given.add(tensor.name)

    def _inputs(self) -> tuple[Input, ...]:
        found = []
        for each in self.proto.input:
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

    def _nodes(self, inputs: Sequence[Input]) -> None:
        known = {"", *self.values, *(each.name for each in inputs)}
        known |= {tensor.name for tensor in self.proto.initializer}
        for number, node in enumerate(self.proto.node):
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
            self._step(node, number)
        for each in self.proto.output:
            if each.name not in known:
                raise FileError(f"{self.path}: no node computes the output {each.name!r}")

    def _constant(self, node: Any) -> None:
        import torch

        output, value = (node.output or [""])[0], None
        for each in node.attribute:
            if each.name == "value" and each.t.data_type != STRING:
                value = self.tensors.read(each.t, output)
            elif each.name in ("value_float", "value_floats"):
                value = torch.tensor(each.f if each.name == "value_float" else list(each.floats))
            elif each.name in ("value_int", "value_ints"):
                value = torch.tensor(
                    each.i if each.name == "value_int" else list(each.ints), dtype=torch.int64
                )
        if value is not None:
            self.values[output] = value

    def _step(self, node: Any, number: int) -> None:
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
            elif op == "Transpose" and value is not None and value.ndim == 2:
                order = tuple(attributes.get("perm") or (1, 0))
                self.alias[outputs[0]] = (source, flipped ^ (order == (1, 0)))
        self.steps.append(Step(op=op, inputs=inputs, outputs=outputs, attributes=attributes, scope=scope))

    def _attribute(self, each: Any) -> Any:
        """Return an attribute as a plain value."""
        kinds = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}
        if each.type == 4:
            if each.t.data_type == STRING:
                return None
            value = self.tensors.read(each.t, each.name)
            return (str(value.dtype).removeprefix("torch."), value.flatten()[:1].tolist())
        value = getattr(each, kinds[each.type]) if each.type in kinds else None
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return value if value is None or isinstance(value, int | float) else tuple(value)

    def _collect(self, graph: Any) -> None:
        """Collect the weights in a graph that is part of a node, and in the graphs within it."""
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
                    value = self.tensors.read(tensor, name)
                    if tensor.data_type in FLOATS and value.ndim and value.numel() > 1:
                        self.nested.append((own_name(name) or "within.weight", value))

    def _unsupported(self, op: str) -> None:
        self.fault = self.fault or f"the graph has the operation {op[:80]}"

    def _plain(self, name: str) -> str:
        """Return the name of the tensor that a value is equal to."""
        source, flipped = self.alias.get(name, (name, False))
        return name if flipped else source

    def _source(self, name: str) -> tuple[str, bool]:
        """Return the tensor that a value is, and whether the value is its transpose."""
        return self.alias.get(name, (name, False))

    def _is_weight(self, name: str, ndim: int | None = None) -> bool:
        value = self.values.get(name)
        return value is not None and value.is_floating_point() and ndim in (None, value.ndim)

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

    # -- linear layers ---------------------------------------------------------------------------------------

    def _linear(self, outputs: Sequence[str]) -> tuple[dict[int, _Linear], set[int]]:
        """Find the linear layers. Return them by the number of their last step, and the other steps of them."""
        readers: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            for name in step.inputs:
                readers.setdefault(name, []).append(number)
        found: dict[int, _Linear] = {}
        merged: set[int] = set()
        for number, step in enumerate(self.steps):
            if (made := self._product(step)) is None:
                continue
            last = readers.get(step.outputs[0], [])
            if not made.bias and len(last) == 1 and step.outputs[0] not in outputs:
                after = self.steps[last[0]]
                others = [name for name in after.inputs if name != step.outputs[0]]
                if after.op == "Add" and len(others) == 1 and self._is_bias(others[0], made):
                    made.bias, made.beta = others[0], 1.0
                    found[last[0]] = made
                    merged.add(number)
                    continue
            found[number] = made
        return found, merged

    def _product(self, step: Step) -> _Linear | None:
        """Return the linear layer that a matrix product is, or None."""
        if step.op not in ("MatMul", "Gemm") or len(step.inputs) < 2 or not step.outputs:
            return None
        x, (weight, flipped) = step.inputs[0], self._source(step.inputs[1])
        if not self._is_weight(weight, 2) or self._source(x)[0] in self.values:
            return None
        if step.op == "MatMul":
            return _Linear(x, weight, out_in=flipped)
        given = step.attributes
        out_in = bool(given.get("transB", 0)) ^ flipped
        made = _Linear(x, weight, out_in=out_in, alpha=given.get("alpha", 1.0), beta=given.get("beta", 1.0))
        bias = step.inputs[2] if len(step.inputs) > 2 else ""
        if given.get("transA", 0) or (bias and not self._is_bias(bias, made)):
            return None
        made.bias = bias
        return made

    def _is_bias(self, name: str, made: _Linear) -> bool:
        size = self.values[made.weight].shape[0 if made.out_in else 1]
        return self._is_weight(name, 1) and self.values[name].numel() == size

    def _uses(
        self, linear: Mapping[int, _Linear], merged: set[int], outputs: Sequence[str]
    ) -> dict[str, list[_Linear | None]]:
        """Return the uses of each tensor: linear layers, and None for any other use."""
        uses: dict[str, list[_Linear | None]] = {}
        for number, step in enumerate(self.steps):
            if number in linear:
                made = linear[number]
                uses.setdefault(made.weight, []).append(made)
                uses.setdefault(made.bias, []).append(None)
            elif number not in merged and not any(name in self.alias for name in step.outputs):
                for name in step.inputs:
                    uses.setdefault(self._source(name)[0], []).append(None)
        for name in outputs:
            uses.setdefault(self._source(name)[0], []).append(None)
        return uses

    def _rewritten(
        self,
        linear: Mapping[int, _Linear],
        merged: set[int],
        weights: Mapping[str, str],
        uses: Mapping[str, Sequence[_Linear | None]],
    ) -> list[Step]:
        """Bring the weights of linear layers into torch's order. Return the steps, with linear layers."""
        turned = {
            name
            for name, all_ in uses.items()
            if name in weights and all(each is not None and not each.out_in for each in all_)
        }
        for name in turned:
            self.values[name] = self.values[name].t()
        steps = []
        for number, step in enumerate(self.steps):
            if number in merged:
                continue
            if (made := linear.get(number)) is None:
                steps.append(step)
                continue
            factors = {"alpha": (made.weight, made.alpha), "beta": (made.bias, made.beta)}
            left = {}
            for word, (name, factor) in factors.items():
                if factor != 1 and name and len(uses[name]) == 1:
                    self.values[name] = self.values[name] * factor
                    self.notes.append(
                        f"{weights[name]!r} was multiplied by the factor {factor:g} of its layer"
                    )
                elif factor != 1 and name:
                    left[word] = factor
            turn = {} if made.out_in or made.weight in turned else {"turn": 1}
            inputs = (made.x, made.weight, made.bias)
            steps.append(evolve(step, op="Linear", inputs=inputs, attributes={**left, **turn}))
        return steps

    # -- names -----------------------------------------------------------------------------------------------

    def _roles(
        self, linear: Mapping[int, _Linear], merged: set[int]
    ) -> dict[str, tuple[str, str, tuple[str, ...]]]:
        """Return the role of each tensor that an operation uses as weights.

        A role is the name of the parameter in torch, the path of its module, and the tensors beside it.
        """
        roles: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        for number, step in enumerate(self.steps):
            if number in merged:
                continue
            given = [(at, self._source(name)[0]) for at, name in enumerate(step.inputs) if name]
            words = {name: ROLES.get(step.op, {}).get(at) for at, name in given if self._is_weight(name)}
            scope = step.scope
            if number in linear:
                words = {linear[number].weight: "weight", linear[number].bias: "bias"}
            elif step.op == "Gather":
                words = {name: word for name, word in words.items() if self.values[name].ndim == 2}
            beside = tuple(name for name, word in words.items() if word and name)
            for name in beside:
                roles.setdefault(name, (str(words[name]), scope or f"{step.op.lower()}_{number}", beside))
        return roles

    def _weights(self, roles: Mapping[str, tuple[str, str, tuple[str, ...]]]) -> dict[str, str]:
        """Return the names of the weights, in the order in which the steps use them."""
        order = dict.fromkeys(self._source(name)[0] for step in self.steps for name in step.inputs)
        order |= dict.fromkeys(self.values)
        own = {name: own_name(name) for name in order if self._is_weight(name)}
        names, found = Names(), {}
        names.reserve(each for each in own.values() if each is not None)
        for name, its in own.items():
            value = self.values[name]
            if name in roles:
                word, scope, beside = roles[name]
                if word.startswith("running_") and its is not None and its.rpartition(".")[2] != word:
                    its = None  # noqa: PLW2901  # statistics are recognised by their name
                if its is not None:
                    found[name] = names.take(its, own=True)
                    continue
                known = (own[each] for each in beside if each != name and own.get(each))
                near = next((made for each in known if (made := sibling(str(each), word))), None)
                found[name] = names.take(near or f"{scope}.{word}")
            elif name in self.given and (
                its is not None or (value.numel() > 1 and bool(value.isfinite().all()))
            ):
                found[name] = names.take(its or "unnamed.weight", own=its is not None)
        return found

    def _note_constants(self, constants: Mapping[str, Tensor]) -> None:
        left = [name for name, value in constants.items() if value.is_floating_point() and value.numel() > 1]
        if left:
            shown = ", ".join(repr(name[:60]) for name in left[:SHOWN])
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            self.notes.append(f"taken for constants of the computation, not for weights: {shown}{more}")


def _needed(steps: Sequence[Step], outputs: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps on which the outputs depend."""

    def backwards() -> Iterator[Step]:
        wanted = set(outputs)
        for step in reversed(steps):
            if wanted & set(step.outputs):
                wanted |= set(step.inputs)
                yield step

    return tuple(reversed(list(backwards())))

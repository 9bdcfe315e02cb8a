"""Convert the graph of an ONNX model to named weights, and to steps that compute the network.

The weights have torch's order of axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from attrs import evolve, frozen
from torch import Tensor

from sneframe_formats.onnx_names import Names, own_name, sibling
from sneframe_formats.onnx_nodes import Input, Nodes, OnnxStep
from sneframe_formats.onnx_rearrange import SHAPES

#: ``ROLES``: the inputs that are weights, by operation and number of the input, with torch's names of them.
AFFINE = {1: "weight", 2: "bias"}
RECURRENT = {1: "W", 2: "R", 3: "B"}
ROLES: Mapping[str, Mapping[int, str]] = {
    **dict.fromkeys(("Gemm", "Conv", "ConvTranspose"), AFFINE),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), AFFINE),
    "MatMul": {0: "weight", 1: "weight"},
    "BatchNormalization": {**AFFINE, 3: "running_mean", 4: "running_var"},
    "PRelu": {1: "weight"},
    "Gather": {0: "weight"},
    **dict.fromkeys(("LSTM", "GRU", "RNN"), RECURRENT),
}
SHOWN = 4  #: largest number of names in a note


@frozen(kw_only=True, eq=False)
class OnnxGraph:
    """A graph with named weights.

    Args:
        inputs: the inputs of the graph.
        outputs: the names of the outputs of the graph.
        steps: the operations, in an order in which they can be computed.
        weights: the weights by name, in torch's order of axes.
        names: the name of each weight in ``weights``, by its name in the inputs of the steps.
        constants: all other tensors that the steps read, by their names in the inputs of the steps.
        opset: the version of ONNX's set of operations.
        notes: what was left out or changed.
        fault: why the graph cannot be computed, or an empty string.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    steps: tuple[OnnxStep, ...]
    weights: Mapping[str, Tensor]
    names: Mapping[str, str]
    constants: Mapping[str, Tensor]
    opset: int
    notes: tuple[str, ...]
    fault: str


@final
class _Linear:
    """A linear layer, which replaces a matrix product with a weight.

    Args:
        x: the name of the input.
        weight: the name of the weight.
        out_in: whether the stored weight has the order of axes ``(out, in)``.
        bias: the name of the bias, or an empty string.
        alpha: the factor by which the weight is multiplied.
        beta: the factor by which the bias is multiplied.
    """

    def __init__(self, x: str, weight: str, *, out_in: bool, alpha: float = 1.0, beta: float = 1.0) -> None:
        self.x, self.weight, self.out_in, self.alpha, self.beta = x, weight, out_in, alpha, beta
        self.bias = ""


def read_graph(model: Any, path: Path) -> OnnxGraph:
    """Read the graph of a model.

    Args:
        model: the message ``ModelProto``.
        path: the path of the model, for errors and for tensors in other files.

    Raises:
        FileError: the graph is damaged, or its weights are quantised.
    """
    return _Rewriting(Nodes(model, path)).graph()


class _Rewriting:
    """Converts the nodes of a model to an :class:`OnnxGraph`."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes, self.steps, self.values = nodes, nodes.steps, nodes.values
        self.notes: list[str] = []

    def graph(self) -> OnnxGraph:
        nodes = self.nodes
        linear, merged = self._linear()
        weights = self._weights(self._roles(linear, merged))
        steps = self._rewritten(linear, merged, weights, self._uses(linear, merged))
        values = {name: self.values[source] for source, name in weights.items()}
        names = Names()
        for name in values:
            names.take(name, own=True)
        for name, value in nodes.nested:
            values[names.take(name, own=True)] = value
        constants = {name: value for name, value in self.values.items() if name not in weights}
        self._note_constants(constants)
        return OnnxGraph(
            inputs=nodes.inputs,
            outputs=nodes.outputs,
            steps=_needed(steps, nodes.outputs),
            weights=values,
            names=weights,
            constants=constants,
            opset=nodes.opset,
            notes=tuple(self.notes),
            fault=nodes.fault,
        )

    # -- linear layers ---------------------------------------------------------------------------------------

    def _linear(self) -> tuple[dict[int, _Linear], set[int]]:
        """Find the linear layers.

        Returns:
            Each layer by the number of the last step that it replaces, and the numbers of all other steps
            that are replaced.
        """
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
            if not made.bias and len(last) == 1 and step.outputs[0] not in self.nodes.outputs:
                after = self.steps[last[0]]
                others = [name for name in after.inputs if name != step.outputs[0]]
                if after.op == "Add" and len(others) == 1 and self._is_bias(others[0], made):
                    made.bias, made.beta = others[0], 1.0
                    found[last[0]] = made
                    merged.add(number)
                    continue
            found[number] = made
        return found, merged

    def _product(self, step: OnnxStep) -> _Linear | None:
        """Return a linear layer that computes a step, or None if the step is not such a matrix product."""
        if step.op not in ("MatMul", "Gemm") or len(step.inputs) < 2 or not step.outputs:
            return None
        x, (weight, flipped) = step.inputs[0], self.nodes.source(step.inputs[1])
        if not self.nodes.is_weight(weight, 2) or self.nodes.source(x)[0] in self.values:
            return None
        if step.op == "MatMul":
            return _Linear(x, weight, out_in=flipped)
        given = step.attributes
        factors = {word: given.get(word, 1.0) for word in ("alpha", "beta")}
        if not all(isinstance(factor, float) for factor in factors.values()):
            return None
        made = _Linear(x, weight, out_in=bool(given.get("transB", 0)) ^ flipped, **factors)
        bias = step.inputs[2] if len(step.inputs) > 2 else ""
        if given.get("transA", 0) or (bias and not self._is_bias(bias, made)):
            return None
        made.bias = bias
        return made

    def _is_bias(self, name: str, made: _Linear) -> bool:
        size = self.values[made.weight].shape[0 if made.out_in else 1]
        return self.nodes.is_weight(name, 1) and self.values[name].numel() == size

    def _uses(self, linear: Mapping[int, _Linear], merged: set[int]) -> dict[str, list[_Linear | None]]:
        """Return the uses of each tensor. A use as weight is the linear layer, and any other use is None."""
        uses: dict[str, list[_Linear | None]] = {}
        for number, step in enumerate(self.steps):
            if number in linear:
                made = linear[number]
                uses.setdefault(made.weight, []).append(made)
                uses.setdefault(made.bias, []).append(None)
            elif number not in merged and not any(name in self.nodes.alias for name in step.outputs):
                for name in step.inputs:
                    uses.setdefault(self.nodes.source(name)[0], []).append(None)
        for name in self.nodes.outputs:
            uses.setdefault(self.nodes.source(name)[0], []).append(None)
        return uses

    def _rewritten(
        self,
        linear: Mapping[int, _Linear],
        merged: set[int],
        weights: Mapping[str, str],
        uses: Mapping[str, Sequence[_Linear | None]],
    ) -> list[OnnxStep]:
        """Change the weights of linear layers to torch's order. Return the steps, with ``Linear`` steps."""
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
                steps.append(self._flattened(step, uses))
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

    def _flattened(self, step: OnnxStep, uses: Mapping[str, Sequence[_Linear | None]]) -> OnnxStep:
        """Return a step. If it is a PRelu with a slope for each channel, give the slopes torch's shape."""
        value = self.values.get(step.inputs[1]) if step.op == "PRelu" and len(step.inputs) > 1 else None
        if value is None or value.ndim < 2 or len(value) != value.numel() or len(uses[step.inputs[1]]) > 1:
            return step
        self.values[step.inputs[1]] = value.flatten()
        return evolve(step, attributes={**step.attributes, "axes": value.ndim})

    # -- names -----------------------------------------------------------------------------------------------

    def _roles(
        self, linear: Mapping[int, _Linear], merged: set[int]
    ) -> dict[str, tuple[str, str, tuple[str, ...]]]:
        """Return the role of each tensor that an operation uses as a weight.

        A role has three parts: torch's name of the parameter, the path of the module, and the names of all
        weights of the operation.
        """
        roles: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        for number, step in enumerate(self.steps):
            if number in merged:
                continue
            given = [(at, self.nodes.source(name)[0]) for at, name in enumerate(step.inputs) if name]
            words = {name: ROLES.get(step.op, {}).get(at) for at, name in given if self.nodes.is_weight(name)}
            scope = step.scope
            if number in linear:
                words = {linear[number].weight: "weight", linear[number].bias: "bias"}
            elif step.op == "Gather":
                words = {name: word for name, word in words.items() if self.values[name].ndim == 2}
            elif step.op == "InstanceNormalization":
                # A group norm is exported with an instance norm whose scale and shift have no effect.
                words = {name: word for name, word in words.items() if not self._is_idle(name)}
            beside = tuple(name for name, word in words.items() if word and name)
            for name in beside:
                roles.setdefault(name, (str(words[name]), scope or f"{step.op.lower()}_{number}", beside))
        return roles

    def _weights(self, roles: Mapping[str, tuple[str, str, tuple[str, ...]]]) -> dict[str, str]:
        """Return a name for each tensor that is a weight, in the order in which the steps use them."""
        order = dict.fromkeys(self.nodes.source(name)[0] for step in self.steps for name in step.inputs)
        order |= dict.fromkeys(self.values)
        settings = self._settings()
        own = {name: own_name(name) for name in order if self.nodes.is_weight(name) and name not in settings}
        names, found = Names(), {}
        names.reserve(each for each in own.values() if each is not None)
        for name, its in own.items():
            value = self.values[name]
            if name in roles:
                word, scope, beside = roles[name]
                if word.startswith("running_") and its is not None and its.rpartition(".")[2] != word:
                    its = None  # noqa: PLW2901  # statistics must have torch's name for them
                if its is not None:
                    found[name] = names.take(its, own=True)
                    continue
                known = (own[each] for each in beside if each != name and own.get(each))
                near = next((made for each in known if (made := sibling(str(each), word))), None)
                found[name] = names.take(near or f"{scope}.{word}")
            elif _is_weight(value, its, given=name in self.nodes.given):
                found[name] = names.take(its or self._scoped(name), own=its is not None)
        return found

    def _scoped(self, name: str) -> str:
        """Return a name for a tensor without a name. The module of the first step that reads it is a part."""
        step = next((each for each in self.steps if name in each.inputs), None)
        word = "bias" if step is not None and step.op in ("Add", "Sub") else "weight"
        return f"{(step.scope if step is not None else '') or 'unnamed'}.{word}"

    def _is_idle(self, name: str) -> bool:
        """Return whether all elements of a tensor are equal and an exporter made up its name."""
        value = self.values[name].flatten()
        return own_name(name) is None and bool((value == value[:1]).all())

    def _settings(self) -> set[str]:
        """Return the names of tensors that are only settings of operations, such as the limits of a Clip."""
        settings: set[str] = set()
        others: set[str] = set()
        for step in self.steps:
            for at, name in enumerate(step.inputs):
                (settings if at in SHAPES.get(step.op, ()) else others).add(self.nodes.source(name)[0])
        return settings - others

    def _note_constants(self, constants: Mapping[str, Tensor]) -> None:
        left = [
            name
            for name, value in constants.items()
            if value.is_floating_point() and bool((value.flatten() != value.flatten()[:1]).any())
        ]
        if left:
            shown = ", ".join(repr(name[:60]) for name in left[:SHOWN])
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            self.notes.append(f"read as constants of the computation, not as weights: {shown}{more}")


def _is_weight(value: Tensor, own: str | None, *, given: bool) -> bool:
    """Return whether a tensor without a role in an operation is nevertheless a weight.

    Args:
        value: the tensor.
        own: the name of the tensor, or None if an exporter made it up.
        given: whether the tensor is an initialiser, not a constant node of the graph.
    """
    if own is not None:
        return given or ("." in own and value.ndim > 0)
    return given and value.numel() > 1 and bool(value.isfinite().all())  # a mask has infinite elements


def _needed(steps: Sequence[OnnxStep], outputs: Sequence[str]) -> tuple[OnnxStep, ...]:
    """Return the steps on which the outputs depend."""

    def backwards() -> Iterator[OnnxStep]:
        wanted = set(outputs)
        for step in reversed(steps):
            if wanted & set(step.outputs):
                wanted |= set(step.inputs)
                yield step

    return tuple(reversed(list(backwards())))

"""Compute the graph of an ONNX model as a torch module, whose parameters are the weights of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from sneframe.errors import ArchitectureError, one_line
from sneframe_formats.onnx_graph import Graph, Input, Step
from sneframe_formats.onnx_inputs import DTYPES, UnsupportedError
from sneframe_formats.onnx_operations import OPERATIONS
from sneframe_formats.onnx_rearrange import SHAPES

BATCH = 2  #: size of a symbolic first axis of an example input
SIZES = (
    5,
    32,
    64,
    224,
    28,
    16,
    128,
    2,
)  #: sizes of other symbolic axes, in the order in which they are tried
LARGEST = 1 << 26  #: number of elements of an example input
MOST = 1 << 28  #: number of elements of all values that the graph computes
KNOWN = 1 << 16  #: number of elements of a tensor of which a shape may depend
NUMBERS = ("Add", "Sub", "Mul", "Div", "Pow")  #: operations that take a number in place of a tensor
STATISTICS = ("running_mean", "running_var")
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@final
class OnnxModule(nn.Module):
    """Computes a graph by torch functions.

    Args:
        graph: the graph. All of its operations must be in ``OPERATIONS``.

    The module shares the memory of the weights in ``graph``.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        floats = {value.dtype for value in graph.weights.values()}
        self._steps = tuple(_prepared(step, graph) for step in graph.steps)
        self._inputs = tuple(each.name for each in graph.inputs)
        self._outputs = graph.outputs
        self._names = dict(graph.names)
        self._follows = floats == {torch.float32}
        self._numbers = {name: value.item() for name, value in graph.constants.items() if _is_number(value)}
        self._axes = {name: graph.constants[name].ndim for name in self._numbers}
        read = {name for step in graph.steps for name in step.inputs} | set(graph.outputs)
        self._constants = {name: f"constant_{at}" for at, name in enumerate(graph.constants) if name in read}
        holders = _holders(graph)
        for name, value in graph.weights.items():
            _place(self, name, value, holders)
        for name, own in self._constants.items():
            self.register_buffer(own, graph.constants[name], persistent=False)
        self._places = {key: _place_of(self, name) for key, name in self._names.items() if key in read}
        self._last = _last_uses(self._steps, self._outputs)

    def forward(self, *inputs: Tensor) -> Any:
        """Compute the outputs of the graph: a tensor, or a tuple if there are several."""
        if len(inputs) != len(self._inputs):
            raise ArchitectureError(f"takes {len(self._inputs)} inputs, but got {len(inputs)}")
        values: dict[str, Any] = dict(zip(self._inputs, inputs, strict=True))
        values |= {name: self.get_buffer(own) for name, own in self._constants.items()}
        values |= {key: _at(self, place) for key, place in self._places.items()}
        wide = next((each.dtype for each in self.parameters()), None) if self._follows else None
        for step, gone in zip(self._steps, self._last, strict=True):
            found = run(step, self._arguments(step, values), wide)
            values.update(zip(step.outputs, found, strict=False))
            for name in gone:
                values.pop(name, None)
        results = tuple(_value(values, name) for name in self._outputs)
        return results[0] if len(results) == 1 else results

    def _arguments(self, step: Step, values: Mapping[str, Any]) -> list[Any]:
        return arguments(step, values, self._numbers, self._axes)

    def check(self, example: Sequence[Tensor]) -> None:
        """Compute the shapes of all values, without their elements.

        Raises:
            ArchitectureError: an operation fails, a shape depends on the values of an input, or the values
                have too many elements.
        """
        with torch.no_grad():
            _Shapes(self, example).run()


def arguments(
    step: Step, values: Mapping[str, Any], numbers: Mapping[str, Any], axes: Mapping[str, int]
) -> list[Any]:
    """Return the arguments of an operation. A constant of one element becomes a number where possible."""
    found = [_value(values, name) if name else None for name in step.inputs]
    if step.op in NUMBERS and len(found) == 2:
        for at, name in enumerate(step.inputs):
            other = found[1 - at]
            if name in numbers and isinstance(other, Tensor) and axes[name] <= other.ndim:
                if step.inputs[1 - at] not in numbers:
                    found[at] = numbers[name]
    return found


def run(step: Step, inputs: Sequence[Any], wide: torch.dtype | None) -> Sequence[Tensor]:
    """Compute an operation."""
    found = OPERATIONS[step.op](inputs, {**step.attributes, "wide": wide})
    return (found,) if isinstance(found, Tensor) else found


def _value(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise UnsupportedError(f"{name[:80]!r} is not computed")
    return values[name]


def _is_number(value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() == 1


def _last_uses(steps: Sequence[Step], outputs: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the values that no later step reads, for each step."""
    seen, found = set(outputs), []
    for step in reversed(steps):
        gone = tuple(name for name in {*step.inputs, *step.outputs} - seen if name)
        seen |= set(gone)
        found.append(tuple(sorted(gone)))
    return tuple(reversed(found))


def _prepared(step: Step, graph: Graph) -> Step:
    """Return a step with the attributes that depend on the graph."""
    extra: dict[str, Any] = {"opset": graph.opset, "outputs": len(step.outputs)}
    if step.op == "Gather" and len(step.inputs) > 1:
        extra["table"] = step.inputs[0] in graph.names
        index = graph.constants.get(step.inputs[1])
        if index is not None and 0 < index.numel() <= KNOWN and index.ndim < 2:
            positions = index.flatten().tolist()
            first, count = positions[0], len(positions)
            if index.ndim == 0:
                extra["positions"] = int(first)
            elif first >= 0 and positions == list(range(first, first + count)):
                extra["positions"] = (first, count)
    return Step(
        op=step.op,
        inputs=step.inputs,
        outputs=step.outputs,
        attributes={**step.attributes, **extra},
        scope=step.scope,
    )


# -- the modules that hold the weights -----------------------------------------------------------------------


def _holders(graph: Graph) -> dict[str, nn.Module]:
    """Return the modules of torch's own classes that hold the weights of layers, by their paths."""
    words: dict[str, set[str]] = {}
    for name in graph.weights:
        path, _, word = name.rpartition(".")
        words.setdefault(path, set()).add(word)
    holders: dict[str, nn.Module] = {}
    for step in graph.steps:
        names = [graph.names.get(name, "") for name in step.inputs]
        path = next((name.rpartition(".")[0] for name in names if name.endswith(".weight")), "")
        if path and path not in holders:
            try:
                made = _layer(step, [graph.weights.get(name) for name in names])
            except (ValueError, TypeError, IndexError, RuntimeError):
                made = None
            own = set() if made is None else {*made._parameters, *made._buffers} - {"num_batches_tracked"}
            own = {word for word in own if made is not None and getattr(made, word) is not None}
            if made is not None and own == words[path]:
                holders[path] = made
    return holders


def _layer(step: Step, given: Sequence[Tensor | None]) -> nn.Module | None:
    """Return a layer of torch with the settings of a step, or None."""
    weights = [each for each in given if each is not None]
    weight, bias, at = weights[0], len(weights) > 1, step.attributes
    options: dict[str, Any] = {"device": "meta", "dtype": weight.dtype}
    plain = all(at.get(word, 1) == 1 for word in ("alpha", "beta"))
    if step.op == "Linear" and weight.ndim == 2 and plain and not at.get("turn"):
        return nn.Linear(weight.shape[1], weight.shape[0], bias, **options)
    if step.op in ("Conv", "ConvTranspose"):
        n, groups = weight.ndim - 2, at.get("group", 1)
        pads = list(at.get("pads") or [0] * 2 * n)
        if at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or pads[:n] != pads[n:]:
            return None
        options |= {
            "stride": tuple(at.get("strides") or [1] * n),
            "padding": tuple(pads[:n]),
            "dilation": tuple(at.get("dilations") or [1] * n),
            "groups": groups,
            "bias": bias,
        }
        kernel = tuple(weight.shape[2:])
        if step.op == "Conv":
            return CONVS[n](weight.shape[1] * groups, weight.shape[0], kernel, **options)
        return TRANSPOSED[n](weight.shape[0], weight.shape[1] * groups, kernel, **options)
    if step.op == "BatchNormalization":
        return nn.BatchNorm2d(weight.numel(), **options)
    if step.op == "LayerNormalization":
        return nn.LayerNorm(weight.shape, bias=bias, **options)
    if step.op == "InstanceNormalization":
        return nn.InstanceNorm2d(weight.numel(), affine=True, **options)
    if step.op == "GroupNormalization":
        return nn.GroupNorm(at["num_groups"], weight.numel(), **options)
    if step.op == "PRelu" and weight.ndim == 1:
        return nn.PReLU(weight.numel(), **options)
    if step.op == "Gather" and weight.ndim == 2:
        return nn.Embedding(*weight.shape, **options)
    return None


def _place(module: nn.Module, name: str, value: Tensor, holders: Mapping[str, nn.Module]) -> None:
    """Put a weight into a module, under a dotted name. The name may be that of any attribute."""
    *path, last = name.split(".")
    owner = module
    for depth, word in enumerate(path):
        if word not in owner._modules:
            owner._modules[word] = holders.get(".".join(path[: depth + 1]), nn.Module())
        owner = owner._modules[word]  # type: ignore[assignment]  # no module is None
    if isinstance(owner, nn.BatchNorm2d):
        owner._buffers["num_batches_tracked"] = torch.tensor(0)
    if last in STATISTICS:
        owner._buffers[last] = value
    else:
        owner._parameters[last] = nn.Parameter(value, requires_grad=False)


def _place_of(module: nn.Module, name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _at(module: nn.Module, place: Sequence[str]) -> Tensor:
    """Return the weight at a place."""
    *path, last = place
    owner = module
    for word in path:
        owner = owner._modules[word]  # type: ignore[assignment]  # no module is None
    found = owner._parameters.get(last)
    return owner._buffers[last] if found is None else found  # type: ignore[return-value]  # neither is None


# -- shapes --------------------------------------------------------------------------------------------------


class _Shapes:
    """Computes the shapes of all values with tensors on the meta device, which have no elements."""

    def __init__(self, module: OnnxModule, example: Sequence[Tensor]) -> None:
        self.module = module
        self.total = 0
        self.real: dict[str, Tensor] = {n: module.get_buffer(o) for n, o in module._constants.items()}
        self.meta: dict[str, Tensor] = {name: value.to("meta") for name, value in self.real.items()}
        for name, value in zip(module._inputs, example, strict=True):
            self.meta[name] = value.to("meta")
        for name, place in module._places.items():
            self.meta[name] = _at(module, place).to("meta")

    def run(self) -> None:
        for step in self.module._steps:
            try:
                self._step(step)
            except Exception as error:
                reason = one_line(error)[:160]
                raise ArchitectureError(
                    f"the operation {step.op} of {_shown(step)} fails: {reason}"
                ) from error
        for name in self.module._outputs:
            _value(self.meta, name)

    def _step(self, step: Step) -> None:
        module, shapes = self.module, SHAPES.get(step.op, ())
        inputs = module._arguments(step, self.meta)
        for at in shapes:
            if at < len(inputs) and isinstance(inputs[at], Tensor):
                if step.inputs[at] not in self.real:
                    raise UnsupportedError("its shape depends on the values of an input")
                inputs[at] = self.real[step.inputs[at]]
        if step.op == "Shape":
            found = run(step, inputs, None)
            self.real |= dict(zip(step.outputs, found, strict=False))
        else:
            with torch.device("meta"):
                found = run(step, inputs, None)
        self.total += sum(value.numel() for value in found)
        if self.total > MOST:
            raise UnsupportedError(f"the graph computes more than {MOST} numbers")
        self.meta |= {name: value.to("meta") for name, value in zip(step.outputs, found, strict=False)}
        known = all(name in self.real for name in step.inputs if name)
        if known and step.op != "Shape" and all(value.numel() <= KNOWN for value in found):
            found = run(step, module._arguments(step, self.real), None)
            self.real |= dict(zip(step.outputs, found, strict=False))


def _shown(step: Step) -> str:
    return repr((step.outputs or ("",))[0][:80])


# -- example inputs ------------------------------------------------------------------------------------------


def examples(inputs: Sequence[Input]) -> Iterator[tuple[tuple[Tensor, ...], str]]:
    """Yield inputs that may fit a graph, and what was assumed about their symbolic axes.

    Raises:
        ArchitectureError: an input has no shape, or a type or shape of which no example is made.
    """
    batches = {each.shape[0] for each in inputs if each.shape and isinstance(each.shape[0], str)}
    open_ = [
        axis
        for each in inputs
        for at, axis in enumerate(each.shape or ())
        if not isinstance(axis, int) and at and axis not in batches
    ]
    for size in SIZES if open_ else SIZES[:1]:
        generator = torch.Generator().manual_seed(0)
        made = []
        for each in inputs:
            if each.shape is None or each.kind not in DTYPES:
                raise ArchitectureError(
                    f"the input {each.name[:80]!r} has no shape, or a type that is not read"
                )
            shape = [
                axis if isinstance(axis, int) else BATCH if not at or axis in batches else size
                for at, axis in enumerate(each.shape)
            ]
            if len(shape) > 16 or min(shape, default=1) < 1 or _product(shape) > LARGEST:
                raise ArchitectureError(f"the input {each.name[:80]!r} has the shape {shape[:16]}")
            dtype = DTYPES[each.kind]
            if dtype.is_floating_point:
                made.append(torch.randn(shape, generator=generator).to(dtype))
            else:
                filled = dtype == torch.bool or "mask" in each.name.lower()
                made.append(torch.full(shape, int(filled), dtype=dtype))
        shown = ", ".join(sorted({repr(axis) for axis in open_ if axis})) or "without a name"
        yield tuple(made), f"symbolic axes ({shown[:120]}) were taken as {size}" if open_ else ""


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def runnable(graph: Graph) -> tuple[tuple[Tensor, ...] | None, str]:
    """Return an input on which the graph can be computed, and a note; or None, and why it cannot be computed."""
    unknown = sorted({step.op for step in graph.steps} - OPERATIONS.keys())
    if graph.fault or unknown:
        what = graph.fault or f"the graph has the operation {', '.join(unknown)[:160]}"
        return None, f"not derived: {what}; all neurons keep their places"
    fault = ""
    try:
        module = OnnxModule(graph)
        for example, note in examples(graph.inputs):
            try:
                module.check(example)
            except ArchitectureError as error:
                fault = fault or str(error)
            else:
                return example, note
    except ArchitectureError as error:
        fault = str(error)
    return None, f"not derived: {fault}; all neurons keep their places"

"""Build the torch module of an ONNX graph. Weights are put into torch's own layers where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sneframe_formats.onnx_graph import OnnxGraph
from sneframe_formats.onnx_module import OnnxModule, PlainStep
from sneframe_formats.onnx_nodes import OnnxStep

STATISTICS = ("running_mean", "running_var")
CONVS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
KNOWN = 1 << 16  #: largest number of indices that are read from a constant


def build(graph: OnnxGraph) -> OnnxModule:
    """Build the module of a graph. The module shares the memory of the weights in the graph.

    Args:
        graph: the graph. All of its operations must be in ``OPERATIONS``.
    """
    read = {name for step in graph.steps for name in step.inputs} | set(graph.outputs)
    constants = {name: f"constant_{at}" for at, name in enumerate(graph.constants) if name in read}
    module = OnnxModule(
        steps=[_plain(step, graph) for step in graph.steps],
        inputs=[each.name for each in graph.inputs],
        outputs=graph.outputs,
        places={key: tuple(name.split(".")) for key, name in graph.names.items() if key in read},
        constants=constants,
        numbers={
            name: (value.ndim, value.item())
            for name, value in graph.constants.items()
            if value.is_floating_point() and value.numel() == 1
        },
        wide={value.dtype for value in graph.weights.values()} == {torch.float32},
    )
    holders = _holders(graph)
    for name, value in graph.weights.items():
        _place(module, name, value, holders)
    for name, own in constants.items():
        module._buffers[own] = graph.constants[name]
        module._non_persistent_buffers_set.add(own)
    return module


def _plain(step: OnnxStep, graph: OnnxGraph) -> PlainStep:
    """Return a step as plain values. Attributes are added that depend on the rest of the graph."""
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
    return step.op, step.inputs, step.outputs, {**step.attributes, **extra}


# -- the modules that hold the weights -----------------------------------------------------------------------


def _holders(graph: OnnxGraph) -> dict[str, nn.Module]:
    """Return a module of torch's own classes for each layer with such a module, by the path of the layer."""
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
                made = _layer(
                    step, [value for name in names if (value := graph.weights.get(name)) is not None]
                )
            except (ValueError, TypeError, IndexError, KeyError, RuntimeError):
                made = None
            own = set() if made is None else {*made._parameters, *made._buffers} - {"num_batches_tracked"}
            if (
                made is not None
                and own == words[path]
                and all(getattr(made, word) is not None for word in own)
            ):
                holders[path] = made
    return holders


def _layer(step: OnnxStep, given: Sequence[Tensor]) -> nn.Module | None:
    """Return a torch layer that computes a step, or None if torch has no such layer."""
    weight, at = given[0], step.attributes
    options: dict[str, Any] = {"device": "meta", "dtype": weight.dtype}
    if step.op == "Linear" and not {"alpha", "beta", "turn"} & at.keys():
        return nn.Linear(weight.shape[1], weight.shape[0], len(given) > 1, **options)
    if step.op in ("Conv", "ConvTranspose"):
        return _convolution(step, weight, {**options, "bias": len(given) > 1})
    norms: Mapping[str, Callable[[], nn.Module]] = {
        "BatchNormalization": lambda: nn.BatchNorm2d(weight.numel(), **options),
        "LayerNormalization": lambda: nn.LayerNorm(weight.shape, bias=len(given) > 1, **options),
        "InstanceNormalization": lambda: nn.InstanceNorm2d(weight.numel(), affine=True, **options),
        "GroupNormalization": lambda: nn.GroupNorm(at["num_groups"], weight.numel(), **options),
        "PRelu": lambda: nn.PReLU(weight.numel(), **options),
        "Gather": lambda: nn.Embedding(*weight.shape, **options),
    }
    return norms[step.op]() if step.op in norms else None


def _convolution(step: OnnxStep, weight: Tensor, options: dict[str, Any]) -> nn.Module | None:
    """Return a torch convolution that computes a step, or None if the paddings do not allow it."""
    at, n = step.attributes, weight.ndim - 2
    groups, kernel, pads = at.get("group", 1), tuple(weight.shape[2:]), list(at.get("pads") or [0] * 2 * n)
    if at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or pads[:n] != pads[n:]:
        return None
    options |= {
        "stride": tuple(at.get("strides") or [1] * n),
        "padding": tuple(pads[:n]),
        "dilation": tuple(at.get("dilations") or [1] * n),
        "groups": groups,
    }
    made: nn.Module
    if step.op == "Conv":
        made = CONVS[n](weight.shape[1] * groups, weight.shape[0], kernel, **options)
    else:
        made = TRANSPOSED[n](weight.shape[0], weight.shape[1] * groups, kernel, **options)
    return made


def _place(module: nn.Module, name: str, value: Tensor, holders: Mapping[str, nn.Module]) -> None:
    """Add a weight to a module under a dotted name. A word of it may equal the name of an attribute."""
    *path, last = name.split(".")
    owner = module
    for depth, word in enumerate(path):
        if word not in owner._modules:
            owner._modules[word] = holders.get(".".join(path[: depth + 1]), nn.Module())
        owner = owner._modules[word]  # type: ignore[assignment]  # none of the modules is None
    if isinstance(owner, nn.BatchNorm2d):
        owner._buffers["num_batches_tracked"] = torch.tensor(0)
    if last in STATISTICS:
        owner._buffers[last] = value
    else:
        owner._parameters[last] = nn.Parameter(value, requires_grad=False)

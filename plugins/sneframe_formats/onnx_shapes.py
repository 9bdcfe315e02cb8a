"""Find inputs for which an ONNX graph can be computed. Only shapes are computed for this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from sneframe.errors import ArchitectureError, one_line
from sneframe_formats.onnx_build import build
from sneframe_formats.onnx_graph import OnnxGraph
from sneframe_formats.onnx_inputs import DTYPES, UnsupportedOnnxError
from sneframe_formats.onnx_module import OnnxModule, PlainStep, compute, value_of
from sneframe_formats.onnx_nodes import Input
from sneframe_formats.onnx_operations import OPERATIONS
from sneframe_formats.onnx_rearrange import SHAPES

BATCH = 2  #: size of a symbolic first axis of an example input
SIZES = (
    5,
    32,
    28,
    64,
    224,
    16,
    8,
    48,
    96,
    128,
    2,
)  #: sizes that are tried in turn for other symbolic axes
LARGEST = 1 << 26  #: largest number of elements of the example inputs
MOST = 1 << 28  #: largest number of elements of all values that the graph computes
KNOWN = 1 << 16  #: largest number of elements of a tensor on whose values a shape may depend


class _Shapes:
    """Computes the shapes of all values of a graph. Tensors are on the meta device and have no elements.

    Args:
        module: the module that computes the graph.
        example: an example of each input.
    """

    def __init__(self, module: OnnxModule, example: Sequence[Tensor]) -> None:
        self.module = module
        self.total = 0
        self.real: dict[str, Tensor] = {n: module.get_buffer(o) for n, o in module.constants.items()}
        self.meta: dict[str, Tensor] = {name: value.to("meta") for name, value in self.real.items()}
        for name, value in zip(module.inputs, example, strict=True):
            self.meta[name] = value.to("meta")
        for name, place in module.places.items():
            self.meta[name] = module.weight(place).to("meta")

    def run(self) -> None:
        """Compute the shapes of all values.

        Raises:
            ArchitectureError: an operation fails, a shape depends on the values of an input, or the values
                have too many elements.
        """
        for step in self.module.steps:
            try:
                self._step(step)
            except Exception as error:
                reason = one_line(error)[:160]
                raise ArchitectureError(f"the operation {step[0]} fails: {reason}") from error
        for name in self.module.outputs:
            value_of(self.meta, name)

    def _step(self, step: PlainStep) -> None:
        module, shapes = self.module, SHAPES.get(step[0], ())
        inputs = module.arguments(step, self.meta)
        for at in shapes:
            if at < len(inputs) and isinstance(inputs[at], Tensor):
                if step[1][at] not in self.real:
                    raise UnsupportedOnnxError("the shape of the output depends on the values of an input")
                inputs[at] = self.real[step[1][at]]
        if step[0] == "Shape":
            found = compute(step, inputs, None)
            self.real |= dict(zip(step[2], found, strict=False))
        else:
            with torch.device("meta"):
                found = compute(step, inputs, None)
        self.total += sum(value.numel() for value in found)
        if self.total > MOST:
            raise UnsupportedOnnxError(f"the graph computes more than {MOST} numbers")
        self.meta |= {name: value.to("meta") for name, value in zip(step[2], found, strict=False)}
        known = all(name in self.real for name in step[1] if name)
        if known and step[0] != "Shape" and all(value.numel() <= KNOWN for value in found):
            found = compute(step, module.arguments(step, self.real), None)
            self.real |= dict(zip(step[2], found, strict=False))


# -- example inputs ------------------------------------------------------------------------------------------


def examples(inputs: Sequence[Input]) -> Iterator[tuple[tuple[Tensor, ...], str]]:
    """Yield inputs that may fit a graph, and a note about the sizes of their symbolic axes.

    Raises:
        ArchitectureError: the shape of an input is missing or too large, or its type is not supported.
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
        made, total = [], 0
        for each in inputs:
            if each.shape is None or each.kind not in DTYPES:
                raise ArchitectureError(f"the input {each.name[:80]!r} has no shape or an unknown type")
            shape = [
                axis if isinstance(axis, int) else BATCH if not at or axis in batches else size
                for at, axis in enumerate(each.shape)
            ]
            total += prod(shape)
            if len(shape) > 16 or min(shape, default=1) < 1 or total > LARGEST:
                raise ArchitectureError(
                    f"the input {each.name[:80]!r} has the shape {shape[:16]}, which is empty or too large"
                )
            dtype = DTYPES[each.kind]
            if dtype.is_floating_point:
                made.append(torch.randn(shape, generator=generator).to(dtype))
            else:
                filled = dtype == torch.bool or "mask" in each.name.lower()
                made.append(torch.full(shape, int(filled), dtype=dtype))
        shown = ", ".join(sorted({repr(axis) for axis in open_ if axis})) or "without a name"
        yield tuple(made), f"symbolic axes ({shown[:120]}) were given the size {size}" if open_ else ""


def runnable(graph: OnnxGraph) -> tuple[tuple[Tensor, ...] | None, str]:
    """Find inputs for which a graph can be computed.

    Returns:
        The inputs and a note, which may be empty. Or None and a note that says why there are no such inputs.
    """
    unknown = ", ".join(sorted({step.op for step in graph.steps} - OPERATIONS.keys()))
    if graph.fault or unknown:
        what = graph.fault or f"the graph has the operation {' '.join(unknown[:160].split())}"
        return None, f"the architecture is not derived: {what}; every axis is fixed"
    fault = ""
    try:
        module = build(graph)
        for example, note in examples(graph.inputs):
            try:
                _Shapes(module, example).run()
            except ArchitectureError as error:
                fault = fault or str(error)
            else:
                return example, note
    except ArchitectureError as error:
        fault = str(error)
    except Exception as error:  # noqa: BLE001  # a hostile graph has attributes of any type
        fault = one_line(error)[:160]
    return None, f"the architecture is not derived: {fault}; every axis is fixed"

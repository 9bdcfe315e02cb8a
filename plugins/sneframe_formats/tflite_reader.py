"""Read TFLite files, and build torch modules that compute their graphs."""

from __future__ import annotations

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.layer import Layer, Parameter
from sneframe.errors import FileError, counted
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.sizes import check_sizes
from sneframe_formats.flat_buffer import DamagedBuffer
from sneframe_formats.mapped_tensors import mapped, tensor_at
from sneframe_formats.tflite_graph import MAGIC, TfliteConstant, TfliteGraph, read_graph
from sneframe_formats.tflite_module import TfliteModule, UnsupportedOperatorError, steps_of
from sneframe_formats.tflite_weights import Weights, weights_of

DTYPES = {
    "FLOAT32": torch.float32,
    "FLOAT16": torch.float16,
    "FLOAT64": torch.float64,
    "BFLOAT16": torch.bfloat16,
}
LARGEST_INPUT = 1 << 22  #: largest number of values of an example input, without the batch
#: The kind of a layer, by the operator that reads its weights.
KINDS = {
    "FULLY_CONNECTED": "linear",
    "CONV_2D": "conv2d",
    "DEPTHWISE_CONV_2D": "conv2d",
    "TRANSPOSE_CONV": "conv_transpose2d",
}


@final
class TfliteReader(FileReader):
    """Reads a TFLite file with float weights."""

    name = "formats/tflite"
    help = "TFLite files with float weights"
    endings = (".tflite",)
    needs = ("tflite",)
    extra = "sneframe[tflite]"

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for a file whose bytes 4 to 7 are ``TFL3``."""
        return candidate.head[4:8] == MAGIC

    def read(self, path: Path) -> Content:
        """Read the weights of the main graph. If possible, also build the module that computes the graph."""
        data = mapped(path)
        try:
            graph = read_graph(data)
            weights = weights_of(graph)
            tensors = {
                each.name: each.in_torch_order(_tensor(graph.tensors[number], data))
                for number, each in weights.named.items()
            }
        except DamagedBuffer as error:
            raise FileError(f"{path}: damaged, or not a TFLite file: {error}") from error
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        if not tensors:
            raise FileError(f"{path}: the file holds no weights")
        check_sizes(tensors.values(), path, len(data))
        notes = ["weights are named after the operators that read them, with axes in torch's order"]
        if graph.others:
            notes.append(f"{counted(graph.others, 'graph')} beside the main graph left out")
        try:
            steps = steps_of(graph, weights, _constants(graph, data))
            example = _example(graph.tensors[graph.inputs[0]])
        except UnsupportedOperatorError as error:
            notes.append(
                f"the architecture is not derived, because the file has the {error}: every axis is fixed"
            )
            return Content(values=tensors, architecture=_fixed(weights, tensors), notes=tuple(notes))

        def module() -> tuple[nn.Module, Any]:
            return TfliteModule(steps, graph.inputs[0], graph.outputs[0], tensors), example()

        return Content(values=tensors, module=module, notes=tuple(notes))


def _tensor(stored: TfliteConstant, data: mmap.mmap) -> Tensor:
    return tensor_at(data, DTYPES[stored.kind], stored.start, stored.stop).reshape(stored.shape)


def _constants(graph: TfliteGraph, data: mmap.mmap) -> dict[int, tuple[int, ...]]:
    """Return the values of the integer constants with at most 8 elements, by the numbers of the tensors."""
    return {
        number: struct.unpack(f"<{prod(each.shape)}i", data[each.start : each.stop])
        for number, each in enumerate(graph.tensors)
        if each.constant and each.kind == "INT32" and prod(each.shape) <= 8 and not each.sparse
    }


def _example(source: TfliteConstant) -> Any:
    """Return a function that returns an example input of the network, with two examples in the batch.

    Raises:
        UnsupportedOperatorError: the input is too large, or its shape is not known.
    """
    shape = source.shape[1:]
    if (
        source.kind != "FLOAT32"
        or not source.shape
        or min(shape, default=1) < 1
        or prod(shape) > LARGEST_INPUT
    ):
        raise UnsupportedOperatorError(f"input of type {source.kind} and shape {source.shape}")
    return lambda: torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))


def _fixed(weights: Weights, tensors: dict[str, Tensor]) -> Architecture:
    """Return an architecture in which every axis is fixed. It is used for graphs that cannot be computed."""
    layers: dict[str, list[Parameter]] = {}
    kinds: dict[str, str] = {}
    for each in weights.named.values():
        stem = each.name.rpartition(".")[0]
        parameter = Parameter(name=each.name, shape=tuple(tensors[each.name].shape), role=each.role)
        layers.setdefault(stem, []).append(parameter)
        kinds[stem] = KINDS.get(each.operator, "parameter")
    return Architecture(
        layers=[
            Layer(
                kind=kinds[stem],
                parameters=own,
                inputs=(number - 1,) if number else (),
                activation="other",
            )
            for number, (stem, own) in enumerate(layers.items())
        ]
    )

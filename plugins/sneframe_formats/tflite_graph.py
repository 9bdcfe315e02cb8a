"""Read the graph of a TFLite file. It consists of tensors, and of operators that read and write them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from attrs import field, frozen

from sneframe_formats.flat_buffer import DamagedBuffer, FlatTable
from sneframe_formats.sliceable import Sliceable

MAGIC = b"TFL3"  #: the bytes 4 to 7 of a file
AXES = 8  #: largest number of axes of a tensor in TFLite
#: The name of each type of tensors and its number of bytes per value, by the number of the type.
TYPES: Mapping[int, tuple[str, int]] = {
    number: (name, size)
    for number, name, size in (
        *((0, "FLOAT32", 4), (1, "FLOAT16", 2), (10, "FLOAT64", 8), (18, "BFLOAT16", 2), (2, "INT32", 4)),
        *((3, "UINT8", 1), (4, "INT64", 8), (6, "BOOL", 1), (7, "INT16", 2), (9, "INT8", 1)),
        *((12, "UINT64", 8), (15, "UINT32", 4), (16, "UINT16", 2)),
    )
}
INT4 = 17  #: the number of a type with two values per byte
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16")
#: The operators that can be computed, by their numbers. Other operators are named by the package tflite.
OPERATORS = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    19: "RELU",
    21: "RELU6",
    22: "RESHAPE",
    25: "SOFTMAX",
    28: "TANH",
    40: "MEAN",
    67: "TRANSPOSE_CONV",
    98: "LEAKY_RELU",
    111: "ELU",
    34: "PAD",
    117: "HARD_SWISH",
}
CUSTOM = 32  #: the number of all custom operators
ACTIVATIONS = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6", 4: "tanh", 5: "sign_bit"}
PADDINGS = {0: "same", 1: "valid"}
WINDOW = (("padding", 0, "<b", 0), ("stride_w", 1, "<i", 0), ("stride_h", 2, "<i", 0))
#: The options of operators: name, number of the field, ``struct`` format, and default value.
OPTIONS: Mapping[str, tuple[tuple[str, int, str, float], ...]] = {
    "CONV_2D": (*WINDOW, ("activation", 3, "<b", 0), ("dilation_w", 4, "<i", 1), ("dilation_h", 5, "<i", 1)),
    "DEPTHWISE_CONV_2D": (
        *(*WINDOW, ("activation", 4, "<b", 0)),
        *(("dilation_w", 5, "<i", 1), ("dilation_h", 6, "<i", 1)),
    ),
    "FULLY_CONNECTED": (("activation", 0, "<b", 0), ("format", 1, "<b", 0), ("keep_axes", 2, "<?", 0)),
    "AVERAGE_POOL_2D": (*WINDOW, ("width", 3, "<i", 0), ("height", 4, "<i", 0), ("activation", 5, "<b", 0)),
    "MAX_POOL_2D": (*WINDOW, ("width", 3, "<i", 0), ("height", 4, "<i", 0), ("activation", 5, "<b", 0)),
    "ADD": (("activation", 0, "<b", 0),),
    "SOFTMAX": (("beta", 0, "<f", 0),),
    "LEAKY_RELU": (("alpha", 0, "<f", 0),),
    "MEAN": (("keep_axes", 0, "<?", 0),),
}


#: The number that the schema gives to the type of the options of each operator.
TABLES = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 2,
    "AVERAGE_POOL_2D": 5,
    "MAX_POOL_2D": 5,
    "FULLY_CONNECTED": 8,
    "SOFTMAX": 9,
    "ADD": 11,
    "MEAN": 27,
    "LEAKY_RELU": 75,
}


@frozen
class TfliteConstant:
    """A tensor of the graph.

    Args:
        name: the name of the tensor in the file.
        shape: the shape. In most files, the size of the batch is 1.
        kind: the name of the type of the values, or ``other``.
        start: the position of the first byte of the values in the file.
        stop: the position after the last byte. It equals ``start`` if an operator computes the tensor.
        quantised: whether the stored values must be multiplied by a scale.
        sparse: whether the tensor is stored in a sparse format.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    stop: int
    quantised: bool = False
    sparse: bool = False

    @property
    def constant(self) -> bool:
        """Whether the values are in the file."""
        return self.stop > self.start


@frozen
class Operator:
    """An operator of the graph.

    Args:
        name: the name in the schema of TFLite, such as ``CONV_2D``.
        inputs: the numbers of the tensors that are read. The number of a missing input is −1.
        outputs: the numbers of the tensors that are written.
        options: the settings by name, for the operators in ``OPTIONS``.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(factory=dict)


@frozen
class TfliteGraph:
    """The main graph of a TFLite file.

    Args:
        tensors: the tensors by number.
        operators: the operators in the order in which they run.
        inputs: the numbers of the tensors that the network reads.
        outputs: the numbers of the tensors that the network returns.
        others: the number of other graphs in the file.
        description: the description in the file, such as the name of the converter.
    """

    tensors: tuple[TfliteConstant, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    others: int
    description: str


def read_graph(data: Sliceable) -> TfliteGraph:
    """Read the main graph of a file.

    Raises:
        DamagedBuffer: the file is damaged, or states wrong sizes.
    """
    if data[4:8] != MAGIC:
        raise DamagedBuffer("the file does not have TFL3 at byte 4")
    model = FlatTable.root(data)
    codes = [_name(each) for each in model.tables(1)]
    graphs = model.tables(2)
    if not graphs:
        raise DamagedBuffer("the file has no graph")
    places = [_place(each, len(data)) for each in model.tables(4)]
    tensors = tuple(_tensor(each, places) for each in graphs[0].tables(0))
    numbers = range(-1, len(tensors))
    operators = tuple(_operator(each, codes, numbers) for each in graphs[0].tables(3))
    inputs, outputs = graphs[0].numbers(1), graphs[0].numbers(2)
    _check((*inputs, *outputs), numbers)
    return TfliteGraph(tensors, operators, inputs, outputs, len(graphs) - 1, model.text(3))


def _check(found: tuple[int, ...], numbers: range) -> None:
    if any(each not in numbers for each in found):
        raise DamagedBuffer("an operator or the graph refers to a missing tensor")


def _name(code: FlatTable) -> str:
    """Return the name of an operator. The number of the operator is in field 0 in old files, or else in 3."""
    number = max(code.integer(0, "<b"), code.integer(3, "<i"))
    if number == CUSTOM:
        return f"custom operator {code.text(1)}"
    return OPERATORS.get(number) or _other(number)


def _other(number: int) -> str:
    """Return the name of an operator that is not in ``OPERATORS``."""
    from tflite.utils import BUILTIN_OPCODE2NAME

    return BUILTIN_OPCODE2NAME.get(number, f"operator {number}")


def _place(buffer: FlatTable, size: int) -> tuple[int, int]:
    """Return the start and the end of the values of a buffer. In large files they are behind the graph."""
    start, stop = buffer.span(0)
    offset, length = buffer.integer(1, "<Q"), buffer.integer(2, "<Q")
    if offset > 1:
        start, stop = offset, offset + length
    if stop > size:
        raise DamagedBuffer(f"the values of a tensor end at byte {stop}, but the file has {size}")
    return start, stop


def _tensor(table: FlatTable, places: list[tuple[int, int]]) -> TfliteConstant:
    name, shape, number, buffer = (
        table.text(3),
        table.numbers(0),
        table.integer(1, "<b"),
        table.integer(2, "<I"),
    )
    if buffer >= len(places):
        raise DamagedBuffer(f"the tensor {name!r} refers to a missing buffer")
    if len(shape) > AXES:
        raise DamagedBuffer(f"the tensor {name!r} has {len(shape)} axes, but at most {AXES} are allowed")
    start, stop = places[buffer]
    kind, size = TYPES.get(number, ("INT4" if number == INT4 else "other", 0))
    quantisation, sparse = table.table(4), table.table(6) is not None
    if (
        start < stop
        and size
        and not sparse
        and (any(n < 0 for n in shape) or prod(shape) * size != stop - start)
    ):
        raise DamagedBuffer(f"the tensor {name!r} of shape {shape} does not fit its {stop - start} bytes")
    quantised = quantisation is not None and quantisation.span(2, 4)[1] > quantisation.span(2, 4)[0]
    return TfliteConstant(name, shape, kind, start, stop, quantised, sparse)


def _operator(table: FlatTable, codes: list[str], numbers: range) -> Operator:
    code = table.integer(0, "<I")
    if code >= len(codes):
        raise DamagedBuffer("an operator refers to a missing kind of operator")
    inputs, outputs = table.numbers(1), table.numbers(2)
    _check((*inputs, *outputs), numbers)
    settings: dict[str, Any] = {}
    options = table.table(4) if table.integer(3, "<B") == TABLES.get(codes[code]) else None
    for name, place, form, default in OPTIONS.get(codes[code], ()):
        value: Any = default if options is None else options.number(place, form, default)
        if name == "activation":
            value = ACTIVATIONS.get(int(value), f"activation {value}")
        if name == "padding":
            value = PADDINGS.get(int(value), f"padding {value}")
        settings[name] = value
    return Operator(codes[code], inputs, outputs, settings)

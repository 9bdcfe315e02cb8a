"""Read the inputs and attributes of ONNX operations.

An operation takes its inputs as a list of tensors, with None for an input that is not given, and its
attributes with the version of the operations as ``opset``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sneframe.errors import ArchitectureError

Inputs: TypeAlias = Sequence[Tensor | None]
Attributes: TypeAlias = Mapping[str, Any]
Result: TypeAlias = Tensor | Sequence[Tensor]
Operation: TypeAlias = Callable[[Inputs, Attributes], Result]

MOST = 1024  #: number of integers in a list

DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


class UnsupportedOnnxError(ArchitectureError):
    """The operation has a form that is not computed."""


def need(inputs: Inputs, at: int) -> Tensor:
    """Return an input that must be given."""
    value = inputs[at] if at < len(inputs) else None
    if value is None:
        raise UnsupportedOnnxError("an input is missing")
    return value


def maybe(inputs: Inputs, at: int) -> Tensor | None:
    """Return an input that need not be given."""
    return inputs[at] if at < len(inputs) else None


def ints(inputs: Inputs, at: int, given: Attributes, name: str) -> list[int] | None:
    """Return a list of integers, which newer versions take as an input and older ones as an attribute."""
    if (value := maybe(inputs, at)) is not None:
        if value.numel() > MOST:
            raise UnsupportedOnnxError(f"has more than {MOST} {name or 'sizes'}")
        return [int(each) for each in value.flatten().tolist()]
    return None if given.get(name) is None else [int(each) for each in given[name][:MOST]]


def number(value: Tensor | None) -> float | int | None:
    """Return the only number in a tensor."""
    return None if value is None else value.reshape(()).item()


def axis_of(axis: int, count: int) -> int:
    """Return the number of an axis, which may be counted from the end."""
    if not -count <= axis < count:
        raise UnsupportedOnnxError(f"has the axis {axis}, but there are {count}")
    return axis % count

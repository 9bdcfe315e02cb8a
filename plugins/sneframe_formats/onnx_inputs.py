"""Read the inputs and attributes of ONNX operations.

An operation takes a list of tensors and a mapping of attributes. The list has None for an input that is not
given. The attribute ``opset`` is the version of ONNX's set of operations.
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

MOST = 1024  #: largest number of integers in a list

#: The types of torch, by their numbers in ONNX.
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
    """The operation has a form that cannot be computed."""


def need(inputs: Inputs, at: int) -> Tensor:
    """Return the input with the number ``at``. Raise an error if the input is not given."""
    value = inputs[at] if at < len(inputs) else None
    if value is None:
        raise UnsupportedOnnxError("an input is missing")
    return value


def maybe(inputs: Inputs, at: int) -> Tensor | None:
    """Return the input with the number ``at``, or None if the input is not given."""
    return inputs[at] if at < len(inputs) else None


def ints(inputs: Inputs, at: int, given: Attributes, name: str) -> list[int] | None:
    """Return a list of integers, or None if it is not given.

    Newer versions of an operation take it as the input ``at``, and older versions as the attribute ``name``.
    """
    if (value := maybe(inputs, at)) is not None:
        if value.numel() > MOST:
            raise UnsupportedOnnxError(f"the operation has more than {MOST} {name or 'sizes'}")
        return [int(each) for each in value.flatten().tolist()]
    return None if given.get(name) is None else [int(each) for each in given[name][:MOST]]


def number(value: Tensor | None) -> float | int | None:
    """Return the number in a tensor with a single element. Return None for None."""
    return None if value is None else value.reshape(()).item()


def axis_of(axis: int, count: int) -> int:
    """Return the number of an axis from 0 to ``count - 1``. A negative ``axis`` is counted from the end."""
    if not -count <= axis < count:
        raise UnsupportedOnnxError(f"the axis must be from {-count} to {count - 1}, but got {axis}")
    return axis % count

"""Compute the operations of ONNX that rearrange elements, or compute shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe_formats.onnx_inputs import (
    Attributes,
    Inputs,
    Operation,
    UnsupportedOnnxError,
    axis_of,
    ints,
    maybe,
    need,
    number,
)

#: The numbers of the inputs on whose values the shape of the output depends, by operation.
SHAPES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Unsqueeze", "Squeeze", "Split"), (1,)),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "Trilu"), (1,)),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "Clip": (1, 2),
    "Dropout": (2,),
}
MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def flatten(inputs: Inputs, given: Attributes) -> Tensor:
    """Return a matrix: axes before ``axis`` become the first axis, and all others the second."""
    x, axis = need(inputs, 0), given.get("axis", 1)
    axis = axis if axis == x.ndim else axis_of(axis, x.ndim)
    if axis == 1 and x.ndim > 1:
        return x.flatten(1)
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def reshape(inputs: Inputs, given: Attributes) -> Tensor:
    """Change the shape. A zero in the new shape stands for the size that the axis had."""
    x, shape = need(inputs, 0), ints(inputs, 1, given, "shape")
    if shape is None:
        raise UnsupportedOnnxError("the shape is missing")
    if not given.get("allowzero"):
        shape = [x.shape[at] if size == 0 else size for at, size in enumerate(shape)]
    return x.reshape(shape)


def transpose(inputs: Inputs, given: Attributes) -> Tensor:
    """Reorder the axes by the attribute ``perm``, or reverse them without it."""
    x = need(inputs, 0)
    order = given.get("perm") or tuple(reversed(range(x.ndim)))
    return x.t() if tuple(order) == (1, 0) else x.permute(order)


def squeeze(inputs: Inputs, given: Attributes) -> Tensor:
    """Remove the given axes, which must have size 1, or all axes of size 1."""
    x, axes = need(inputs, 0), ints(inputs, 1, given, "axes")
    if axes is None:
        return x.squeeze()
    if any(x.shape[axis] != 1 for axis in axes):
        raise UnsupportedOnnxError("an axis to remove has a size other than 1")
    return x.squeeze(tuple(axes))


def unsqueeze(inputs: Inputs, given: Attributes) -> Tensor:
    """Add axes of size 1."""
    x, axes = need(inputs, 0), ints(inputs, 1, given, "axes") or []
    total = x.ndim + len(axes)
    for axis in sorted({axis_of(axis, total) for axis in axes}):
        x = x.unsqueeze(axis)
    return x


def concat(inputs: Inputs, given: Attributes) -> Tensor:
    """Join tensors along an axis."""
    return torch.cat([need(inputs, at) for at in range(len(inputs))], given["axis"])


def split(inputs: Inputs, given: Attributes) -> Sequence[Tensor]:
    """Split a tensor along an axis."""
    x, axis, sizes = need(inputs, 0), given.get("axis", 0), ints(inputs, 1, given, "split")
    if sizes is None:
        if given.get("num_outputs", given["outputs"]) != given["outputs"]:
            raise UnsupportedOnnxError("the number of outputs differs from num_outputs")
        size = -(-x.shape[axis] // given["outputs"])
        return x.split(size, axis)
    return x.split(sizes, axis)


def slice_(inputs: Inputs, given: Attributes) -> Tensor:
    """Return ranges of axes. A range with a negative step runs backwards."""
    x = need(inputs, 0)
    starts, ends = ints(inputs, 1, given, "starts"), ints(inputs, 2, given, "ends")
    if starts is None or ends is None:
        raise UnsupportedOnnxError("the starts or the ends of the ranges are missing")
    axes = ints(inputs, 3, given, "axes") or list(range(len(starts)))
    steps = ints(inputs, 4, {}, "steps") or [1] * len(starts)
    for start, end, given_axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(given_axis, x.ndim)
        size = x.shape[axis]
        if step == 0:
            raise UnsupportedOnnxError("the step of a range must not be 0")
        first, last, _ = slice(start, _end(end, size, step), step).indices(size)
        if step > 0:
            index: list[slice] = [slice(None)] * x.ndim
            index[axis] = slice(first, max(first, last), step)
            x = x[tuple(index)]
        else:
            count = len(range(first, last, step))
            x = x.index_select(axis, torch.arange(first, first + step * count, step, device=x.device))
    return x


def _end(end: int, size: int, step: int) -> int | None:
    """Return the end of a range for Python's ``slice``. None: it runs backwards to the first element."""
    return None if step < 0 and end < -size else end


def gather(inputs: Inputs, given: Attributes) -> Tensor:
    """Return the elements at given indices of an axis. Rows of a weight are looked up by an embedding."""
    x, index, axis = need(inputs, 0), need(inputs, 1), given.get("axis", 0)
    axis = axis_of(axis, x.ndim)
    fixed = given.get("positions")
    if isinstance(fixed, int):
        return x.select(axis, fixed)
    if fixed is not None:
        return x.narrow(axis, *fixed)
    if axis == 0 and x.ndim == 2 and given.get("table"):
        return F.embedding(index, x)
    index = torch.where(index < 0, index + x.shape[axis], index)
    found = x.index_select(axis, index.flatten())
    return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def shape(inputs: Inputs, given: Attributes) -> Tensor:
    """Return the shape of a tensor, or a range of it, as a tensor of integers."""
    sizes = list(need(inputs, 0).shape)
    return torch.tensor(sizes[given.get("start", 0) : given.get("end")], dtype=torch.int64)


def constant_of_shape(inputs: Inputs, given: Attributes) -> Tensor:
    """Return a tensor with a given shape whose elements all have the same value."""
    kind, values = given.get("value") or ("float32", [0.0])
    dtype = getattr(torch, kind)
    dtype = given["wide"] if dtype == torch.float32 and given.get("wide") is not None else dtype
    return torch.full(ints(inputs, 0, {}, "") or [], values[0] if values else 0, dtype=dtype)


def expand(inputs: Inputs, given: Attributes) -> Tensor:
    """Repeat axes of size 1 up to the given shape. Where that has size 1, an axis does not change."""
    x = need(inputs, 0)
    wanted = torch.broadcast_shapes(x.shape, tuple(ints(inputs, 1, given, "shape") or []))
    return x.expand(wanted)


def tile(inputs: Inputs, given: Attributes) -> Tensor:
    """Repeat a tensor along its axes."""
    return need(inputs, 0).repeat(ints(inputs, 1, given, "repeats") or [])


def range_(inputs: Inputs, _: Attributes) -> Tensor:
    """Return evenly spaced numbers."""
    start, stop, step = (need(inputs, at).reshape(()).item() for at in range(3))
    return torch.arange(start, stop, step, dtype=need(inputs, 0).dtype)


def pad(inputs: Inputs, given: Attributes) -> Tensor:
    """Add elements before and after axes."""
    x, pads, value = need(inputs, 0), ints(inputs, 1, given, "pads"), number(maybe(inputs, 2))
    mode, axes = MODES.get(given.get("mode", "constant")), ints(inputs, 3, {}, "")
    axes = list(range(x.ndim)) if axes is None else [axis_of(axis, x.ndim) for axis in axes]
    if mode is None or pads is None or len(pads) != 2 * len(axes):
        raise UnsupportedOnnxError("the mode or the padding is not supported")
    count = len(axes)
    both = {axis: (pads[at], pads[count + at]) for at, axis in enumerate(axes)}
    order = [both.get(axis, (0, 0)) for axis in reversed(range(x.ndim))]
    if mode != "constant":
        while len(order) > x.ndim - 2 and order[-1] == (0, 0):
            order.pop()
        return F.pad(x, [each for pair in order for each in pair], mode=mode)
    return F.pad(x, [each for pair in order for each in pair], value=given.get("value", value) or 0)


def trilu(inputs: Inputs, given: Attributes) -> Tensor:
    """Set all elements of matrices to 0, except the upper or the lower triangle."""
    x, diagonal = need(inputs, 0), int(number(maybe(inputs, 1)) or 0)
    return x.triu(diagonal) if given.get("upper", 1) else x.tril(diagonal)


REARRANGE: Mapping[str, Operation] = {
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "Shape": shape,
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Tile": tile,
    "Range": range_,
    "Pad": pad,
    "Trilu": trilu,
}

"""Define the rules of operations that depend on positions along an axis, such as indexing and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Dim, fix_dim, separate, separate_all, size_of, split_sizes
from sneframe.architecture.layer import FOLLOWED
from sneframe.architecture.rules.dims import (
    Dims,
    action_of,
    fix_all,
    fixed_dim,
    joined,
    set_power,
    with_fixed,
)
from sneframe.architecture.space import Clash

#: For each operation, the number of trailing axes that are positions. These axes are fixed.
POSITIONS = {
    **{
        f"{kind}{n}d": n
        for n in (1, 2, 3)
        for kind in ("avg_pool", "_adaptive_avg_pool", "adaptive_avg_pool")
    },
    **{f"max_pool{n}d_with_indices": n for n in (2, 3)},
    **{f"adaptive_max_pool{n}d": n for n in (2, 3)},
    **{f"{kind}_pad{n}d": n for n in (1, 2, 3) for kind in ("reflection", "replication")},
    **{f"upsample_nearest{n}d": n for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": n for n in (1, 2, 3)},
    "upsample_linear1d": 1,
    "upsample_bilinear2d": 2,
    "_upsample_bilinear2d_aa": 2,
    "upsample_bicubic2d": 2,
    "_upsample_bicubic2d_aa": 2,
    "upsample_trilinear3d": 3,
    "tril": 2,
    "triu": 2,
}


def embedding(call: Call) -> list[Dims]:
    """Trace ``embedding``: fix the rows of the table, which are read at given indices."""
    table, index = call.args[:2]
    result: Dims = {}
    for action in FOLLOWED:
        entries, *columns = separate_all(call.dims(table, action))
        fix_dim(entries)
        set_power(columns, 1)
        result[action] = [*_index_dims(call, index, action), *columns]
    return [result]


def _index_dims(call: Call, index: Tensor, action: str) -> list[Dim]:
    """Return the axes of a tensor of indices. The axes are fixed unless the indices depend on neurons."""
    if id(index) not in call.labels:
        return [fixed_dim(size, action) for size in index.shape]
    dims = list(call.dims(index, action))
    if action != "permute":
        fix_all(dims)
    return dims


def index(call: Call) -> list[Dims]:
    """Trace ``x[:, index]``: fix the axis that is read at given indices."""
    if call.name == "index_select":
        axis, index = call.args[1] % call.args[0].ndim, call.args[2]
    else:
        given = [(axis, index) for axis, index in enumerate(call.args[1]) if index is not None]
        if len(given) != 1 or given[0][1].dtype == torch.bool:
            raise Clash
        axis, index = given[0]
    result: Dims = {}
    for action in FOLLOWED:
        dims = separate(call.dims(call.args[0], action), {axis})
        fix_dim(dims[axis])
        result[action] = [*dims[:axis], *_index_dims(call, index, action), *dims[axis + 1 :]]
    return [result]


def gather(call: Call) -> list[Dims]:
    """Trace ``gather``: fix the axis along which each element is read at an index of its own."""
    value, axis, index = call.args[:3]
    axis %= max(1, value.ndim)
    others = [n for n in range(value.ndim) if n != axis]
    if any(value.shape[n] != index.shape[n] for n in others):
        raise Clash
    result: Dims = {}
    for action in FOLLOWED:
        dims = separate_all(call.dims(value, action))
        fix_dim(dims[axis])
        where = separate_all(call.dims(index, action))
        if action == "permute":
            rest = joined([[dims[n] for n in others], [where[n] for n in others]])
        else:
            fix_all(where)
            rest = [dims[n] for n in others]
        along = where[axis] if action == "permute" else fixed_dim(index.shape[axis], action)
        result[action] = [*rest[:axis], along, *rest[axis:]]
    return [result]


def along(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace running sums, flips and shifts: fix the axes along which they work, and keep the other axes."""
    shapes = [output.shape for output in call.outputs]
    if call.name == "roll" and not call.argument(2, "dims"):
        axes = list(range(len(dims)))  # without ``dims``, the flattened tensor is rolled
    elif call.name in ("flip", "roll", "rot90"):
        axes = call.argument({"flip": 1}.get(call.name, 2), "dims") or [0, 1]
    else:
        axes = [call.argument(1, "dim")]
    dims = separate_all(dims)
    linear = call.name in ("flip", "roll", "rot90", "cumsum")
    if action_of(dims) != "permute" and not linear:
        fix_all(dims)
    for axis in axes:
        fix_dim(dims[axis])
    positional_axes = {axis % len(dims) for axis in axes}

    def made(shape: Sequence[int]) -> list[Dim]:
        action = action_of(dims)
        return [fixed_dim(shape[n], action) if n in positional_axes else dim for n, dim in enumerate(dims)]

    return [made(shape) for shape in shapes]


def diagonal(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``diagonal``: fix the two axes that must have equal indices."""
    first, second = (call.argument(n, f"dim{n - 1}", n - 2) % len(dims) for n in (2, 3))
    dims = separate_all(dims)
    fix_all([dims[first], dims[second]])
    rest = [dim for axis, dim in enumerate(dims) if axis not in (first, second)]
    return [[*rest, fixed_dim(call.outputs[0].shape[-1], action_of(dims))]]


def windows(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``x.unfold(dim, size, step)``: fix the axis that is cut into windows.

    The new last axis, which holds the elements of each window, is fixed, too.
    """
    axis, size = call.argument(1, "dimension") % len(dims), call.argument(2, "size")
    dims = with_fixed(separate_all(dims), axis, call.outputs[0].shape[axis])
    return [[*dims, fixed_dim(size, action_of(dims))]]


def columns_of_patches(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``F.unfold``: the channels of the image stay movable, and all positions are fixed.

    The channel axis of the output runs over the channels and, within each channel, over the positions of a
    patch.
    """
    batch, channels, *positions = separate_all(dims)
    fix_all(positions)
    action, shape = action_of(dims), call.outputs[0].shape
    patch = shape[1] // size_of(channels)
    return [[batch, (*channels, *fixed_dim(patch, action)), fixed_dim(shape[2], action)]]


def patches_to_image(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``F.fold``: keep the channels, and fix all positions.

    ``F.fold`` sums overlapping patches into an image.
    """
    shape, action = call.outputs[0].shape, action_of(dims)
    rows, columns = call.inputs[0].shape[-2:]
    split = split_sizes(dims, [*call.inputs[0].shape[:-2], shape[-3], rows // shape[-3], columns])
    *batch, channels, patch, positions = separate_all(split)
    fix_all([patch, positions])
    return [[*batch, channels, *(fixed_dim(size, action) for size in shape[-2:])]]


def resampled(call: Call) -> list[Dims]:
    """Trace ``F.grid_sample``: keep the channels of the image, and fix all other axes."""
    value, grid = call.args[:2]
    result: Dims = {}
    for action in FOLLOWED:
        batch, channels, *positions = separate_all(call.dims(value, action))
        fix_all([batch, *positions])
        if id(grid) in call.labels:
            fix_all(call.dims(grid, action))
        result[action] = [
            batch,
            channels,
            *(fixed_dim(size, action) for size in call.outputs[0].shape[2:]),
        ]
    return [result]


def positional(call: Call) -> list[Dims]:
    """Trace pooling and resampling: fix the trailing axes, which are positions, and keep the other axes."""
    value, count = call.inputs[0], POSITIONS[call.name]
    result: Dims = {}
    for action in FOLLOWED:
        dims = separate_all(call.dims(value, action))
        fix_all(dims[-count:])
        if action == "sign" and "max" in call.name:
            fix_all(dims)
        positions = [fixed_dim(size, action) for size in call.outputs[0].shape[-count:]]
        result[action] = [*dims[:-count], *positions]
    return [result for _ in call.outputs]

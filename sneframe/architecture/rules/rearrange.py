"""Define the rules of operations that only rearrange elements, such as views, slices and concatenation."""

from __future__ import annotations

from collections.abc import Callable

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Digit, Dim, separate_all, space_of, split_sizes, take, whole
from sneframe.architecture.layer import FOLLOWED
from sneframe.architecture.rules.dims import (
    Dims,
    Rule,
    action_of,
    aligned,
    are_fixed,
    fix_all,
    fixed_dim,
    free_dim,
    joined,
    with_fixed,
    without,
)
from sneframe.architecture.space import Clash, Space, find


def structural(change: Callable[[Call, list[Dim]], list[list[Dim]]]) -> Rule:
    """Return a rule for an operation that treats the axes in the same way under every action.

    Args:
        change: a function from the call and the axes of its first argument to the axes of each output.
    """

    def rule(call: Call) -> list[Dims]:
        result: list[Dims] = [{} for _ in call.outputs]
        for action in FOLLOWED:
            for dims, its in zip(result, change(call, call.dims(call.inputs[0], action)), strict=True):
                dims[action] = its
        return result

    return rule


def view(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``view`` and ``reshape``: split and merge the axes into axes of the new sizes."""
    return [split_sizes(dims, call.outputs[0].shape)]


def same(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace copies, which have the axes of their source."""
    return [dims for _ in call.outputs]


def transpose(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``t``, ``transpose`` and ``permute``: reorder the axes."""
    order = list(range(len(dims)))
    if call.name == "permute":
        order = [axis % len(dims) for axis in call.argument(1, "dims")]
    else:
        a, b = (0, 1) if call.name == "t" else (call.argument(1, "dim0"), call.argument(2, "dim1"))
        if dims and len(dims) > 1:
            order[a], order[b] = order[b], order[a]
    return [[dims[axis] for axis in order]]


def units(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``squeeze`` and ``unsqueeze``: remove or add axes of size 1."""
    queue = [dim for dim in dims if dim]
    return [[queue.pop(0) if size > 1 else () for size in call.outputs[0].shape]]


def expand(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``expand``: broadcast axes of size 1, and add axes in front."""
    shape, action = call.outputs[0].shape, action_of(dims)
    # The copies along a new axis may be permuted, but cannot have different scales.
    new = free_dim if action == "permute" else fixed_dim
    return [[dim or new(size, action) for dim, size in zip(aligned(dims, len(shape)), shape, strict=True)]]


def repeat(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``repeat``: add a slowest digit, which counts the copies of the tensor, to each axis."""
    times, action = call.argument(1, "repeats"), action_of(dims)
    new = free_dim if action == "permute" else fixed_dim
    pairs = zip(aligned(dims, len(times)), times, strict=True)
    return [[(*new(count, action), *dim) for dim, count in pairs]]


def slice_(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``x[start:stop]``: cut the axis at the borders of the slice, or fix the axis if this fails."""
    axis, size = call.argument(1, "dim", 0) % len(dims), call.inputs[0].shape
    start, step = call.argument(2, "start") or 0, call.argument(4, "step", 1)
    length = call.outputs[0].shape[axis]
    if step != 1:
        return [with_fixed(separate_all(dims), axis, length)]
    start = max(0, start + size[axis]) if start < 0 else min(start, size[axis])
    return [slice_or_fix(dims, axis, start, length)]


def slice_or_fix(dims: list[Dim], axis: int, start: int, length: int) -> list[Dim]:
    """Return the axes of a slice of a tensor. If the axis cannot be cut at the borders, fix it."""
    try:
        return take(dims, axis, start, length)
    except Clash:
        return with_fixed(separate_all(dims), axis, length)


def select(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``x[i]``: cut the axis before and after element ``i``, and drop the axis."""
    axis, index = call.argument(1, "dim") % len(dims), call.argument(2, "index")
    return [without(slice_or_fix(dims, axis, index % call.inputs[0].shape[axis], 1), axis)]


def unbind(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``unbind``: cut the axis into its elements, and drop the axis in each output."""
    axis = call.argument(1, "dim", 0) % len(dims)
    return [without(slice_or_fix(dims, axis, index, 1), axis) for index in range(len(call.outputs))]


def split(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``split``: cut the axis at the borders of the outputs, or fix the axis if this fails."""
    axis = call.argument(2, "dim", 0) % len(dims)
    result, start = [], 0
    for output in call.outputs:
        result.append(slice_or_fix(dims, axis, start, output.shape[axis]))
        start += output.shape[axis]
    return result


def pixel_shuffle(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``pixel_shuffle``: move two digits of the channels to the height and the width."""
    *batch, channels, height, width = call.inputs[0].shape
    r = call.argument(1, "upscale_factor")
    *kept, c, r1, r2, h, w = split_sizes(dims, [*batch, channels // r**2, r, r, height, width])
    return [[*kept, c, h + r1, w + r2]]


def pixel_unshuffle(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``pixel_unshuffle``: move a digit of the height and a digit of the width to the channels."""
    *batch, channels, height, width = call.inputs[0].shape
    r = call.argument(1, "downscale_factor")
    *kept, c, h, r1, w, r2 = split_sizes(dims, [*batch, channels, height // r, r, width // r, r])
    return [[*kept, c + r1 + r2, h, w]]


def channel_shuffle(call: Call, dims: list[Dim]) -> list[list[Dim]]:
    """Trace ``channel_shuffle``: swap the two digits of the channels.

    One digit counts the groups, the other digit counts the channels of a group.
    """
    batch, channels, *positions = call.inputs[0].shape
    groups = call.argument(1, "groups")
    b, g, c, *kept = split_sizes(dims, [batch, groups, channels // groups, *positions])
    return [[b, c + g, *kept]]


def cat(call: Call) -> list[Dims]:
    """Trace ``cat``: join the spaces along one axis as segments of a space, and unify the other axes."""
    axis = call.argument(1, "dim", 0) % call.outputs[0].ndim
    result: Dims = {}
    parts = [value for value in call.args[0] if value.shape != (0,) and value.shape[axis]]
    for action in FOLLOWED:
        each = [call.dims(value, action) for value in parts]
        spaces = [space_of(dims.pop(axis), action) for dims in each]
        dims = joined(each)
        outer = [find(space).nested for space in spaces]
        shared = {id(find(space)) if space is not None else None for space in outer}
        nested = outer[0] if len(shared) == 1 else None
        total = sum(space.size for space in spaces)
        flat = [part for space in spaces for part in (find(space).segments or [space])]
        together = flat[0] if len(flat) == 1 else Space(total, action, segments=flat, nested=nested)
        result[action] = [*dims[:axis], whole(together), *dims[axis:]]
    return [result]


def stack(call: Call) -> list[Dims]:
    """Trace ``stack``: add an axis that counts the tensors, and unify all other axes except one.

    The exception is the first axis that is not fixed: on this axis, each tensor keeps a space of its own.
    """
    values = call.args[0]
    axis = call.argument(1, "dim", 0) % call.outputs[0].ndim
    result: Dims = {}
    for action in FOLLOWED:
        each = [call.dims(value, action) for value in values]
        own = next((n for n, dim in enumerate(each[0]) if dim and not are_fixed([dim])), None)
        if own is None or len(values) == 1:
            dims, new = joined(each), fixed_dim(len(values), action)
        else:
            spaces = [space_of(dims[own], action) for dims in each]
            size = spaces[0].size
            together = Space(len(values) * size, action, segments=spaces)
            dims = joined([[*dims[:own], (), *dims[own + 1 :]] for dims in each])
            dims[own] = (Digit(together, (len(values), size), 1),)
            new = (Digit(together, (len(values), size), 0),)
        result[action] = [*dims[:axis], new, *dims[axis:]]
    return [result]


def pad(call: Call) -> list[Dims]:
    """Trace ``constant_pad_nd``: the padding before and after the old elements becomes segments of its own.

    Every order of the padded elements is the same, because all of them are equal. So they may be permuted
    freely.
    """
    pads, value = list(call.argument(1, "pad")), call.argument(2, "value", 0)
    result: Dims = {}
    for action in FOLLOWED:
        dims = call.dims(call.inputs[0], action)
        if action != "permute" and value:
            fix_all(dims)
        for axis, (before, after) in zip(
            reversed(range(len(dims))), zip(pads[::2], pads[1::2], strict=True), strict=False
        ):
            if min(before, after) < 0:
                raise Clash
            if before or after:
                parts = [
                    Space(before, action, free=True),
                    space_of(dims[axis], action),
                    Space(after, action, free=True),
                ]
                parts = [part for part in parts if part.size]
                dims[axis] = whole(Space(sum(part.size for part in parts), action, segments=parts))
        result[action] = dims
    return [result]

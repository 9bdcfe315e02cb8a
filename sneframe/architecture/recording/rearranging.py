"""Record operations that only rearrange elements: views, slices and concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.recording.node import Record

if TYPE_CHECKING:
    from sneframe.architecture.recording import Recorder

LONGEST = 4096  #: the largest number of indices or constants that a description holds


def view(recorder: Recorder, call: Call) -> int:
    """Record a change of shape, which keeps the order of all elements."""
    return reshaped(recorder, call.args[0], call.outputs[0])


def reshaped(recorder: Recorder, value: Tensor, output: Tensor) -> int:
    """Record the node of ``output``, which is ``value`` in another shape.

    The number of examples may change, so the first size of the new shape is left open if ``value`` depends on
    the network's input.
    """
    node = recorder.of(value)
    before, after = list(value.shape), list(output.shape)
    if before == after:
        return node
    if not recorder.is_stream(node):
        return recorder.add("reshape", [node], shape=after)
    if value.ndim > 2 and output.ndim == 2 and before[0] == after[0]:
        return recorder.add("flatten", [node])
    if math.prod(after[1:]) == 0:
        return recorder.add("not_recorded", [node], operation="view of an empty tensor")
    shape: list[int | str] = [-1, *after[1:]]
    count = recorder.examples
    if count is not None and before[0] == count and after[0] != count and count in after[1:] and count > 1:
        # The examples are no longer the first axis, as after unsqueeze(0).
        axis = after.index(count, 1)
        if math.prod(after[:axis]) == 1:
            shape = [*after[:axis], "K", *after[axis + 1 :]]
    return recorder.add("reshape", [node], shape=shape)


def transposed(recorder: Recorder, call: Call) -> int:
    """Record ``t``, ``transpose`` and ``permute``."""
    value = call.args[0]
    order = list(range(value.ndim))
    if call.name == "t":
        order = order[::-1]
    elif call.name == "permute":
        order = [axis % value.ndim for axis in call.args[1]]
    else:
        first, second = (axis % max(1, value.ndim) for axis in call.args[1:3])
        order[first], order[second] = order[second], order[first]
    return recorder.transposed(recorder.of(value), order)


def expand(recorder: Recorder, call: Call) -> int:
    """Record ``expand``."""
    value, output = call.args[0], call.outputs[0]
    node = recorder.of(value)
    if value.shape == output.shape:
        return node
    missing = output.ndim - value.ndim
    shape: list[int | str] = [
        -1 if axis >= missing and value.shape[axis - missing] == size else size
        for axis, size in enumerate(output.shape)
    ]
    if recorder.examples is not None and shape[0] == recorder.examples:
        shape[0] = "K"
    return recorder.add("expand", [node], shape=shape)


def repeat(recorder: Recorder, call: Call) -> int:
    """Record ``repeat``."""
    value, repeats = call.args[0], [int(number) for number in call.args[1]]
    if recorder.examples == repeats[0] and call.outputs[0].shape[0] == repeats[0] > 1:
        copied: list[int | str] = ["K", *repeats[1:]]
        return recorder.add("repeat", [recorder.of(value)], repeats=copied)
    return recorder.add("repeat", [recorder.of(value)], repeats=repeats)


def slice_(recorder: Recorder, call: Call) -> int:
    """Record ``x[:, start:stop:step]``. A slice of everything is left out."""
    value = call.args[0]
    axis = int(call.argument(1, "dim", 0)) % value.ndim
    size, step = value.shape[axis], int(call.argument(4, "step", 1))
    start, stop = call.argument(2, "start"), call.argument(3, "end")
    start = 0 if start is None else min(start, size) if start >= 0 else max(0, start + size)
    stop = size if stop is None or stop >= size else stop if stop >= 0 else max(0, stop + size)
    return recorder.sliced(recorder.of(value), axis, start, stop, step, size)


def select(recorder: Recorder, call: Call) -> int:
    """Record ``x[:, index]``."""
    value = call.args[0]
    axis, index = call.args[1] % value.ndim, call.args[2] % value.shape[call.args[1]]
    return recorder.add("select", [recorder.of(value)], axis=axis, index=int(index))


def split(recorder: Recorder, call: Call) -> list[int | None]:
    """Record ``split`` and ``chunk``: each output is a slice."""
    value = call.args[0]
    axis = int(call.argument(2, "dim", 0)) % value.ndim
    node, start, result = recorder.of(value), 0, []
    for output in call.outputs:
        stop = start + output.shape[axis]
        result.append(recorder.sliced(node, axis, start, stop, 1, value.shape[axis]))
        start = stop
    return [*result]


def unbind(recorder: Recorder, call: Call) -> list[int | None]:
    """Record ``unbind``: each output is one index along an axis."""
    axis = int(call.argument(1, "dim", 0)) % call.args[0].ndim
    node = recorder.of(call.args[0])
    return [recorder.add("select", [node], axis=axis, index=number) for number in range(len(call.outputs))]


def concatenate(recorder: Recorder, call: Call) -> int:
    """Record ``cat`` and ``stack``."""
    axis = int(call.argument(1, "dim", 0)) % call.outputs[0].ndim
    # torch.cat leaves out empty tensors of one axis, such as torch.tensor([]).
    values = [value for value in call.args[0] if value.numel() or value.ndim > 1 or call.name == "stack"]
    inputs = [recorder.of(value) for value in values]
    if call.name == "cat" and len(inputs) == 1:
        return inputs[0]
    return recorder.add("concatenate" if call.name == "cat" else "stack", inputs, axis=axis)


def pad(recorder: Recorder, call: Call) -> int:
    """Record padding. The amounts are in torch's order, from the last axis to the first."""
    attributes: dict[str, object] = {"amounts": [int(amount) for amount in call.args[1]]}
    if call.name == "constant_pad_nd":
        if not any(attributes["amounts"]):  # type: ignore[arg-type]  # a list of whole numbers
            return recorder.of(call.args[0])
        attributes["value"] = float(call.argument(2, "value", 0) or 0)
    else:
        attributes["mode"] = "reflect" if call.name.startswith("reflection") else "replicate"
    return recorder.add("pad", [recorder.of(call.args[0])], **attributes)


def index(recorder: Recorder, call: Call) -> int:
    """Record reads at given positions along one axis. Reading a parameter at integers is an embedding."""
    value = call.args[0]
    if call.name == "index_select":
        axis, where = call.args[1] % value.ndim, call.args[2]
    else:
        given = [(axis, where) for axis, where in enumerate(call.args[1]) if where is not None]
        if len(given) != 1 or given[0][1].dtype == torch.bool:
            return recorder.unknown(call)
        axis, where = given[0]
    node, positions = recorder.of(value), recorder.of(where)
    if not recorder.is_stream(node) and axis == 0 and value.ndim == 2 and recorder.chain(node) is not None:
        return recorder.add("embedding", [positions], roles={"weight": node})
    constant = recorder.nodes[positions].constant
    if constant is None or constant.ndim != 1 or constant.numel() > LONGEST:
        return recorder.unknown(call)
    indices = [int(number) % value.shape[axis] for number in constant]
    return recorder.add("take", [node], axis=axis, indices=indices)


def embedding(recorder: Recorder, call: Call) -> int:
    """Record an embedding."""
    return recorder.add("embedding", [recorder.of(call.args[1])], roles={"weight": recorder.of(call.args[0])})


def flipped(recorder: Recorder, call: Call) -> int:
    """Record ``flip`` along one axis as reads in reverse order."""
    axes = [axis % call.args[0].ndim for axis in call.args[1]]
    if len(axes) != 1 or call.args[0].shape[axes[0]] > LONGEST:
        return recorder.unknown(call)
    indices = list(range(call.args[0].shape[axes[0]]))[::-1]
    return recorder.add("take", [recorder.of(call.args[0])], axis=axes[0], indices=indices)


def shuffled(recorder: Recorder, call: Call) -> int:
    """Record ``pixel_shuffle`` and ``pixel_unshuffle``."""
    return recorder.add(call.name, [recorder.of(call.args[0])], factor=int(call.args[1]))


RECORDS: Mapping[str, Record] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze"), view),
    **dict.fromkeys(("t", "transpose", "permute"), transposed),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), split),
    **dict.fromkeys(("cat", "stack"), concatenate),
    **dict.fromkeys(("index", "index_select"), index),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), shuffled),
    **{f"{kind}_pad{n}d": pad for n in (1, 2, 3) for kind in ("reflection", "replication")},
    "constant_pad_nd": pad,
    "expand": expand,
    "repeat": repeat,
    "slice": slice_,
    "select": select,
    "unbind": unbind,
    "embedding": embedding,
    "flip": flipped,
}

"""Products that sum over an axis: matrices and convolutions."""

from __future__ import annotations

import math

from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.description import ACTIONS
from sneframe.architecture.digit import Dim, fix_dim, separate_all, settle, space_of, unify_dims, whole
from sneframe.architecture.rules.dims import (
    Dims,
    aligned,
    answer,
    fix_all,
    fixed_dim,
    is_trivial,
    joined,
    mark,
    summed,
)
from sneframe.architecture.space import Space, block, find, unify


def matmul(call: Call) -> list[Dims]:
    """``mm``, ``bmm``, ``mv`` and their sums with a third: one axis is summed over, of both factors the same."""
    added = call.name in ("addmm", "addbmm", "baddbmm", "addmv")
    a, b = call.args[1:3] if added else call.args[:2]
    found: Dims = {}
    for action in ACTIONS:
        first, second = separate_all(call.dims(a, action)), separate_all(call.dims(b, action))
        batch = first[:-2] if call.name in ("bmm", "baddbmm") else []
        if action == "permute":
            for one, other in zip(batch, second[:-2], strict=False):
                unify_dims(one, other)
            unify_dims(first[-1], second[len(batch)])
            settle([*batch, first[-1]])  # what lies within a row of one factor meets all columns of the other
        else:
            _contract(call, (a, first), (b, second), len(batch))
            batch = [
                one if not is_trivial([one]) else other for one, other in zip(batch, second, strict=False)
            ]
        rows = first[len(batch) : -1]
        dims = [*batch, *rows, *second[len(batch) + 1 :]]
        if added:
            each = [dims, aligned(call.dims(call.args[0], action), len(dims))]
            dims = joined(each) if action == "permute" else summed(each)
            mark(call, [call.args[0]], action, 1)
        found[action] = dims
    return [found]


def _contract(call: Call, a: tuple[Tensor, list[Dim]], b: tuple[Tensor, list[Dim]], batch: int) -> None:
    """Meet the summed axis under scale and sign: columns answer a neuron's scale with its inverse."""
    known = [call.labels.get(id(value)) for value, _ in (a, b)]
    of_parameter = [label is not None and bool(label.names) for label in known]
    if sum(of_parameter) == 1 and not batch:
        unify_dims(a[1][-1], b[1][batch])
        columns = b[1][batch] if of_parameter[1] else a[1][-1]
        rows = b[1][batch + 1 :] if of_parameter[1] else a[1][batch:-1]
        answer([columns], -1)
        answer(rows, 1)
        return
    first, second = a[1], b[1]
    if is_trivial(first) or is_trivial(second):
        fix_dim(first[-1])
        fix_dim(second[batch])
    else:
        fix_all(first)
        fix_all(second)


def convolution(call: Call) -> list[Dims]:
    """Channels are summed over, the kernel and what it slides over are positions; groups move as blocks."""
    x, weight, bias = call.args[:3]
    transposed, groups = call.argument(6, "transposed"), call.argument(8, "groups")
    label = call.labels.get(id(weight))
    found: Dims = {}
    for action in ACTIONS:
        batch, channels, *positions = separate_all(call.dims(x, action))
        rows, columns, *kernel = separate_all(call.dims(weight, action))
        fix_all([batch, *positions, *kernel])
        if transposed:
            rows, columns = columns, rows
        if groups == 1:
            unify_dims(channels, columns)
            answer([columns], -1)
            outputs = rows
        else:
            outputs = _grouped(action, groups, channels, rows, columns, transposed=transposed)
        answer([rows], 1)
        if action != "permute" and (label is None or not label.names):
            fix_all([channels, rows, columns])
        if bias is not None:
            (own,) = call.dims(bias, action)
            unify_dims(outputs, own)
            answer([own], 1)
        shape = call.outputs[0].shape
        found[action] = [batch, outputs, *(fixed_dim(size, action) for size in shape[2:])]
    return [found]


def _grouped(action: str, groups: int, channels: Dim, rows: Dim, columns: Dim, *, transposed: bool) -> Dim:
    """Meet the axes of a grouped convolution: groups move as blocks, with what they read and what they write.

    Of the two axes of its kernel one spans all groups, and the other only what lies within one.
    """
    if action != "permute":
        fix_dim(channels)
        fix_dim(columns)
        if transposed:
            fix_dim(rows)
            return fixed_dim(math.prod(d.size for d in rows) * groups, action)
        return rows
    spanning, within = (columns, rows) if transposed else (rows, columns)
    source = space_of(channels, action)
    across, inside = block(space_of(spanning, action), groups, math.prod(d.size for d in spanning) // groups)
    outer, inner = block(source, groups, source.size // groups)
    unify(outer, across)
    own = find(space_of(within, action))
    if own.size > 1 and own.is_leaf and not (own.shared or own.fixed or own.nested):
        own.nested = find(outer)  # of its own in each group: so far nothing is known of it
    if not transposed:
        unify(inner, own) if inner.size > 1 else None
        return rows
    unify(inner, inside) if inner.size > 1 else None
    blocks = (
        find(outer) if own.size == 1 else Space(groups * own.size, action, blocks=(find(outer), find(own)))
    )
    return whole(blocks)


def trilinear(call: Call) -> list[Dims]:
    """Three tensors broadcast against each other, multiplied, and summed over some axes, as ``nn.Bilinear`` does."""
    ndim = call.args[0].ndim + len(call.args[3])
    gone = {axis % ndim for axis in call.args[6]}
    found: Dims = {}
    for action in ACTIONS:
        each = []
        for value, new in zip(call.args[:3], call.args[3:6], strict=True):
            queue = separate_all(call.dims(value, action))
            places = {axis % ndim for axis in new}
            each.append([() if axis in places else queue.pop(0) for axis in range(ndim)])
        if action == "permute":
            dims = joined(each)
            settle(dims)
        else:
            for one in each:
                fix_all(one)
            dims = joined(each)
        found[action] = [dim for axis, dim in enumerate(dims) if axis not in gone]
    return [found]


def distances(call: Call) -> list[Dims]:
    """Distances between the rows of two tensors: the columns are summed over."""
    found: Dims = {}
    for action in ACTIONS:
        each = [separate_all(call.dims(value, action)) for value in call.args[:2]]
        if action == "permute":
            unify_dims(each[0][-1], each[1][-1])
            batch = joined([dims[:-2] for dims in each])
            settle([*batch, each[0][-1]])
        else:
            for dims in each:
                fix_all(dims)
            batch = [fixed_dim(size, action) for size in call.outputs[0].shape[:-2]]
        found[action] = [*batch, each[0][-2], each[1][-2]]
    return [found]

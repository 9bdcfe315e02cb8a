"""Define the rules of products that sum over an axis, such as matrix products and convolutions."""

from __future__ import annotations

import math

from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Dim, fix_dim, separate_all, settle, space_of, unify_dims, whole
from sneframe.architecture.layer import FOLLOWED
from sneframe.architecture.rules.dims import (
    Dims,
    aligned,
    are_fixed,
    fix_all,
    fixed_dim,
    joined,
    set_power,
    set_power_of_parameters,
    summed,
)
from sneframe.architecture.space import Space, block, find, unify


def matmul(call: Call) -> list[Dims]:
    """Trace matrix products, such as ``mm`` and ``addmm``: unify the two axes that are summed over."""
    added = call.name in ("addmm", "addbmm", "baddbmm", "addmv")
    a, b = call.args[1:3] if added else call.args[:2]
    result: Dims = {}
    for action in FOLLOWED:
        first, second = separate_all(call.dims(a, action)), separate_all(call.dims(b, action))
        batch = first[:-2] if call.name in ("bmm", "baddbmm") else []
        if action == "permute":
            for one, other in zip(batch, second[:-2], strict=False):
                unify_dims(one, other)
            unify_dims(first[-1], second[len(batch)])
            # A space nested in the rows of one factor meets all columns of the other factor.
            settle([*batch, first[-1]])
        else:
            _contract(call, (a, first), (b, second), len(batch))
            batch = [
                one if not are_fixed([one]) else other for one, other in zip(batch, second, strict=False)
            ]
        rows = first[len(batch) : -1]
        dims = [*batch, *rows, *second[len(batch) + 1 :]]
        if added:
            each = [dims, aligned(call.dims(call.args[0], action), len(dims))]
            dims = joined(each) if action == "permute" else summed(each)
            set_power_of_parameters(call, [call.args[0]], action, 1)
        result[action] = dims
    return [result]


def _contract(call: Call, a: tuple[Tensor, list[Dim]], b: tuple[Tensor, list[Dim]], batch: int) -> None:
    """Unify or fix the axes of a matrix product under scale or sign.

    If just one factor is a parameter, its rows get the power 1. Its columns get the power −1, since they read
    neurons that were scaled. Otherwise, if one factor is fixed, only the axes that are summed over are
    fixed. If neither factor is fixed, all axes are fixed.
    """
    known = [call.labels.get(id(value)) for value, _ in (a, b)]
    of_parameter = [label is not None and bool(label.names) for label in known]
    if sum(of_parameter) == 1 and not batch:
        unify_dims(a[1][-1], b[1][batch])
        columns = b[1][batch] if of_parameter[1] else a[1][-1]
        rows = b[1][batch + 1 :] if of_parameter[1] else a[1][batch:-1]
        set_power([columns], -1)
        set_power(rows, 1)
        return
    first, second = a[1], b[1]
    if are_fixed(first) or are_fixed(second):
        fix_dim(first[-1])
        fix_dim(second[batch])
    else:
        fix_all(first)
        fix_all(second)


def convolution(call: Call) -> list[Dims]:
    """Trace convolutions: unify the channels of the input with the columns of the weight.

    The axes of positions are fixed.
    """
    x, weight, bias = call.args[:3]
    transposed, groups = call.argument(6, "transposed"), call.argument(8, "groups")
    label = call.labels.get(id(weight))
    result: Dims = {}
    for action in FOLLOWED:
        batch, channels, *positions = separate_all(call.dims(x, action))
        rows, columns, *kernel = separate_all(call.dims(weight, action))
        fix_all([batch, *positions, *kernel])
        if transposed:
            rows, columns = columns, rows
        if groups == 1:
            unify_dims(channels, columns)
            set_power([columns], -1)
            outputs = rows
        else:
            outputs = _grouped(action, groups, channels, rows, columns, transposed=transposed)
        set_power([rows], 1)
        if action != "permute" and (label is None or not label.names):
            fix_all([channels, rows, columns])
        if bias is not None:
            (own,) = call.dims(bias, action)
            unify_dims(outputs, own)
            set_power([own], 1)
        shape = call.outputs[0].shape
        result[action] = [batch, outputs, *(fixed_dim(size, action) for size in shape[2:])]
    return [result]


def _grouped(action: str, groups: int, channels: Dim, rows: Dim, columns: Dim, *, transposed: bool) -> Dim:
    """Unify the axes of a grouped convolution, and return the axis of its output channels.

    Groups of channels can be permuted as whole blocks, in the input, the weight and the output together. One
    of the two axes of the weight spans all groups, and the other axis spans only the channels within a group.
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
        own.nested = find(outer)  # no constraint on ``own`` is known yet: it may act separately in each group
    if not transposed:
        unify(inner, own) if inner.size > 1 else None
        return rows
    unify(inner, inside) if inner.size > 1 else None
    blocks = (
        find(outer) if own.size == 1 else Space(groups * own.size, action, blocks=(find(outer), find(own)))
    )
    return whole(blocks)


def trilinear(call: Call) -> list[Dims]:
    """Trace the product in ``nn.Bilinear``: unify the axes of its three factors.

    The factors are broadcast, and their product is summed over some axes.
    """
    ndim = call.args[0].ndim + len(call.args[3])
    gone = {axis % ndim for axis in call.args[6]}
    result: Dims = {}
    for action in FOLLOWED:
        each = []
        for value, new in zip(call.args[:3], call.args[3:6], strict=True):
            queue = separate_all(call.dims(value, action))
            added = {axis % ndim for axis in new}
            each.append([() if axis in added else queue.pop(0) for axis in range(ndim)])
        if action == "permute":
            dims = joined(each)
            settle(dims)
        else:
            for one in each:
                fix_all(one)
            dims = joined(each)
        result[action] = [dim for axis, dim in enumerate(dims) if axis not in gone]
    return [result]


def distances(call: Call) -> list[Dims]:
    """Trace ``cdist``: unify the columns of two tensors.

    ``cdist`` computes the distances between the rows of the tensors, and sums over the columns.
    """
    result: Dims = {}
    for action in FOLLOWED:
        each = [separate_all(call.dims(value, action)) for value in call.args[:2]]
        if action == "permute":
            unify_dims(each[0][-1], each[1][-1])
            batch = joined([dims[:-2] for dims in each])
            settle([*batch, each[0][-1]])
        else:
            for dims in each:
                fix_all(dims)
            batch = [fixed_dim(size, action) for size in call.outputs[0].shape[:-2]]
        result[action] = [*batch, each[0][-2], each[1][-2]]
    return [result]

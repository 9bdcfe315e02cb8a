"""Sums over axes, softmax, and normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.description import ACTIONS
from sneframe.architecture.digit import Dim, fix_dim, separate, separate_all, space_of, unify_dims
from sneframe.architecture.rules.dims import Dims, fix_all, fixed_dim, joined, mark
from sneframe.architecture.space import block

#: Reductions that commute with a positive factor, and of these those that commute with a sign.
LINEAR = ("mean", "sum")
HOMOGENEOUS = (*LINEAR, "amax", "amin", "max", "min", "aminmax", "median", "nanmedian")


def reduce(call: Call) -> list[Dims]:
    """Sums, means, extremes over axes: what is summed over may be permuted.

    Where the place of an extreme is returned beside its value, that place counts along the axis.
    """
    value = call.inputs[0]
    gone = _gone(call, value)
    keep = call.outputs[0].ndim == value.ndim
    found: Dims = {}
    summed: list[Dim] = []
    for action in ACTIONS:
        dims = separate(call.dims(value, action), gone)
        if action == "permute":
            summed = [dims[axis] for axis in gone]
        else:
            keeps = call.name in (HOMOGENEOUS if action == "scale" else LINEAR)
            for axis, dim in enumerate(dims):
                if axis in gone or not keeps:
                    fix_dim(dim)
        found[action] = [
            () if axis in gone else dim for axis, dim in enumerate(dims) if keep or axis not in gone
        ]
    is_place = call.name in ("argmax", "argmin")
    for number, output in enumerate(call.outputs):
        counts = (is_place or number) and not output.is_floating_point()
        call.counted.append(tuple(summed) if counts else ())
    return [found if output.is_floating_point() else _only_permuted(found, output) for output in call.outputs]


def order(call: Call) -> list[Dims]:
    """Sorting, the largest few: what is sorted may be permuted, the places of what comes out count."""
    value = call.inputs[0]
    # sort(x, dim), sort.stable(x, *, stable, dim), topk(x, k, dim), kthvalue(x, k, dim)
    axis = call.argument(2 if call.name == "topk" else 1, "dim", -1) % max(1, value.ndim)
    found: Dims = {}
    summed: list[Dim] = []
    for action in ACTIONS:
        dims = separate(call.dims(value, action), {axis})
        if action == "permute":
            summed = [dims[axis]]
        else:
            fix_dim(dims[axis])
            if action == "sign":
                fix_all(dims)
        found[action] = [*dims[:axis], fixed_dim(call.outputs[0].shape[axis], action), *dims[axis + 1 :]]
    for output in call.outputs:
        call.counted.append(() if output.is_floating_point() else tuple(summed))
    return [found if output.is_floating_point() else _only_permuted(found, output) for output in call.outputs]


def _gone(call: Call, value: Tensor) -> set[int]:
    """Return the axes that are reduced."""
    place = 2 if call.name in ("linalg_vector_norm", "norm", "kthvalue") else 1
    if call.overload in ("default", "unary_out") and call.name in ("max", "min", "median", "nanmedian"):
        return set(range(value.ndim))
    axes = call.argument(place, "dim")
    axes = range(value.ndim) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
    return {axis % max(1, value.ndim) for axis in axes}


def _only_permuted(found: Dims, output: Tensor) -> Dims:
    fixed = {action: [fixed_dim(size, action) for size in output.shape] for action in ("scale", "sign")}
    return {"permute": found["permute"], **fixed}


def softmax(call: Call) -> list[Dims]:
    """Softmax commutes with permutations along its own axis, and keeps neither scale nor sign."""
    value = call.inputs[0]
    for action in ("scale", "sign"):
        fix_all(call.dims(value, action))
    fixed = {action: [fixed_dim(size, action) for size in value.shape] for action in ("scale", "sign")}
    axis = call.argument(1, "dim") % max(1, value.ndim)
    return [{"permute": separate(call.dims(value, "permute"), {axis}), **fixed}]


def norm(call: Call) -> list[Dims]:
    """Batch, layer and group norm: constants lie along the axes that are normalised or kept apart."""
    x = call.args[0]
    if call.name == "native_layer_norm":
        constants, start, stop = call.args[2:4], x.ndim - len(call.args[1]), x.ndim
    else:
        constants, start, stop = call.args[1 : 3 if call.name == "native_group_norm" else 5], 1, 2
    given = [constant for constant in constants if constant is not None]
    dims = separate_all(call.dims(x, "permute"))
    if call.name == "native_group_norm":
        channels = space_of(dims[1], "permute")
        groups = call.argument(6, "group")
        block(channels, groups, channels.size // groups)
    for constant in given:
        for dim, own in zip(dims[start:stop], call.dims(constant, "permute"), strict=True):
            unify_dims(dim, own)
    found: Dims = {"permute": dims}
    for action in ("scale", "sign"):
        # What is divided by its own deviation, with an ε beside it, keeps no scale; its own factor brings a new one.
        fix_all(call.dims(x, action))
        found[action] = [fixed_dim(size, action) for size in x.shape]
        if constants[0] is not None:
            affine = [constant for constant in constants[:2] if constant is not None]
            found[action][start:stop] = joined([call.dims(constant, action) for constant in affine])
            mark(call, affine, action, 1)
    return [found, *(_nothing(output.shape) for output in call.outputs[1:])]


def weight_norm(call: Call) -> list[Dims]:
    """W = g v / ‖v‖, the norm over all axes but one: w has the axes of v, and along the one the scale of g."""
    v, g = call.args[:2]
    own = call.argument(2, "dim", 0) % v.ndim
    found: Dims = {}
    for action in ACTIONS:
        dims, lengths = separate_all(call.dims(v, action)), call.dims(g, action)
        along = lengths[own] if g.ndim == v.ndim else lengths[0]
        if action == "permute":
            unify_dims(dims[own], along)
            found[action] = dims
        else:
            fix_all(dims)
            mark(call, [g], action, 1)
            found[action] = [along if axis == own else fixed_dim(n, action) for axis, n in enumerate(v.shape)]
    return [found, *(_nothing(output.shape) for output in call.outputs[1:])]


def _nothing(shape: Sequence[int]) -> Dims:
    return {action: [fixed_dim(size, action) for size in shape] for action in ACTIONS}

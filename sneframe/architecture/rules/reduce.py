"""Define the rules of reductions, sorting, softmax and normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.digit import Dim, fix_dim, separate, separate_all, space_of, unify_dims
from sneframe.architecture.layer import FOLLOWED
from sneframe.architecture.rules.dims import Dims, fix_all, fixed_dim, joined, set_power_of_parameters
from sneframe.architecture.space import block

#: Reductions in ``HOMOGENEOUS`` commute with a positive factor. Reductions in ``LINEAR`` also commute with a
#: sign.
LINEAR = ("mean", "sum")
HOMOGENEOUS = (*LINEAR, "amax", "amin", "max", "min", "aminmax", "median", "nanmedian")


def reduce(call: Call) -> list[Dims]:
    """Trace sums, means and extremes: drop the reduced axes, which can still be permuted in the input.

    Integers in an output, such as the output of ``argmax``, are positions along the reduced axes. These axes
    are added to ``call.points_into``.
    """
    value = call.inputs[0]
    gone = _gone(call, value)
    keep = call.outputs[0].ndim == value.ndim
    result: Dims = {}
    summed: list[Dim] = []
    for action in FOLLOWED:
        dims = separate(call.dims(value, action), gone)
        if action == "permute":
            summed = [dims[axis] for axis in gone]
        else:
            keeps = call.name in (HOMOGENEOUS if action == "scale" else LINEAR)
            for axis, dim in enumerate(dims):
                if axis in gone or not keeps:
                    fix_dim(dim)
        result[action] = [
            () if axis in gone else dim for axis, dim in enumerate(dims) if keep or axis not in gone
        ]
    is_position = call.name in ("argmax", "argmin")
    for number, output in enumerate(call.outputs):
        points = (is_position or number) and not output.is_floating_point()
        call.points_into.append(tuple(summed) if points else ())
    return [
        result if output.is_floating_point() else _only_permuted(result, output) for output in call.outputs
    ]


def order(call: Call) -> list[Dims]:
    """Trace ``sort`` and ``topk``: fix the sorted axis in the outputs, but not in the input."""
    value = call.inputs[0]
    # sort(x, dim), sort.stable(x, *, stable, dim), topk(x, k, dim), kthvalue(x, k, dim)
    axis = call.argument(2 if call.name == "topk" else 1, "dim", -1) % max(1, value.ndim)
    result: Dims = {}
    summed: list[Dim] = []
    for action in FOLLOWED:
        dims = separate(call.dims(value, action), {axis})
        if action == "permute":
            summed = [dims[axis]]
        else:
            fix_dim(dims[axis])
            if action == "sign":
                fix_all(dims)
        result[action] = [*dims[:axis], fixed_dim(call.outputs[0].shape[axis], action), *dims[axis + 1 :]]
    for output in call.outputs:
        call.points_into.append(() if output.is_floating_point() else tuple(summed))
    return [
        result if output.is_floating_point() else _only_permuted(result, output) for output in call.outputs
    ]


def _gone(call: Call, value: Tensor) -> set[int]:
    """Return the numbers of the axes that a call reduces."""
    position = 2 if call.name in ("linalg_vector_norm", "norm", "kthvalue") else 1
    if call.overload in ("default", "unary_out") and call.name in ("max", "min", "median", "nanmedian"):
        return set(range(value.ndim))
    axes = call.argument(position, "dim")
    axes = range(value.ndim) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
    return {axis % max(1, value.ndim) for axis in axes}


def _only_permuted(result: Dims, output: Tensor) -> Dims:
    """Return the axes of an output of integers or booleans. Under scale and sign the axes are fixed."""
    fixed = {action: [fixed_dim(size, action) for size in output.shape] for action in ("scale", "sign")}
    return {"permute": result["permute"], **fixed}


def softmax(call: Call) -> list[Dims]:
    """Trace softmax, which commutes with permutations along its axis, but not with scales or signs."""
    value = call.inputs[0]
    for action in ("scale", "sign"):
        fix_all(call.dims(value, action))
    fixed = {action: [fixed_dim(size, action) for size in value.shape] for action in ("scale", "sign")}
    axis = call.argument(1, "dim") % max(1, value.ndim)
    return [{"permute": separate(call.dims(value, "permute"), {axis}), **fixed}]


def norm(call: Call) -> list[Dims]:
    """Trace batch, layer and group norm: unify the axes of the input with the axes of the constants.

    The constants are the weight, the bias and the running statistics of the norm. They act along the channels
    of the input, or along its last axes in a layer norm.
    """
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
    result: Dims = {"permute": dims}
    for action in ("scale", "sign"):
        # The division by the standard deviation plus ε does not commute with a scale. So the output has only
        # the scale of the weight and bias of the norm.
        fix_all(call.dims(x, action))
        result[action] = [fixed_dim(size, action) for size in x.shape]
        if constants[0] is not None:
            affine = [constant for constant in constants[:2] if constant is not None]
            result[action][start:stop] = joined([call.dims(constant, action) for constant in affine])
            set_power_of_parameters(call, affine, action, 1)
    return [result, *(_nothing(output.shape) for output in call.outputs[1:])]


def weight_norm(call: Call) -> list[Dims]:
    """Trace weight norm, W = g v / ‖v‖, where the norm sums over all axes of v but one.

    W has the axes of v, and the scale of g along the one remaining axis.
    """
    v, g = call.args[:2]
    own = call.argument(2, "dim", 0) % v.ndim
    result: Dims = {}
    for action in FOLLOWED:
        dims, lengths = separate_all(call.dims(v, action)), call.dims(g, action)
        along = lengths[own] if g.ndim == v.ndim else lengths[0]
        if action == "permute":
            unify_dims(dims[own], along)
            result[action] = dims
        else:
            fix_all(dims)
            set_power_of_parameters(call, [g], action, 1)
            result[action] = [
                along if axis == own else fixed_dim(n, action) for axis, n in enumerate(v.shape)
            ]
    return [result, *(_nothing(output.shape) for output in call.outputs[1:])]


def _nothing(shape: Sequence[int]) -> Dims:
    """Return fixed axes for a tensor of this shape, by action."""
    return {action: [fixed_dim(size, action) for size in shape] for action in FOLLOWED}

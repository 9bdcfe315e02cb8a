"""Sums over axes, softmax, and normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.architecture.call import Call
from sneframe.architecture.description import ACTIONS
from sneframe.architecture.digit import fix_dim, space_of, unify_dims
from sneframe.architecture.rules.dims import Dims, fix_all, fixed_dim, joined, mark
from sneframe.architecture.space import block


def reduce(call: Call) -> list[Dims]:
    """Sums, means, extremes over axes: what is summed over may be permuted."""
    value = call.inputs[0]
    place = 2 if call.name in ("linalg_vector_norm", "norm") else 1
    axes = call.argument(place, "dim")
    axes = range(value.ndim) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
    gone = {axis % max(1, value.ndim) for axis in axes}
    keep = call.outputs[0].ndim == value.ndim
    found: Dims = {}
    for action in ACTIONS:
        dims = call.dims(value, action)
        keeps = call.name in ("mean", "sum") or (call.name == "amax" and action == "scale")
        if action != "permute":
            for axis, dim in enumerate(dims):
                if axis in gone or not keeps:
                    fix_dim(dim)
        found[action] = [
            () if axis in gone else dim for axis, dim in enumerate(dims) if keep or axis not in gone
        ]
    return [found for _ in call.outputs]


def softmax(call: Call) -> list[Dims]:
    """Softmax commutes with permutations along its own axis, and keeps neither scale nor sign."""
    value = call.inputs[0]
    for action in ("scale", "sign"):
        fix_all(call.dims(value, action))
    fixed = {action: [fixed_dim(size, action) for size in value.shape] for action in ("scale", "sign")}
    return [{"permute": call.dims(value, "permute"), **fixed}]


def norm(call: Call) -> list[Dims]:
    """Batch, layer and group norm: constants lie along the axes that are normalised or kept apart."""
    x = call.args[0]
    if call.name == "native_layer_norm":
        constants, start, stop = call.args[2:4], x.ndim - len(call.args[1]), x.ndim
    else:
        constants, start, stop = call.args[1 : 3 if call.name == "native_group_norm" else 5], 1, 2
    given = [constant for constant in constants if constant is not None]
    dims = call.dims(x, "permute")
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


def _nothing(shape: Sequence[int]) -> Dims:
    return {action: [fixed_dim(size, action) for size in shape] for action in ACTIONS}

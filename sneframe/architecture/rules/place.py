"""Tables, indexing, pooling and resampling: axes along which places count."""

from __future__ import annotations

import torch

from sneframe.architecture.call import Call
from sneframe.architecture.description import ACTIONS
from sneframe.architecture.digit import fix_dim
from sneframe.architecture.rules.dims import Dims, answer, fix_all, fixed_dim
from sneframe.architecture.space import Clash

#: How many trailing axes are positions; of these nothing is permuted.
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
    """Rows of a table at places that the input says."""
    table, index = call.args[:2]
    found: Dims = {}
    for action in ACTIONS:
        entries, *columns = call.dims(table, action)
        fix_dim(entries)
        answer(columns, 1)
        found[action] = [*call.dims(index, action), *columns]
        fix_all(found[action][: index.ndim])
    return [found]


def index(call: Call) -> list[Dims]:
    """``x[:, index]``: one axis is read at given places."""
    if call.name == "index_select":
        axis, index = call.args[1] % call.args[0].ndim, call.args[2]
    else:
        given = [(axis, index) for axis, index in enumerate(call.args[1]) if index is not None]
        if len(given) != 1 or given[0][1].dtype == torch.bool:
            raise Clash
        axis, index = given[0]
    found: Dims = {}
    for action in ACTIONS:
        dims = call.dims(call.args[0], action)
        fix_dim(dims[axis])
        places = [fixed_dim(size, action) for size in index.shape]
        found[action] = [*dims[:axis], *places, *dims[axis + 1 :]]
    return [found]


def positional(call: Call) -> list[Dims]:
    """Pooling and resampling: the last axes are positions, the others stay."""
    value, count = call.inputs[0], POSITIONS[call.name]
    found: Dims = {}
    for action in ACTIONS:
        dims = call.dims(value, action)
        fix_all(dims[-count:])
        if action == "sign" and "max" in call.name:
            fix_all(dims)
        places = [fixed_dim(size, action) for size in call.outputs[0].shape[-count:]]
        found[action] = [*dims[:-count], *places]
    return [found for _ in call.outputs]

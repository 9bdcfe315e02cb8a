"""What each of torch's primitive operations means for the axes of the tensors that it touches.

A rule takes a call and returns, for each output and each action, its axes; on the way it refines and unifies the
spaces of its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sneframe.architecture.call import Call
from sneframe.architecture.rules.contract import convolution, matmul
from sneframe.architecture.rules.dims import Dims, Rule
from sneframe.architecture.rules.elementwise import SAME, elementwise, glu
from sneframe.architecture.rules.place import POSITIONS, embedding, index, positional
from sneframe.architecture.rules.rearrange import (
    cat,
    channel_shuffle,
    expand,
    pad,
    pixel_shuffle,
    repeat,
    same,
    select,
    slice_,
    split,
    stack,
    structural,
    transpose,
    unbind,
    units,
    view,
)
from sneframe.architecture.rules.reduce import norm, reduce, softmax
from sneframe.architecture.space import Clash

VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias"}
#: Element by element, though torch does not tag them so.
ELEMENTWISE = {
    "hardswish",
    "_prelu_kernel",
    "copy",
    "nan_to_num",
    "fill",
    "masked_fill",
    "bernoulli",
    "where",
}
REDUCTIONS = {
    *("mean", "sum", "amax", "amin", "var", "std", "var_mean", "std_mean", "logsumexp", "prod", "any", "all"),
    "linalg_vector_norm",
    "norm",
}
SOFTMAXES = {"_softmax", "_log_softmax", "_safe_softmax"}
BATCH_NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm",
    "miopen_batch_norm",
}


def apply(call: Call) -> list[Dims]:
    """Return the axes of every output of a call.

    Raises:
        Clash: there is no rule for it, or its constraints cannot be expressed.
    """
    rule = RULES.get(call.name)
    if rule is None:
        packet = getattr(torch.ops.aten, call.name, None)
        tags = getattr(packet, packet.overloads()[0]).tags if packet is not None else ()
        if torch.Tag.pointwise not in tags:
            raise Clash
        rule = elementwise
    return rule(call)


RULES: Mapping[str, Rule] = {
    **{name: structural(view) for name in VIEWS},
    **{name: structural(same) for name in SAME},
    **{name: structural(transpose) for name in ("t", "transpose", "permute")},
    **{name: structural(units) for name in ("squeeze", "unsqueeze")},
    **{
        name: structural(split)
        for name in ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes")
    },
    "expand": structural(expand),
    "repeat": structural(repeat),
    "slice": structural(slice_),
    "select": structural(select),
    "unbind": structural(unbind),
    "pixel_shuffle": structural(pixel_shuffle),
    **{name: structural(channel_shuffle) for name in ("channel_shuffle", "native_channel_shuffle")},
    "cat": cat,
    "stack": stack,
    "constant_pad_nd": pad,
    **dict.fromkeys(ELEMENTWISE, elementwise),
    "glu": glu,
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys(SOFTMAXES, softmax),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "addmm", "addbmm", "baddbmm", "addmv"), matmul),
    "convolution": convolution,
    **dict.fromkeys((*BATCH_NORMS, "native_layer_norm", "native_group_norm"), norm),
    "embedding": embedding,
    **dict.fromkeys(("index", "index_select"), index),
    **dict.fromkeys(POSITIONS, positional),
}

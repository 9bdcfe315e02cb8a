"""Look up the rule that relates the axes of the inputs and outputs of each primitive operation of torch.

A rule takes a :class:`~sneframe.architecture.call.Call` and returns the axes of each output, by action. A
rule also refines and unifies the spaces of the inputs. To *fix* an axis means that no action may permute,
scale or flip anything along it.

Example: the rule of ``mm``, for a ``(b, n)`` tensor times an ``(n, m)`` tensor, unifies the two spaces of
size n, because the sum over n stays the same only if both factors are permuted in the same way. The rule
returns the axes b and m.
"""

from __future__ import annotations

from collections.abc import Mapping

from sneframe.architecture.call import Call
from sneframe.architecture.rules.contract import convolution, distances, matmul, trilinear
from sneframe.architecture.rules.dims import Dims, Rule
from sneframe.architecture.rules.elementwise import SAME, elementwise, fill, glu, mask
from sneframe.architecture.rules.positions import (
    POSITIONS,
    along,
    columns_of_patches,
    diagonal,
    embedding,
    gather,
    index,
    patches_to_image,
    positional,
    resampled,
    windows,
)
from sneframe.architecture.rules.rearrange import (
    cat,
    channel_shuffle,
    expand,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
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
from sneframe.architecture.rules.reduce import norm, order, reduce, softmax, weight_norm
from sneframe.architecture.space import Clash

VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias"}
#: Operations that work element by element, although torch does not tag them as such.
ELEMENTWISE = {
    "hardswish",
    "_prelu_kernel",
    "copy",
    "nan_to_num",
    "masked_fill",
    "where",
    "log_sigmoid_forward",
    "bernoulli",
}
#: Operations whose result depends on the shape of an input, not on its values.
CONSTANTS = {
    *("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"),
    *("new_empty_strided", "empty_strided", "empty", "scalar_tensor"),
}
#: Operations that fill a tensor with independent random draws. A permutation of the draws does not change
#: their distribution.
NOISE = {
    *("rand", "randn", "rand_like", "randn_like", "normal", "uniform", "exponential", "log_normal", "cauchy"),
    *("geometric", "bernoulli", "random"),
}
#: Operations that create a tensor without values, which later operations write into.
BLANK = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
REDUCTIONS = {
    *("mean", "sum", "amax", "amin", "var", "std", "var_mean", "std_mean", "logsumexp", "prod", "any", "all"),
    *("linalg_vector_norm", "norm", "aminmax", "argmax", "argmin", "kthvalue", "max", "min", "median"),
    *("nanmedian", "mode", "nansum"),
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
    """Apply the rule of the operation in a call, and return the axes of every output.

    Raises:
        Clash: there is no rule for the operation, or the constraints of the operation cannot be expressed.
    """
    rule = RULES.get(f"{call.name}.{call.overload}") or RULES.get(call.name)
    if rule is None:
        if not call.pointwise:
            raise Clash
        rule = elementwise
    return rule(call)


RULES: Mapping[str, Rule] = {
    **{name: structural(view) for name in VIEWS},
    **{name: structural(same) for name in SAME - {"_to_copy"}},
    "_to_copy": elementwise,
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
    "pixel_unshuffle": structural(pixel_unshuffle),
    **{name: structural(channel_shuffle) for name in ("channel_shuffle", "native_channel_shuffle")},
    "cat": cat,
    "stack": stack,
    "constant_pad_nd": pad,
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("max.other", "min.other"), elementwise),
    **dict.fromkeys(("fill", "zero"), fill),
    **dict.fromkeys(("index_put", "_index_put_impl", "_unsafe_index_put"), mask),
    "glu": glu,
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys(("sort", "topk"), order),
    **dict.fromkeys(SOFTMAXES, softmax),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "addmm", "addbmm", "baddbmm", "addmv"), matmul),
    "_trilinear": trilinear,
    "_cdist_forward": distances,
    "convolution": convolution,
    **dict.fromkeys((*BATCH_NORMS, "native_layer_norm", "native_group_norm"), norm),
    "_weight_norm_interface": weight_norm,
    "embedding": embedding,
    **dict.fromkeys(("index", "index_select"), index),
    "gather": gather,
    **{
        name: structural(along)
        for name in ("flip", "roll", "rot90", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
    },
    **{name: structural(diagonal) for name in ("diagonal", "diagonal_copy")},
    "unfold": structural(windows),
    "im2col": structural(columns_of_patches),
    "col2im": structural(patches_to_image),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), resampled),
    **dict.fromkeys(POSITIONS, positional),
}

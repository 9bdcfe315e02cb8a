"""List the kinds of layers that can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sneframe.architecture.evaluate import arithmetic, convolution, linear, pooling, reshaping
from sneframe.architecture.evaluate.step import Computation

_WINDOW = (*pooling.WINDOW,)

KINDS: Mapping[str, Computation] = {
    "linear": Computation(compute=linear.linear, roles=("weight",), optional=("bias",)),
    **{
        f"conv{ndim}d": Computation(
            compute=convolution.convolution,
            needs=("stride", "padding", "dilation"),
            allows=("groups", "padding_mode"),
            roles=("weight",),
            optional=("bias",),
            lacks=convolution.convolution_lacks,
        )
        for ndim in (1, 2, 3)
    },
    **{
        f"conv_transpose{ndim}d": Computation(
            compute=convolution.transposed_convolution,
            needs=("stride", "padding", "output_padding", "dilation"),
            allows=("groups",),
            roles=("weight",),
            optional=("bias",),
            lacks=convolution.convolution_lacks,
        )
        for ndim in (1, 2, 3)
    },
    "activation": Computation(compute=arithmetic.identity),
    "add": Computation(compute=arithmetic.combined(torch.add), reads=(2, None)),
    "subtract": Computation(compute=arithmetic.combined(torch.sub), reads=(2, None)),
    "multiply": Computation(compute=arithmetic.combined(torch.mul), reads=(2, None)),
    "divide": Computation(compute=arithmetic.combined(torch.div), reads=(2, None)),
    "softmax": Computation(compute=arithmetic.softmax, needs=("axis",)),
    "log_softmax": Computation(compute=arithmetic.log_softmax, needs=("axis",)),
    "flatten": Computation(compute=reshaping.flatten, allows=("start", "stop")),
    "global_average_pool": Computation(compute=pooling.global_average, needs=("keepdim",)),
    "global_max_pool": Computation(compute=pooling.global_maximum, needs=("keepdim",)),
    "avg_pool": Computation(compute=pooling.average, needs=(*_WINDOW, "count_include_pad")),
    "max_pool": Computation(compute=pooling.maximum, needs=(*_WINDOW, "dilation")),
    "adaptive_avg_pool": Computation(compute=pooling.adaptive_average, needs=("size",)),
    "adaptive_max_pool": Computation(compute=pooling.adaptive_maximum, needs=("size",)),
}

"""List the kinds of layers that can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping

from sneframe.architecture.evaluate import (
    arithmetic,
    attention,
    convolution,
    linear,
    norms,
    pooling,
    recurrent,
    reshaping,
)
from sneframe.architecture.evaluate.step import Computation

_SCALED = ("weight", "bias")
_OVER_AXES = ("axes", "keepdim")


def _convolutions() -> dict[str, Computation]:
    """Return convolutions and transposed convolutions along one, two and three axes."""
    found: dict[str, Computation] = {}
    for ndim in (1, 2, 3):
        found[f"conv{ndim}d"] = Computation(
            compute=convolution.convolution,
            needs=("stride", "padding", "dilation"),
            allows=("groups", "padding_mode"),
            roles=("weight",),
            optional=("bias",),
            lacks=convolution.convolution_lacks,
        )
        found[f"conv_transpose{ndim}d"] = Computation(
            compute=convolution.transposed_convolution,
            needs=("stride", "padding", "output_padding", "dilation"),
            allows=("groups",),
            roles=("weight",),
            optional=("bias",),
            lacks=convolution.convolution_lacks,
        )
    return found


def _of_weights() -> dict[str, Computation]:
    """Return the other kinds that usually have parameters."""
    return {
        "linear": Computation(
            compute=linear.linear, roles=("weight",), optional=("bias",), lacks=linear.matrix_lacks
        ),
        "embedding": Computation(
            compute=linear.embedding,
            allows=("padding_idx",),
            roles=("weight",),
            lacks=linear.matrix_lacks,
        ),
        "batch_norm": Computation(
            compute=norms.batch_norm,
            needs=("eps",),
            roles=("running_mean", "running_var"),
            optional=_SCALED,
            lacks=norms.channels_lack,
        ),
        "instance_norm": Computation(
            compute=norms.instance_norm, needs=("eps",), optional=_SCALED, lacks=norms.channels_lack
        ),
        "group_norm": Computation(
            compute=norms.group_norm,
            needs=("num_groups", "eps"),
            optional=_SCALED,
            lacks=norms.channels_lack,
        ),
        "layer_norm": Computation(
            compute=norms.layer_norm, needs=("shape", "eps"), optional=_SCALED, lacks=norms.last_axes_lack
        ),
        "rms_norm": Computation(
            compute=norms.rms_norm, needs=("shape", "eps"), optional=("weight",), lacks=norms.last_axes_lack
        ),
        "prelu": Computation(compute=norms.prelu, roles=("weight",), lacks=norms.channels_lack),
        "multihead_attention": Computation(
            compute=attention.multihead_attention,
            needs=("num_heads", "batch_first"),
            allows=("mask", "is_causal"),
            optional=None,
            reads=(3, 4),
            lacks=attention.attention_lacks,
        ),
        **{
            kind: Computation(
                compute=recurrent.recurrent,
                needs=("hidden_size", "returns"),
                allows=recurrent.SETTINGS[kind],
                optional=None,
                reads=(1, 3 if kind == "lstm" else 2),
                lacks=recurrent.recurrent_lacks,
            )
            for kind in recurrent.GATES
        },
        "parameter": Computation(
            compute=arithmetic.parameter,
            needs=("operation",),
            allows=("reversed",),
            optional=None,
            reads=(0, 1),
            lacks=arithmetic.parameter_lacks,
        ),
    }


def _element_wise() -> dict[str, Computation]:
    """Return operations on each element, and products of values."""
    return {
        **{
            name: Computation(compute=arithmetic.combined(function), reads=(2, None))
            for name, function in arithmetic.BINARY.items()
        },
        "activation": Computation(compute=arithmetic.identity),
        "affine": Computation(compute=arithmetic.identity),
        "function": Computation(
            compute=arithmetic.function,
            needs=("function",),
            allows=("exponent", "max", "min", "value"),
            lacks=arithmetic.function_lacks,
        ),
        "masked_fill": Computation(compute=arithmetic.masked_fill, needs=("value",), reads=(2, 2)),
        "matmul": Computation(compute=arithmetic.matmul, reads=(2, 2)),
    }


def _along_axes() -> dict[str, Computation]:
    """Return operations along axes, and poolings."""
    return {
        "softmax": Computation(compute=arithmetic.softmax, needs=("axis",)),
        "log_softmax": Computation(compute=arithmetic.log_softmax, needs=("axis",)),
        "cumsum": Computation(compute=arithmetic.running_sum, needs=("axis",)),
        "mean": Computation(compute=arithmetic.mean, needs=_OVER_AXES),
        "sum": Computation(compute=arithmetic.total, needs=_OVER_AXES),
        "amax": Computation(compute=arithmetic.largest, needs=_OVER_AXES),
        "amin": Computation(compute=arithmetic.smallest, needs=_OVER_AXES),
        "variance": Computation(compute=arithmetic.variance, needs=(*_OVER_AXES, "correction")),
        "norm": Computation(compute=arithmetic.norm, needs=(*_OVER_AXES, "ord")),
        "global_average_pool": Computation(compute=pooling.global_average, needs=("keepdim",)),
        "global_max_pool": Computation(compute=pooling.global_maximum, needs=("keepdim",)),
        "avg_pool": Computation(compute=pooling.average, needs=(*pooling.WINDOW, "count_include_pad")),
        "max_pool": Computation(compute=pooling.maximum, needs=(*pooling.WINDOW, "dilation")),
        "adaptive_avg_pool": Computation(compute=pooling.adaptive_average, needs=("size",)),
        "adaptive_max_pool": Computation(compute=pooling.adaptive_maximum, needs=("size",)),
        "upsample": Computation(
            compute=reshaping.upsample,
            needs=("mode",),
            allows=("size", "scale", "align_corners"),
            lacks=reshaping.upsample_lacks,
        ),
    }


def _rearranging() -> dict[str, Computation]:
    """Return operations that only rearrange, repeat or choose values, and constants."""
    return {
        "flatten": Computation(compute=reshaping.flatten, allows=("start", "stop")),
        "reshape": Computation(compute=reshaping.reshape, needs=("shape",)),
        "transpose": Computation(compute=reshaping.transpose, needs=("order",)),
        "select": Computation(compute=reshaping.select, needs=("axis", "index")),
        "slice": Computation(compute=reshaping.slice_, needs=("axis", "start"), allows=("stop", "step")),
        "take": Computation(compute=reshaping.take, needs=("axis", "indices")),
        "expand": Computation(compute=reshaping.expand, needs=("shape",)),
        "repeat": Computation(compute=reshaping.repeat, needs=("repeats",)),
        "concatenate": Computation(compute=reshaping.concatenate, needs=("axis",), reads=(1, None)),
        "stack": Computation(compute=reshaping.stack, needs=("axis",), reads=(1, None)),
        "pad": Computation(
            compute=reshaping.pad,
            needs=("amounts",),
            allows=("value", "mode"),
            lacks=reshaping.pad_lacks,
        ),
        "pixel_shuffle": Computation(compute=reshaping.pixel_shuffle, needs=("block",)),
        "pixel_unshuffle": Computation(compute=reshaping.pixel_unshuffle, needs=("block",)),
        "constant": Computation(
            compute=reshaping.constant, needs=("shape", "values"), allows=("dtype",), reads=(0, 0)
        ),
    }


KINDS: Mapping[str, Computation] = {
    **_convolutions(),
    **_of_weights(),
    **_element_wise(),
    **_along_axes(),
    **_rearranging(),
}

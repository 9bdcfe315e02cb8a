"""Record operations that pool: means, maxima, poolings over windows, softmax and resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sneframe.architecture.call import Call
from sneframe.architecture.recording.node import Record

if TYPE_CHECKING:
    from sneframe.architecture.recording import Recorder

#: For each reduction, the kind of layer that it becomes.
REDUCTIONS = {"mean": "mean", "sum": "sum", "amax": "amax", "amin": "amin"}


def reduction(recorder: Recorder, call: Call) -> int:
    """Record a mean, sum, maximum or minimum over axes. Over all positions it is a global pooling."""
    value = call.args[0]
    axes = call.argument(1, "dim")
    axes = [axis % value.ndim for axis in axes] if axes else list(range(value.ndim))
    keepdim = bool(call.argument(2, "keepdim", False))
    node = recorder.of(value)
    if call.kwargs.get("dtype") not in (None, value.dtype):
        return recorder.unknown(call)
    pooled = {"mean": "global_average_pool", "amax": "global_max_pool"}.get(call.name)
    if pooled is not None and value.ndim > 2 and sorted(axes) == list(range(2, value.ndim)):
        if recorder.has_channels(node):
            return recorder.add(pooled, [node], keepdim=keepdim)
    return recorder.add(REDUCTIONS[call.name], [node], axes=axes, keepdim=keepdim)


def variance(recorder: Recorder, call: Call) -> int:
    """Record a variance, or the standard deviation as its root."""
    value, axes = call.args[0], call.argument(1, "dim")
    correction = call.kwargs.get("correction")
    if isinstance(axes, bool) or call.overload not in ("correction", "dim"):
        return recorder.unknown(call)
    axes = [axis % value.ndim for axis in axes] if axes else list(range(value.ndim))
    result = recorder.add(
        "variance",
        [recorder.of(value)],
        axes=axes,
        keepdim=bool(call.kwargs.get("keepdim", False)),
        correction=float(1 if correction is None else correction),
    )
    return recorder.add("function", [result], function="sqrt") if call.name == "std" else result


def vector_norm(recorder: Recorder, call: Call) -> int:
    """Record the norm of vectors along axes."""
    value, order, axes = call.args[0], call.argument(1, "ord", 2), call.argument(2, "dim")
    axes = [axis % value.ndim for axis in axes] if axes else list(range(value.ndim))
    keepdim = bool(call.argument(3, "keepdim", False))
    return recorder.add("norm", [recorder.of(value)], axes=axes, keepdim=keepdim, ord=float(order))


def softmax(recorder: Recorder, call: Call) -> int:
    """Record softmax and its logarithm."""
    value = call.args[0]
    kind = "log_softmax" if call.name == "_log_softmax" else "softmax"
    return recorder.add(kind, [recorder.of(value)], axis=call.args[1] % value.ndim)


def windows(recorder: Recorder, call: Call) -> int | list[int | None]:
    """Record average and maximum poolings over windows."""
    value, kernel = call.args[:2]
    maximum = call.name.startswith("max")
    ndim = int(call.name.partition("pool")[2][0])
    stride = _sizes(call.argument(2, "stride") or kernel, ndim)
    attributes: dict[str, Any] = {
        "kernel": _sizes(kernel, ndim),
        "stride": stride,
        "padding": _sizes(call.argument(3, "padding", [0]), ndim),
    }
    if maximum:
        attributes["dilation"] = _sizes(call.argument(4, "dilation", [1]), ndim)
        attributes["ceil_mode"] = bool(call.argument(5, "ceil_mode", False))
    else:
        attributes["ceil_mode"] = bool(call.argument(4, "ceil_mode", False))
        attributes["count_include_pad"] = bool(call.argument(5, "count_include_pad", True))
        if call.argument(6, "divisor_override") is not None:
            return recorder.unknown(call)
    if value.ndim != ndim + 2:
        return recorder.unknown(call)
    node = recorder.add("max_pool" if maximum else "avg_pool", [recorder.of(value)], **attributes)
    return [node, *[None] * (len(call.outputs) - 1)]


def adaptive(recorder: Recorder, call: Call) -> list[int | None]:
    """Record poolings to a given size."""
    value, size = call.args[:2]
    ndim = int(call.name.partition("pool")[2][0])
    if value.ndim != ndim + 2:
        return [recorder.unknown(call), *[None] * (len(call.outputs) - 1)]
    maximum = "max" in call.name
    sizes = _sizes(size, ndim)
    if all(each == 1 for each in sizes):
        kind = "global_max_pool" if maximum else "global_average_pool"
        node = recorder.add(kind, [recorder.of(value)], keepdim=True)
    else:
        kind = "adaptive_max_pool" if maximum else "adaptive_avg_pool"
        node = recorder.add(kind, [recorder.of(value)], size=sizes)
    return [node, *[None] * (len(call.outputs) - 1)]


def upsample(recorder: Recorder, call: Call) -> int:
    """Record resampling to a larger or smaller image."""
    value, output = call.args[0], call.outputs[0]
    mode = next(m for m in ("nearest-exact", "nearest", "bilinear", "linear", "bicubic", "trilinear") if (
        call.name.startswith(f"upsample_{m}") or (m == "nearest-exact" and "nearest_exact" in call.name)
    ))
    ratios = [new / old for new, old in zip(output.shape[2:], value.shape[2:], strict=True)]
    whole = all(ratio == int(ratio) for ratio in ratios)
    attributes: dict[str, Any] = {"mode": mode}
    if whole:
        attributes["scale"] = [int(ratio) for ratio in ratios]
    else:
        attributes["size"] = [int(size) for size in output.shape[2:]]
    if "linear" in mode or mode == "bicubic":
        attributes["align_corners"] = bool(call.args[2])
    return recorder.add("upsample", [recorder.of(value)], **attributes)


def cumulative(recorder: Recorder, call: Call) -> int:
    """Record a running sum."""
    value = call.args[0]
    return recorder.add("cumsum", [recorder.of(value)], axis=call.args[1] % max(1, value.ndim))


def _sizes(values: int | Sequence[int], ndim: int) -> list[int]:
    """Return one whole number for each axis."""
    given = [values] if isinstance(values, int) else [int(value) for value in values]
    return given * ndim if len(given) == 1 else given


RECORDS: Mapping[str, Record] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("var", "std"), variance),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), softmax),
    **{f"avg_pool{n}d": windows for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": windows for n in (2, 3)},
    **{f"{under}adaptive_avg_pool{n}d": adaptive for n in (1, 2, 3) for under in ("", "_")},
    **{f"adaptive_max_pool{n}d": adaptive for n in (2, 3)},
    **{f"upsample_nearest{n}d": upsample for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": upsample for n in (1, 2, 3)},
    **dict.fromkeys(
        ("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"), upsample
    ),
    "linalg_vector_norm": vector_norm,
    "cumsum": cumulative,
}

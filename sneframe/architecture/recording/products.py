"""Record products that sum over an axis, and norms: the operations that most weights belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sneframe.architecture.call import Call
from sneframe.architecture.recording.node import Record

if TYPE_CHECKING:
    from sneframe.architecture.recording import Recorder


def product(recorder: Recorder, call: Call) -> int:
    """Record matrix products. A product with a parameter that lies on the right is a linear layer."""
    if call.name in ("addmm", "baddbmm", "addmv"):
        if call.argument(3, "beta", 1) != 1 or call.argument(4, "alpha", 1) != 1:
            return recorder.unknown(call)
        added, first, second = call.args[:3]
        bias = recorder.of(added)
    else:
        (first, second), bias = call.args[:2], None
    a, b = recorder.of(first), recorder.of(second)
    if second.ndim == 2 and recorder.is_stream(a) and _is_weight(recorder, b):
        roles = {"weight": recorder.transposed(b, [1, 0])}
        if bias is not None and _is_weight(recorder, bias) and call.args[0].ndim == 1:
            return recorder.add("linear", [a], roles={**roles, "bias": bias})
        result = recorder.add("linear", [a], roles=roles)
    elif call.name in ("mv", "addmv", "dot"):
        return recorder.unknown(call)
    else:
        result = recorder.add("matmul", [a, b])
    return result if bias is None else recorder.add("add", [result, bias])


def convolution(recorder: Recorder, call: Call) -> int:
    """Record a convolution with its settings."""
    x, weight, bias = call.args[:3]
    stride, padding, dilation, transposed, output_padding, groups = (
        call.argument(n, name)
        for n, name in enumerate(
            ("stride", "padding", "dilation", "transposed", "output_padding", "groups"), start=3
        )
    )
    ndim = x.ndim - 2
    attributes: dict[str, Any] = {
        name: [*map(int, values)] * (ndim if len(values) == 1 else 1)
        for name, values in (("stride", stride), ("padding", padding), ("dilation", dilation))
    }
    if transposed:
        attributes["output_padding"] = [*map(int, output_padding)] * (ndim if len(output_padding) == 1 else 1)
    if groups != 1:
        attributes["groups"] = int(groups)
    roles = _given(recorder, weight=weight, bias=bias)
    if any(recorder.is_stream(node) for node in roles.values()):
        return recorder.unknown(call)
    kind = f"conv{'_transpose' if transposed else ''}{ndim}d"
    return recorder.add(kind, [recorder.of(x)], roles=roles, **attributes)


def batch_norm(recorder: Recorder, call: Call) -> list[int | None]:
    """Record a batch norm in evaluation mode. A norm that uses the batch is not recorded."""
    rest: list[None] = [None] * (len(call.outputs) - 1)
    if call.overload == "no_stats" or call.args[5] is True or call.args[3] is None:
        return [recorder.unknown(call), *rest]
    x, weight, bias, mean, variance = call.args[:5]
    roles = _given(recorder, weight=weight, bias=bias, running_mean=mean, running_var=variance)
    node = recorder.add("batch_norm", [recorder.of(x)], roles=roles, eps=float(call.args[-1]))
    return [node, *rest]


def layer_norm(recorder: Recorder, call: Call) -> list[int | None]:
    """Record a layer norm."""
    x, shape, weight, bias, eps = call.args[:5]
    roles = _given(recorder, weight=weight, bias=bias)
    node = recorder.add(
        "layer_norm", [recorder.of(x)], roles=roles, shape=[int(n) for n in shape], eps=float(eps)
    )
    return [node, *[None] * (len(call.outputs) - 1)]


def group_norm(recorder: Recorder, call: Call) -> list[int | None]:
    """Record a group norm."""
    x, weight, bias = call.args[:3]
    groups, eps = call.args[6:8]
    roles = _given(recorder, weight=weight, bias=bias)
    node = recorder.add(
        "group_norm", [recorder.of(x)], roles=roles, num_groups=int(groups), eps=float(eps)
    )
    return [node, *[None] * (len(call.outputs) - 1)]


def weight_norm(recorder: Recorder, call: Call) -> list[int | None]:
    """Record weight norm. The weight is computed from two parameters, which is not described."""
    return [recorder.unknown(call), *[None] * (len(call.outputs) - 1)]


def _is_weight(recorder: Recorder, node: int) -> bool:
    """Whether a node is computed from parameters alone."""
    return not recorder.is_stream(node) and bool(recorder.parameters(node))


def _given(recorder: Recorder, **operands: Tensor | None) -> dict[str, int]:
    """Return the nodes of the operands that are given."""
    return {role: recorder.of(value) for role, value in operands.items() if value is not None}


RECORDS: Mapping[str, Record] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv"), product),
    **dict.fromkeys(
        (
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
            "cudnn_batch_norm",
        ),
        batch_norm,
    ),
    "convolution": convolution,
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    "_weight_norm_interface": weight_norm,
}

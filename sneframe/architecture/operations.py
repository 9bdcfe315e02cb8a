"""The layers of a traced module: which operations use which parameters, and what they read.

A layer is a module of a known kind with its own parameters, or the parameters that one operation uses; joins
of several branches, flattening and global pooling are layers without parameters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from attrs import define, field
from torch import nn

from sneframe.architecture.call import Call

KINDS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Linear, "linear"),
    *((getattr(nn, f"Conv{n}d"), f"conv{n}d") for n in (1, 2, 3)),
    *((getattr(nn, f"ConvTranspose{n}d"), f"conv_transpose{n}d") for n in (1, 2, 3)),
    *((getattr(nn, f"BatchNorm{n}d"), "batch_norm") for n in (1, 2, 3)),
    *((getattr(nn, f"InstanceNorm{n}d"), "instance_norm") for n in (1, 2, 3)),
    (nn.LayerNorm, "layer_norm"),
    (nn.RMSNorm, "rms_norm"),
    (nn.GroupNorm, "group_norm"),
    (nn.Embedding, "embedding"),
    (nn.MultiheadAttention, "multihead_attention"),
    (nn.LSTM, "lstm"),
    (nn.GRU, "gru"),
    (nn.RNN, "rnn"),
    (nn.LSTMCell, "lstm"),
    (nn.GRUCell, "gru"),
    (nn.RNNCell, "rnn"),
    (nn.PReLU, "prelu"),
)
#: Made of many operations, whose activations are their own affair.
COMPOSITE = ("multihead_attention", "lstm", "gru", "rnn")
CHANNELS = ("conv", "batch_norm", "group_norm", "instance_norm", "add", "concatenate")
ACTIVATIONS = {
    **{name: name for name in ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "tanh")},
    **{name: name for name in ("sigmoid", "hardswish", "hardtanh", "hardsigmoid", "glu", "erf")},
    "sin": "sine",
    "cos": "cosine",
    "_prelu_kernel": "prelu",
    "rrelu_with_noise": "leaky_relu",
}
#: What an activation can be called; ``other`` is one without a name here, with which nothing is known to
#: commute.
KNOWN_ACTIVATIONS = tuple(sorted({*ACTIVATIONS.values(), "selu", "none", "other"}))
SELU = 1.0507009873554805  #: the scale by which torch's elu becomes its selu
JOINS = {
    "add": "add",
    "sub": "add",
    "mul": "multiply",
    "div": "multiply",
    "cat": "concatenate",
    "stack": "concatenate",
}
KINDS_OF_OPERATIONS = {
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"), "linear"),
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "native_batch_norm": "batch_norm",
    "embedding": "embedding",
}


@define(eq=False)
class Operation:
    """A layer in the making."""

    kind: str
    names: list[str] = field(factory=list)
    inputs: set[int] = field(factory=set)
    activation: str = "none"
    attributes: dict[str, Any] = field(factory=dict)
    owner: str | None = None  #: the path of its module, where that is of a known kind


class Operations:
    """The layers met so far, in order.

    Args:
        module: that is traced.
    """

    def __init__(self, module: nn.Module) -> None:
        self.found: list[Operation] = []
        self._owners = dict(module.named_modules())
        self._of_name: dict[str, int] = {}
        self._of_owner: dict[str, int] = {}

    def record(self, call: Call, stack: Sequence[str]) -> tuple[tuple[str, ...], int | None, bool]:
        """Return three facts of a call's outputs: the parameters that they copy, their layer, and whether it is direct."""
        labels = list(call.labels.values())
        names = tuple(dict.fromkeys(name for label in labels for name in label.names))
        streams = [label for label in labels if not label.names]
        if not streams and call.name not in ("embedding", "index", "index_select"):
            return names, None, False
        sources = {label.operation for label in streams if label.operation is not None}
        if names:
            number = self._layer(call, names)
            self.found[number].inputs |= {source for source in sources if source < number}
            return (), number, True
        if len(sources) > 1:
            self.found.append(Operation(JOINS.get(call.name, "multiply"), inputs=sources))
            return (), len(self.found) - 1, True
        source = next(iter(sources), None)
        if source is None:
            return (), None, False
        direct = all(label.direct for label in streams)
        return (), *self._after(call, source, stack, direct=direct)

    def _layer(self, call: Call, names: Sequence[str]) -> int:
        """Return the layer of the parameters that an operation uses, a new one where they are met for the first time."""
        known = [self._of_name[name] for name in names if name in self._of_name]
        if known:
            number = known[0]
        else:
            path = owner_path(names[0])
            owner = self._owners[path]
            kind = kind_of(owner)
            if kind is not None and path in self._of_owner:
                number = self._of_owner[path]
            else:
                self.found.append(Operation(kind or self._kind(call), owner=path if kind else None))
                number = len(self.found) - 1
                self.found[number].attributes.update(attributes(owner, kind) if kind else {})
                if kind is not None:
                    self._of_owner[path] = number
        for name in names:
            if name not in self._of_name:
                self._of_name[name] = number
                self.found[number].names.append(name)
        return number

    def _kind(self, call: Call) -> str:
        if call.name == "convolution":
            transposed = "_transpose" if call.args[6] else ""
            return f"conv{transposed}{call.args[0].ndim - 2}d"
        return KINDS_OF_OPERATIONS.get(call.name, "parameter")

    def _after(self, call: Call, source: int, stack: Sequence[str], *, direct: bool) -> tuple[int, bool]:
        """Return the layer of what an operation without parameters makes of a layer's output."""
        operation = self.found[source]
        if operation.kind in COMPOSITE and operation.owner in stack:
            return source, False
        if call.name in ACTIVATIONS:
            name = ACTIVATIONS[call.name]
            if call.name == "elu" and any(isinstance(a, float) and a == SELU for a in call.args):
                name = "selu"
            if operation.activation == "none":
                operation.activation = name
                return source, direct
            self.found.append(Operation("activation", inputs={source}, activation=name))
            return len(self.found) - 1, True
        if call.name in ("add", "sub", "mul", "div") and direct:
            constant = call.args[1]
            if isinstance(constant, int | float):
                operation.attributes.setdefault("affine", []).append([call.name, float(constant)])
            return source, direct
        kind = _reshaping(call)
        if kind is not None and operation.kind.startswith(CHANNELS):
            self.found.append(Operation(kind, inputs={source}))
            return len(self.found) - 1, False
        return source, direct and call.name in ("view", "clone", "_unsafe_view", "t", "transpose")


def owner_path(name: str) -> str:
    """Return the path of the module that has a parameter; a parametrization, such as weight norm, is part of its module."""
    return name.rpartition(".")[0].partition("parametrizations.")[0].rstrip(".")


def kind_of(owner: nn.Module) -> str | None:
    """Return the kind of layer that a module is, by its class, or by the class that it was scripted from; or None."""
    scripted = getattr(owner, "original_name", None) if isinstance(owner, torch.jit.ScriptModule) else None
    return next((kind for cls, kind in KINDS if isinstance(owner, cls) or cls.__name__ == scripted), None)


def attributes(owner: nn.Module, kind: str) -> dict[str, Any]:
    """Return what else decides how a layer of a known kind computes, as JSON values."""
    given: Any = owner
    if kind.startswith("conv") and hasattr(given, "stride"):  # a traced module has none
        found: dict[str, Any] = {
            "stride": list(given.stride),
            "padding": given.padding if isinstance(given.padding, str) else list(given.padding),
            "dilation": list(given.dilation),
        }
        return found | ({"groups": given.groups} if given.groups != 1 else {})
    if kind == "group_norm" and hasattr(given, "num_groups"):
        return {"num_groups": given.num_groups}
    if kind == "multihead_attention" and hasattr(given, "num_heads"):
        return {"num_heads": given.num_heads}
    return {}


def role(name: str, kind: str) -> str:
    """Return what a parameter does in its layer: the last word of its name, without the number of a stacked layer."""
    last = name.rpartition(".")[2]
    return re.sub(r"_l\d+(_reverse)?$", "", last) if kind in COMPOSITE else last


def _reshaping(call: Call) -> str | None:
    """Return ``flatten`` or a global pooling where a call is one, of channels and positions."""
    value = call.inputs[0]
    if value.ndim < 3 or not call.outputs:
        return None
    shape = call.outputs[0].shape
    if call.name in ("view", "_unsafe_view"):
        return (
            "flatten"
            if len(shape) == 2 and value[0].numel() == shape[1] and value.shape[1] < shape[1]
            else None
        )
    pooled = all(size == 1 for size in shape[2:]) and tuple(shape[:2]) == tuple(value.shape[:2])
    if not pooled:
        return None
    if call.name == "mean" or "avg_pool" in call.name:
        return "global_average_pool"
    return "global_max_pool" if call.name == "amax" or "adaptive_max_pool" in call.name else None

"""Collect the layers of a traced module, with the parameters and the earlier layers that each layer reads.

A layer is a module of a known kind, such as ``nn.Linear``, or one operation that uses parameters. Operations
that join branches, flatten or pool globally are layers without parameters. Every other operation belongs to
the layer that it reads.
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
#: Kinds of layers that run many operations. The activations inside such a layer are not recorded.
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
#: All names of activations. ``other`` means an activation that is not listed, for which no symmetry is known.
KNOWN_ACTIVATIONS = tuple(sorted({*ACTIVATIONS.values(), "selu", "none", "other"}))
SELU = 1.0507009873554805  #: torch computes selu by calling elu with this scale
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
    """A layer that is being collected.

    Args:
        kind: the kind of layer.
        names: the names of the parameters of the layer.
        inputs: the numbers of the layers that this layer reads.
        activation: the activation after the layer.
        attributes: further settings as JSON values, such as the stride of a convolution.
        owner: the path of the module that is this layer, if the layer is a module of a known kind.
    """

    kind: str
    names: list[str] = field(factory=list)
    inputs: set[int] = field(factory=set)
    activation: str = "none"
    attributes: dict[str, Any] = field(factory=dict)
    owner: str | None = None


class Operations:
    """The layers that a trace has collected so far, in the order in which they ran.

    Args:
        module: the traced module.

    Attributes:
        layers: the layers collected so far.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers: list[Operation] = []
        self._owners = dict(module.named_modules())
        self._of_name: dict[str, int] = {}
        self._of_owner: dict[str, int] = {}

    def record(self, call: Call, stack: Sequence[str]) -> tuple[tuple[str, ...], int | None, bool]:
        """Assign a call to a layer. Add a layer if the call starts a new layer.

        Returns:
            The values ``names``, ``operation`` and ``direct`` for the labels of the outputs; see
            :class:`~.call.Label`.
        """
        labels = list(call.labels.values())
        names = tuple(dict.fromkeys(name for label in labels for name in label.names))
        streams = [label for label in labels if not label.names]
        if not streams and call.name not in ("embedding", "index", "index_select"):
            return names, None, False
        sources = {label.operation for label in streams if label.operation is not None}
        if names:
            number = self._layer(call, names)
            self.layers[number].inputs |= {source for source in sources if source < number}
            return (), number, True
        if len(sources) > 1:
            self.layers.append(Operation(JOINS.get(call.name, "multiply"), inputs=sources))
            return (), len(self.layers) - 1, True
        source = next(iter(sources), None)
        if source is None:
            return (), None, False
        direct = all(label.direct for label in streams)
        return (), *self._after(call, source, stack, direct=direct)

    def _layer(self, call: Call, names: Sequence[str]) -> int:
        """Return the number of the layer with the parameters ``names``. Add a layer if no layer has them."""
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
                self.layers.append(Operation(kind or self._kind(call), owner=path if kind else None))
                number = len(self.layers) - 1
                self.layers[number].attributes.update(attributes(owner, kind) if kind else {})
                if kind is not None:
                    self._of_owner[path] = number
        for name in names:
            if name not in self._of_name:
                self._of_name[name] = number
                self.layers[number].names.append(name)
        return number

    def _kind(self, call: Call) -> str:
        """Return the kind of layer for an operation outside of any module of a known kind."""
        if call.name == "convolution":
            transposed = "_transpose" if call.args[6] else ""
            return f"conv{transposed}{call.args[0].ndim - 2}d"
        return KINDS_OF_OPERATIONS.get(call.name, "parameter")

    def _after(self, call: Call, source: int, stack: Sequence[str], *, direct: bool) -> tuple[int, bool]:
        """Return ``operation`` and ``direct`` for the label of the result of a call without parameters.

        An activation is recorded in the layer ``source`` that the call reads. Global pooling, flattening and
        a second activation become a layer. Any other call belongs to ``source``.
        """
        operation = self.layers[source]
        if operation.kind in COMPOSITE and operation.owner in stack:
            return source, False
        if call.name in ACTIVATIONS:
            name = ACTIVATIONS[call.name]
            if call.name == "elu" and any(isinstance(a, float) and a == SELU for a in call.args):
                name = "selu"
            if operation.activation == "none":
                operation.activation = name
                return source, direct
            self.layers.append(Operation("activation", inputs={source}, activation=name))
            return len(self.layers) - 1, True
        if call.name in ("add", "sub", "mul", "div") and direct:
            constant = call.args[1]
            if isinstance(constant, int | float):
                operation.attributes.setdefault("affine", []).append([call.name, float(constant)])
            return source, direct
        kind = _reshaping(call)
        if kind is not None and operation.kind.startswith(CHANNELS):
            self.layers.append(Operation(kind, inputs={source}))
            return len(self.layers) - 1, False
        return source, direct and call.name in ("view", "clone", "_unsafe_view", "t", "transpose")


def owner_path(name: str) -> str:
    """Return the path of the module that owns a parameter.

    The parameters of a parametrization, such as weight norm, belong to the module that is parametrized.
    """
    return name.rpartition(".")[0].partition("parametrizations.")[0].rstrip(".")


def kind_of(owner: nn.Module) -> str | None:
    """Return the kind of layer that a module is, or None for a module of another class.

    A scripted module counts as an instance of the class that it was scripted from.
    """
    scripted = getattr(owner, "original_name", None) if isinstance(owner, torch.jit.ScriptModule) else None
    return next((kind for cls, kind in KINDS if isinstance(owner, cls) or cls.__name__ == scripted), None)


def attributes(owner: nn.Module, kind: str) -> dict[str, Any]:
    """Return the settings that decide how a layer of a known kind computes, as JSON values."""
    given: Any = owner
    if kind.startswith("conv") and hasattr(given, "stride"):  # a module from torch.jit.trace has no stride
        values: dict[str, Any] = {
            "stride": list(given.stride),
            "padding": given.padding if isinstance(given.padding, str) else list(given.padding),
            "dilation": list(given.dilation),
        }
        return values | ({"groups": given.groups} if given.groups != 1 else {})
    if kind == "group_norm" and hasattr(given, "num_groups"):
        return {"num_groups": given.num_groups}
    if kind == "multihead_attention" and hasattr(given, "num_heads"):
        return {"num_heads": given.num_heads}
    return {}


def role(name: str, kind: str) -> str:
    """Return the role of a parameter: ``weight`` for ``0.weight``, ``weight_ih`` for ``rnn.weight_ih_l0``."""
    last = name.rpartition(".")[2]
    return re.sub(r"_l\d+(_reverse)?$", "", last) if kind in COMPOSITE else last


def _reshaping(call: Call) -> str | None:
    """Return the kind of layer, such as ``flatten``, if a call flattens or pools globally, else None."""
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

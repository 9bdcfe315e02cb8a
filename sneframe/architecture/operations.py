"""Define an operation, the layer of a traced module, and the names of kinds, roles and activations."""

from __future__ import annotations

import re
from typing import Any

import torch
from attrs import define, field
from torch import nn

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
#: Kinds of layers that run many operations. The names of their parameters end with the level and direction.
COMPOSITE = ("multihead_attention", "lstm", "gru", "rnn")
#: All names of activations. ``other`` means an activation that is not known.
KNOWN_ACTIVATIONS = (
    *("cosine", "elu", "erf", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish"),
    *("none", "other", "prelu", "relu", "selu", "sigmoid", "silu", "sine", "softplus", "tanh"),
)


@define(eq=False)
class Operation:
    """A layer that is being collected.

    Args:
        kind: the kind of layer.
        names: the names of the parameters of the layer.
        inputs: the numbers of the layers that this layer reads, in order. −1 is the first input of the
            network, −2 the second. No number means the first input, or nothing for a layer that reads
            nothing.
        activation: the activation after the layer.
        attributes: further settings as JSON values, such as the stride of a convolution.
        owner: the path of the module that is this layer, if the layer is a module of a known kind.
    """

    kind: str
    names: list[str] = field(factory=list)
    inputs: tuple[int, ...] = ()
    activation: str = "none"
    attributes: dict[str, Any] = field(factory=dict)
    owner: str | None = None


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


def role(name: str, kind: str) -> str:
    """Return the role of a parameter: ``weight`` for ``0.weight``, ``weight_ih`` for ``rnn.weight_ih_l0``."""
    last = name.rpartition(".")[2]
    return re.sub(r"_l\d+(_reverse)?$", "", last) if kind in COMPOSITE else last

"""Evaluate activations, with their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from sneframe.architecture.evaluate.step import own_axis
from sneframe.architecture.layer import Layer

#: Activations that compute sin and cos. How fast they vary depends on the factor before them.
WAVES = ("sine", "cosine")


@frozen(kw_only=True, eq=False)
class Activation:
    """An activation.

    Args:
        compute: the function; its keyword arguments are the settings.
        needs: the settings that a description must have.
        allows: the settings that may be absent, which then have the value that the activation's name implies.
    """

    compute: Callable[..., Tensor]
    needs: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()


def _identity(value: Tensor) -> Tensor:
    return value


def _clamped(value: Tensor, **limits: float) -> Tensor:
    return value.clamp(limits["min"], limits["max"])


def _glu(value: Tensor, *, axis: int) -> Tensor:
    return F.glu(value, dim=own_axis(axis))


ACTIVATIONS: Mapping[str, Activation] = {
    "none": Activation(compute=_identity),
    "relu": Activation(compute=torch.relu),
    "leaky_relu": Activation(compute=F.leaky_relu, needs=("negative_slope",)),
    "elu": Activation(compute=F.elu, allows=("alpha",)),
    "celu": Activation(compute=F.celu, allows=("alpha",)),
    "selu": Activation(compute=torch.selu),
    "gelu": Activation(compute=F.gelu, allows=("approximate",)),
    "silu": Activation(compute=F.silu),
    "mish": Activation(compute=F.mish),
    "softplus": Activation(compute=F.softplus, allows=("beta", "threshold")),
    "tanh": Activation(compute=torch.tanh),
    "sigmoid": Activation(compute=torch.sigmoid),
    "hardswish": Activation(compute=F.hardswish),
    "hardsigmoid": Activation(compute=F.hardsigmoid),
    "hardtanh": Activation(compute=_clamped, needs=("min", "max")),
    "erf": Activation(compute=torch.erf),
    "sine": Activation(compute=torch.sin),
    "cosine": Activation(compute=torch.cos),
    "glu": Activation(compute=_glu, needs=("axis",)),
}


def activation_lacks(layer: Layer) -> Iterator[str]:
    """Yield what is missing to evaluate the activation of a layer."""
    name = layer.activation
    if name == "other":
        yield (
            "its activation is not known; for a state dict --activation gives it "
            "(as in --activation relu), else --module or from_module with an example input"
        )
    if name not in ACTIVATIONS:
        yield f"its activation {name!r} is not one that can be evaluated ({', '.join(sorted(ACTIVATIONS))})"
    activation, options = ACTIVATIONS[name], layer.attributes.get("activation_options", {})
    for need in activation.needs:
        if need not in options:
            yield (
                f"its attribute activation_options has no {need!r}, which {name} needs; "
                f"--module or from_module with an example input records it"
            )
    unknown = sorted(set(options) - {*activation.needs, *activation.allows})
    if unknown:
        yield f"its activation_options has {unknown[0]!r}, which {name} does not take"


def factor_lacks(layer: Layer) -> Iterator[str]:
    """Yield that the factor inside a sine or cosine is not known."""
    if layer.activation in WAVES and "factor" not in layer.attributes:
        yield (
            f"the factor inside its {layer.activation} is not known; for a state dict --activation gives it "
            f"(as in --activation {layer.activation}:30), else --module or from_module with an example input"
        )


def activated(value: Tensor, layer: Layer, factor: Tensor | None) -> Tensor:
    """Return ``activation(factor · value + shift)`` of a layer.

    Args:
        value: ``(B or 1, K, …)``, the value of the operation.
        layer: the layer, of which the activation is known.
        factor: the factor ``(B or 1,)`` of a sine whose description has none; None for any other layer.
    """
    given: Any = layer.attributes.get("factor")
    if given is None and factor is not None:
        value = value * factor.to(value.dtype).reshape(-1, *[1] * (value.ndim - 1))
    elif given is not None and given != 1:
        value = value * given
    if shift := layer.attributes.get("shift", 0):
        value = value + shift
    options = layer.attributes.get("activation_options", {})
    return ACTIVATIONS[layer.activation].compute(value, **options)

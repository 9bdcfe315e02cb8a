"""Read the settings of Keras layers. They come from a file and may have any value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sneframe_formats.keras_config import KerasLayer, NoModuleError

LARGEST = 4096  #: largest size of a kernel, a stride or a padding
TYPES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")

#: The activations of Keras 3 by name. In Keras 2, ``hard_sigmoid`` was another function.
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "hard_swish": F.hardswish,
    "exponential": torch.exp,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
}


def refused(layer: KerasLayer, what: str) -> NoModuleError:
    """Return the error for something about a layer that is not known. ``what`` names it in words."""
    return NoModuleError(f"{what} of the layer {layer.path!r} ({layer.kind}) is not known")


def activation(layer: KerasLayer, key: str = "activation") -> str:
    """Return the name of the activation of a layer."""
    found = layer.settings.get(key) or "linear"
    if not isinstance(found, str) or found not in ACTIVATIONS:
        name = found.get("class_name") if isinstance(found, Mapping) else found
        raise refused(layer, f"the activation {str(name)!r}")
    if found in ("hard_sigmoid", "hard_silu", "hard_swish") and layer.old:
        raise refused(layer, f"the activation {found!r}")
    return found


def number(layer: KerasLayer, *keys: str, default: float | None = None) -> float:
    """Return the first setting of ``keys`` that the layer has, as a finite number."""
    found = next((layer.settings[key] for key in keys if layer.settings.get(key) is not None), default)
    if isinstance(found, Mapping):  # Keras 2 writes a NumPy number as a dict
        found = found.get("config", {}).get("value") if isinstance(found.get("config"), Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise refused(layer, f"the setting {keys[0]}={found!r}")
    return float(found)


def whole(layer: KerasLayer, key: str, default: int) -> int:
    """Return a setting that is an integer."""
    found = number(layer, key, default=default)
    if found != int(found) or abs(found) > LARGEST:
        raise refused(layer, f"the setting {key}={found!r}")
    return int(found)


def sizes(layer: KerasLayer, key: str, count: int, default: Any = None, least: int = 1) -> tuple[int, ...]:
    """Return a size for each of ``count`` axes. The setting may be a single size for all axes."""
    found = layer.settings.get(key)
    found = default if found is None else found
    listed = found if isinstance(found, list | tuple) else [found] * count
    if len(listed) != count or not all(type(n) is int and least <= n <= LARGEST for n in listed):
        raise refused(layer, f"the setting {key}={found!r}")
    return tuple(listed)


def pairs(layer: KerasLayer, key: str, count: int) -> tuple[tuple[int, int], ...]:
    """Return a pair of sizes, before and after, for each of ``count`` axes.

    The setting may be a single size for all axes, a size for each axis, or a pair for each axis.
    """
    found = layer.settings.get(key)
    if count == 1 and isinstance(found, list | tuple) and not any(isinstance(n, list) for n in found):
        found = [found]
    listed = found if isinstance(found, list | tuple) else [found] * count
    both: list[Any] = [each if isinstance(each, list | tuple) else [each, each] for each in listed]
    if len(both) != count or not all(
        len(each) == 2 and all(type(n) is int and 0 <= n <= LARGEST for n in each) for each in both
    ):
        raise refused(layer, f"the setting {key}={found!r}")
    return tuple((each[0], each[1]) for each in both)


def choice(layer: KerasLayer, key: str, *known: Any) -> Any:
    """Return a setting whose value must be one of ``known``. The first of them is the default."""
    found = layer.settings.get(key, known[0])
    if isinstance(found, list | dict) or found not in known:
        raise refused(layer, f"the setting {key}={found!r}")
    return found


def axis(layer: KerasLayer) -> int:
    """Return the axis along which a layer acts, for layers that act along a single axis."""
    found = layer.settings.get("axis", -1)
    found = found[0] if isinstance(found, list | tuple) and len(found) == 1 else found
    if type(found) is not int or abs(found) > 32:
        raise refused(layer, f"the setting axis={found!r}")
    return found


def check_common(layer: KerasLayer) -> None:
    """Check the settings that many layers share: the order of axes and the type of the weights."""
    if not layer.known:
        raise NoModuleError(f"the layer {layer.path!r} is of the class {layer.kind!r}, which a user defined")
    choice(layer, "data_format", "channels_last", None)
    for key in ("lora_rank", "quantization_config", "lora_alpha"):
        if layer.settings.get(key) is not None:
            raise refused(layer, f"the setting {key}")
    found = layer.settings.get("dtype")
    if isinstance(found, Mapping):
        inner = found.get("config")
        found = inner.get("name") if isinstance(inner, Mapping) else None
    integers = layer.kind in ("InputLayer", "Embedding")
    if found is not None and found not in TYPES and not integers:
        raise refused(layer, f"the type {found!r}")

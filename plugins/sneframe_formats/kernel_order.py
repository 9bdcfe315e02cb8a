"""Convert the tensors of Flax and Keras to the names and orders of axes of torch.

Flax and Keras store the axes of a kernel in the order ``(…, in, out)`` where torch has ``(out, in, …)``, and
name the tensors of a layer ``kernel``, ``scale``, ``moving_mean`` … where torch has ``weight``,
``running_mean`` ….
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from einops import rearrange
from torch import Tensor

from sneframe.errors import FileError

#: What a layer with a kernel computes. ``depthwise``: a depthwise convolution, whose kernel is ``(…,
#: channels, multiplier)``. ``transposed``: a transposed convolution of Keras, whose kernel is ``(…, out,
#: in)``. ``flax transposed``: a transposed convolution of Flax. Its kernel is ``(…, in, out)``, and is
#: flipped along the spatial axes for torch. ``kept``: names and axes do not change.
Kind = Literal["plain", "depthwise", "transposed", "flax transposed", "kept"]

KERNEL = "kernel"
#: Torch's names of the tensors of normalisations and embeddings, which are layers without a kernel.
TORCH = {
    "scale": "weight",
    "gamma": "weight",
    "embedding": "weight",
    "embeddings": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
ORDER = ("weight", "bias", "running_mean", "running_var")  #: the order of the tensors in a layer
SPATIAL = ("a", "b", "c")  #: names of the spatial axes of a convolution
QUERIES = ("query", "key", "value")  #: names of the layers of an attention whose output is split into heads
OUTPUTS = ("out", "attention_output")  #: possible names of the layer of an attention that joins the heads
COLLECTIONS = ("params", "batch_stats")  #: the collections of variables in which Flax stores a network


def in_torch_order(
    tensors: Mapping[str, Tensor], kinds: Mapping[str, Kind] | None = None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of a network of Flax or Keras with torch's names and order of axes.

    - ``kernel`` becomes ``weight``. A linear kernel ``(in, out)`` becomes ``(out, in)``, and a convolution
      ``(…, in, out)`` becomes ``(out, in, …)``. A depthwise convolution ``(…, channels, multiplier)`` becomes
      ``(channels * multiplier, 1, …)``. The kernel of a transposed convolution becomes ``(in, out, …)``.
    - ``depthwise_kernel`` and ``pointwise_kernel`` of a separable convolution become the weights of
      two layers in it, ``depthwise`` and ``pointwise``.
    - The kernels of an attention are ``(in, heads, size)`` and ``(heads, size, out)``, and its biases are
      ``(heads, size)``. Their axes ``heads`` and ``size`` become one axis.
    - ``scale``, ``gamma`` and ``embedding`` become ``weight``, ``beta`` becomes ``bias``, ``mean`` and
      ``moving_mean`` become ``running_mean``, and ``var`` and ``moving_variance`` become ``running_var``, in
      layers that hold no other layers.
    - The tensors of a recurrent layer, which has a ``recurrent_kernel``, do not change.

    The returned tensors are views of the given tensors, except where heads are joined. The order of the
    layers does not change.

    Args:
        tensors: the tensors by dotted name.
        kinds: the kinds of layers by dotted name, as far as the file states them. The kind of any other layer
            is derived from the shape of its bias and from words such as ``transpose`` in its name.

    Returns:
        The tensors by dotted name, and notes about what was changed or assumed.

    Raises:
        FileError: two tensors get the same name. The message does not contain the path of the file.
    """
    kinds = kinds or {}
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        stem, _, last = name.rpartition(".")
        layers.setdefault(stem, {})[last] = tensor
    parents = _parents(layers)
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    kept: list[str] = []
    dimensions: set[int] = set()
    three: list[str] = []  # kernels that count as convolutions only because they have three axes
    for stem, own in layers.items():
        kind = kinds.get(stem) or _kind(stem, own, layers)
        if kind == "kept":
            renamed = {last: (last, tensor) for last, tensor in own.items()}
            kept.append(stem)
        elif KERNEL in own:
            renamed = _with_kernel(stem, own, kind, layers)
            dimensions.add(renamed[KERNEL][1].ndim)
            if stem not in kinds and renamed[KERNEL][1].ndim == 3:
                three.append(_joined(stem, KERNEL))
        elif "depthwise_kernel" in own:
            renamed = _separable(own)
            dimensions.add(own["depthwise_kernel"].ndim)
        else:
            renamed = _without_kernel(own, holds_layers=stem in parents)
        for last in sorted(own, key=lambda last: _rank(renamed[last][0])):
            new, tensor = renamed[last]
            old, new = _joined(stem, last), _joined(stem, new)
            if new in found:
                raise FileError(f"{origin[new]!r} and {old!r} both get the name {new!r}")
            found[new], origin[new] = tensor, old
    return found, _notes(dimensions, three, kept)


def without_collections(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the collections of Flax, ``params`` and ``batch_stats``, from the start of all dotted names.

    The names do not change if any of them begins with another word. In each layer, the tensors of ``params``
    come before those of ``batch_stats``.

    Raises:
        FileError: two tensors get the same name. The message does not contain the path of the file.
    """
    if not all(name.partition(".")[0] in COLLECTIONS and "." in name for name in tensors):
        return dict(tensors)
    layers: dict[str, dict[str, Tensor]] = {}
    for name in sorted(tensors, key=lambda name: COLLECTIONS.index(name.partition(".")[0])):
        inner = name.partition(".")[2]
        stem, _, last = inner.rpartition(".")
        if last in (layer := layers.setdefault(stem, {})):
            raise FileError(f"two collections hold a tensor {inner!r}")
        layer[last] = tensors[name]
    return {_joined(stem, last): each for stem, layer in layers.items() for last, each in layer.items()}


def says_kernel(names: Collection[str]) -> bool:
    """Return whether any of the dotted names ends in a name of kernels in Flax and Keras."""
    lasts = {name.rpartition(".")[2] for name in names}
    return not lasts.isdisjoint((KERNEL, "depthwise_kernel", "pointwise_kernel"))


def _joined(stem: str, last: str) -> str:
    return f"{stem}.{last}" if stem else last


def _rank(last: str) -> int:
    return ORDER.index(last) if last in ORDER else len(ORDER) if "." not in last else -1


def _parents(stems: Collection[str]) -> set[str]:
    """Return the dotted names of all modules that contain layers. ``stems`` are the names of the layers."""
    found = {""} if len(stems) > 1 else set()
    for stem in stems:
        parent = stem.rpartition(".")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition(".")[0]
    return found


def _kind(stem: str, own: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, Tensor]]) -> Kind:
    """Derive the kind of a layer from the shapes of its kernel and bias, and from its name."""
    if any(last.startswith("recurrent_") for last in own):
        return "kept"
    kernel, bias = own.get(KERNEL), own.get("bias")
    if kernel is None or _heads(stem, layers) is not None or kernel.ndim == 2:
        return "plain"
    if not 3 <= kernel.ndim <= len(SPATIAL) + 2 or (bias is not None and bias.ndim != 1):
        return "kept"
    word = stem.rpartition(".")[2]
    if "transpose" in word.lower():
        return "flax transposed" if word.startswith("ConvTranspose") else "transposed"
    if "depthwise" in word.lower():
        return "depthwise"
    before, last = kernel.shape[-2:]
    by_bias: dict[int, Kind] = {before: "transposed", before * last: "depthwise", last: "plain"}
    return "plain" if bias is None else by_bias.get(len(bias), "kept")


def _heads(stem: str, layers: Mapping[str, Mapping[str, Tensor]]) -> str | None:
    """Return what a layer of an attention does with the heads.

    Returns:
        ``split`` if the output of the layer is split into heads, ``join`` if the layer joins the heads, or
        None for a layer that is not in an attention.
    """
    parent, _, word = stem.rpartition(".")
    if word not in (*QUERIES, *OUTPUTS):
        return None
    for each in QUERIES:
        kernel = layers.get(_joined(parent, each), {}).get(KERNEL)
        if kernel is None or kernel.ndim != 3:
            return None
    if layers[stem].get(KERNEL) is None or layers[stem][KERNEL].ndim != 3:
        return None
    return "split" if word in QUERIES else "join"


def _with_kernel(
    stem: str, own: Mapping[str, Tensor], kind: Kind, layers: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, tuple[str, Tensor]]:
    found = {last: (last, tensor) for last, tensor in own.items()}
    kernel, bias, heads = own[KERNEL], own.get("bias"), _heads(stem, layers)
    if heads == "join":
        found[KERNEL] = ("weight", rearrange(kernel, "h d o -> o (h d)"))
        return found
    if heads == "split":
        found[KERNEL] = ("weight", rearrange(kernel, "i h d -> (h d) i"))
        if bias is not None and bias.ndim == 2:
            found["bias"] = ("bias", rearrange(bias, "h d -> (h d)"))
        return found
    found[KERNEL] = ("weight", _reordered(kernel, kind))
    return found


def _reordered(kernel: Tensor, kind: Kind) -> Tensor:
    """Return a kernel in torch's order of axes."""
    if kernel.ndim < 2:
        raise FileError(f"a kernel must have two or more axes, but got the shape {tuple(kernel.shape)}")
    axes = " ".join(SPATIAL[: kernel.ndim - 2])
    if kind == "depthwise":
        return rearrange(kernel, f"{axes} i m -> (i m) 1 {axes}")
    if kind == "flax transposed":
        return rearrange(kernel.flip(tuple(range(kernel.ndim - 2))), f"{axes} i o -> i o {axes}")
    return rearrange(kernel, f"{axes} i o -> o i {axes}")


def _separable(own: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """Return the new name and tensor for each tensor of a separable convolution, by its old name.

    Without a ``pointwise_kernel``, the layer is a depthwise convolution of Keras 2.
    """
    depthwise = _reordered(own["depthwise_kernel"], "depthwise")
    found = {last: (last, tensor) for last, tensor in own.items()}
    if "pointwise_kernel" not in own:
        found["depthwise_kernel"] = ("weight", depthwise)
        return found
    found["depthwise_kernel"] = ("depthwise.weight", depthwise)
    found["pointwise_kernel"] = ("pointwise.weight", _reordered(own["pointwise_kernel"], "plain"))
    if "bias" in own:
        found["bias"] = ("pointwise.bias", own["bias"])
    return found


def _without_kernel(own: Mapping[str, Tensor], *, holds_layers: bool) -> dict[str, tuple[str, Tensor]]:
    found = {last: (last, tensor) for last, tensor in own.items()}
    if holds_layers or not (own.keys() <= {*TORCH, "bias", "weight"}):
        return found
    for last, tensor in own.items():
        flat = tensor.ndim == 2 if last.startswith("embedding") else tensor.ndim == 1
        if last in TORCH and flat:
            found[last] = (TORCH[last], tensor)
    return found


def _notes(dimensions: Collection[int], three: Sequence[str], kept: Collection[str]) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if dimensions:
        notes += ("kernels were assumed to have the order (…, in, out) and turned into torch's (out, in, …)",)
    if 2 in dimensions and len(dimensions) > 1:
        notes += (
            "if a linear layer reads the flattened output of a convolution, it reads the channels last, "
            "where torch reads them first",
        )
    if three:
        notes += (
            f"the kernels with three axes, the first of which is {three[0]!r}, were read as one-dimensional "
            f"convolutions",
        )
    if kept:
        names = ", ".join(sorted(repr(each) for each in kept)[:3]) + (", …" if len(kept) > 3 else "")
        notes += (f"the layers {names} keep their names and order of axes",)
    return notes

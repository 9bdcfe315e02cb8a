"""Names of tensors: what wrappers and attributes put before them, and the same names with or without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")

#: What wrappers of a module put before every name, in any order: data parallelism, torch.compile.
WRAPPERS = ("module.", "_orig_mod.")
#: What trainers call the attribute that holds a network, as a LightningModule does.
ATTRIBUTES = ("model", "net", "network", "module")
COUNTERS = ("n_averaged",)  #: what wrappers keep beside the module: how many models were averaged
COUNTED = ("total_ops", "total_params")  #: what a profiler (thop) leaves in every layer


def unwrapped(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return the tensors of a module that was saved inside wrappers, under the module's own names.

    Counters of a profiler are left out.
    """
    found = {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in COUNTED}
    while True:
        inner = {name: value for name, value in found.items() if name not in COUNTERS}
        wrapper = next((w for w in WRAPPERS if inner and all(name.startswith(w) for name in inner)), None)
        if wrapper is None:
            return found
        found = {name.removeprefix(wrapper): value for name, value in inner.items()}


def common_prefix(names: Collection[str]) -> str:
    """Return the words of a trainer that stand before the names of all layers, such as ``model.net.``; often none.

    Only words of :data:`ATTRIBUTES` count: another word before all names, such as that of an adapter's base model, belongs
    to the network. One word is left for the layer, and one for what the parameter does in it.
    """
    stems = [name.split(".")[:-2] for name in names]
    found = ""
    while stems and all(stem and stem[0] == stems[0][0] for stem in stems) and stems[0][0] in ATTRIBUTES:
        found += f"{stems[0][0]}."
        stems = [stem[1:] for stem in stems]
    return found


def matched(tensors: Mapping[str, T], wanted: Collection[str]) -> dict[str, T]:
    """Return tensors under the names that are wanted, where one prefix before all of them makes the difference.

    A Lightning checkpoint has ``model.0.weight`` where the module that it was trained as has ``0.weight``, and the other
    way round. Where no prefix makes them the same, the tensors keep their names.
    """
    first = next(iter(wanted), None)
    if first is None or all(name in tensors for name in wanted):
        return dict(tensors)
    for name in tensors:
        if name.endswith(f".{first}"):
            prefix = name.removesuffix(first)
            if all(f"{prefix}{other}" in tensors for other in wanted):
                return {each.removeprefix(prefix): value for each, value in tensors.items()}
        if first.endswith(f".{name}"):
            prefix = first.removesuffix(name)
            if all(o.startswith(prefix) and o.removeprefix(prefix) in tensors for o in wanted):
                return {f"{prefix}{each}": value for each, value in tensors.items()}
    return dict(tensors)


def with_aliases(tensors: Mapping[str, T], wanted: Collection[str], tied: Mapping[str, str]) -> dict[str, T]:
    """Return tensors under the names that are wanted, one of several names of a tensor in place of another.

    Args:
        tensors: as a file has them: ``save_model`` of safetensors keeps one name of each tensor.
        wanted: names.
        tied: for a wanted name another name of the same tensor.
    """
    found = matched(tensors, [name for name in wanted if name not in tied] or wanted)
    for name, other in tied.items():
        if name not in found and other in found:
            found[name] = found.pop(other)
    return found

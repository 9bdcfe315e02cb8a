"""Remove and match the prefixes that wrappers and trainers put before the names of tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.errors import ConfigError, FileError, one_line

T = TypeVar("T")

#: Prefixes that data parallelism and torch.compile put before every name, in any order.
WRAPPERS = ("module.", "_orig_mod.")
#: Attributes in which trainers, such as a LightningModule, hold the network.
ATTRIBUTES = ("model", "net", "network", "module")
#: Keys under which checkpoints store the weights, in the order in which they are tried.
KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params", "policy")
#: Keys under which checkpoints store an average of the weights over the steps of training.
AVERAGES = (
    *("ema", "ema_model", "model_ema", "ema_state_dict", "state_dict_ema", "ema_model_state_dict"),
    *("model_ema_state_dict", "ema_params", "params_ema", "shadow", "shadow_params", "averaged_model"),
)
#: Names of the counters that torch's ``AveragedModel`` stores beside the module that it wraps.
COUNTERS = ("n_averaged",)
COUNTED = ("total_ops", "total_params")  #: counters that a profiler (thop) leaves in every layer


def unwrapped(tensors: Mapping[str, T]) -> dict[str, T]:
    """Remove the prefixes of wrappers from all names. Leave out the counters of profilers and wrappers."""
    found = {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in COUNTED}
    while True:
        inner = {name: value for name, value in found.items() if name not in COUNTERS}
        wrapper = next((w for w in WRAPPERS if inner and all(name.startswith(w) for name in inner)), None)
        if wrapper is None:
            return found
        found = {name.removeprefix(wrapper): value for name, value in inner.items()}


def common_prefix(names: Collection[str]) -> str:
    """Return the prefix that a trainer put before all names, such as ``model.net.``, or an empty string.

    Only the words in :data:`ATTRIBUTES` are parts of such a prefix. Any other common word, such as the name
    of an adapter's base model, belongs to the network. The last two words of a name, such as ``0.weight``,
    are never part of the prefix.
    """
    stems = [name.split(".")[:-2] for name in names]
    found = ""
    while stems and all(stem and stem[0] == stems[0][0] for stem in stems) and stems[0][0] in ATTRIBUTES:
        found += f"{stems[0][0]}."
        stems = [stem[1:] for stem in stems]
    return found


def matched(tensors: Mapping[str, T], wanted: Collection[str]) -> dict[str, T]:
    """Rename tensors to the wanted names, if one common prefix is the only difference between the names.

    Otherwise the tensors keep their names. For example, a Lightning checkpoint says ``model.0.weight`` where
    the module itself says ``0.weight``. Either the names of the tensors or the wanted names may have the
    prefix.
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
    """Rename tensors to the wanted names as :func:`matched` does. A tied tensor may have any of its names.

    Args:
        tensors: the tensors of a file. ``save_model`` of safetensors keeps only one name of each tied tensor.
        wanted: the names to rename to.
        tied: a mapping from a wanted name to another name of the same tensor.
    """
    found = matched(tensors, [name for name in wanted if name not in tied] or wanted)
    for name, other in tied.items():
        if name not in found and other in found:
            found[name] = found.pop(other)
    return found


def check_ties(tensors: Mapping[str, Tensor], tied: Iterable[tuple[str, str]], network: str) -> None:
    """Check that a file which holds a tied tensor under two names holds the same values under both.

    In this comparison, NaN equals NaN.

    Args:
        tensors: the tensors of the file, with the names of the network.
        tied: pairs of names of one tensor.
        network: the name of the network, for the error.

    Raises:
        FileError: two tied tensors differ. The message does not contain the path of the file.
    """
    for name, other in tied:
        if name in tensors and other in tensors and not _same(tensors[name], tensors[other]):
            raise FileError(f"{other!r} differs from {name!r}, but {network} ties them")


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(dtype), b.to(dtype)
    # The second comparison takes memory, and is only needed if the tensors differ or hold NaN.
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


def layered(name: str) -> tuple[list[tuple[int, str]], bool, str]:
    """Return a sort key for the name of a tensor.

    The key sorts ``2.weight`` before ``10.weight``, and the weight of a layer before the bias.
    """
    stem, _, last = name.rpartition(".")
    words = [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", stem) if word]
    return words, last != "weight", last


@frozen(kw_only=True)
class Renaming:
    """Changes the names of tensors as a user has asked for.

    Args:
        prefix: a prefix to remove from all names that have it.
        rules: pairs of a regular expression and its replacement, which are applied in order.
    """

    prefix: str = ""
    rules: tuple[tuple[re.Pattern[str], str], ...] = ()

    @classmethod
    def parse(cls, prefix: str, rules: Iterable[str]) -> Renaming:
        """Return the renaming that a user writes as ``s/PATTERN/REPLACEMENT/``.

        Any character may stand in place of the slash.

        Raises:
            ConfigError: a rule is not of this form, or is no valid regular expression.
        """
        return cls(prefix=prefix, rules=tuple(map(_rule, rules)))

    def changes(self, names: Iterable[str]) -> bool:
        """Return whether one of the names gets another name."""
        return any(self._name(name) != name for name in names)

    def of(self, tensors: Mapping[str, T]) -> dict[str, T]:
        """Return tensors under their new names.

        Raises:
            FileError: two tensors get the same name.
        """
        found: dict[str, T] = {}
        for name, value in tensors.items():
            if (new := self._name(name)) in found:
                raise FileError(f"the renaming gives two tensors the name {new!r}")
            found[new] = value
        return found

    def of_architecture(self, architecture: Architecture) -> Architecture:
        """Return an architecture whose parameters have their new names."""
        if self == Renaming():
            return architecture
        return evolve(architecture, layers=[layer.renamed(self._name) for layer in architecture.layers])

    def _name(self, name: str) -> str:
        name = name.removeprefix(self.prefix)
        for pattern, replacement in self.rules:
            name = pattern.sub(replacement, name)
        return name


def _rule(word: str) -> tuple[re.Pattern[str], str]:
    parts = word[2:].split(word[1]) if len(word) > 2 and word.startswith("s") else []
    if len(parts) != 3 or parts[2] or not parts[0]:
        raise ConfigError(f"a renaming must be written as s/PATTERN/REPLACEMENT/, but got {word!r}")
    try:
        pattern = re.compile(parts[0])
        pattern.sub(parts[1], "")
    except re.error as error:
        raise ConfigError(f"{word}: not a valid regular expression: {one_line(error)}") from error
    return pattern, parts[1]

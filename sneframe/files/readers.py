"""Networks from files: what describes one, its module or its names and shapes alone, and its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.description import Flatten
from sneframe.architecture.operations import KNOWN_ACTIVATIONS
from sneframe.errors import ConfigError, FileError, choices
from sneframe.files import common_prefix, find_state_dict, read_state_dict, with_aliases
from sneframe.files.module_factory import Factory

QUANTISED = ("weight", "qweight")  #: names of what is weights, of whatever type
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@frozen(kw_only=True, eq=False)
class Reader:
    """Reads networks, and describes each kind of them once.

    Args:
        module: makes a network's module of its properties; without it names and shapes are all that is known.
        key: of checkpoints that hold several state dicts, which.
        activation: of every layer but the last, where there is no module; without it neurons are permuted, never scaled.
        flatten: where there is no module, in which order a linear layer reads a convolution.
        trust_names: where there is no module, whether layers whose sizes fit are taken for a chain.
        published: whether the layout is published, so that all networks are known to be chains. Names are then trusted,
            and the symmetry is ``stated``.
        known: known architectures. A network whose names and shapes are those of exactly one of them has that
            architecture.

    Raises:
        ConfigError: an unknown activation, or an unknown way to flatten.
    """

    module: Factory | None = None
    key: str | None = None
    activation: str | None = None
    flatten: Flatten = "unknown"
    trust_names: bool = False
    published: bool = False
    known: Sequence[Architecture] = ()
    _described: dict[tuple[Shapes, str | None], Architecture] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for name, value, known in (
            ("activation", self.activation or "none", KNOWN_ACTIVATIONS),
            ("flatten", self.flatten, get_args(Flatten)),
        ):
            if value not in known:
                raise ConfigError(f"there is no {name} {value!r}, {choices(str(value), known)}")

    def weights(self, path: Path) -> dict[str, Tensor]:
        """Return the tensors of a file: floating-point ones, which are its weights, and integers and truth values.

        Raises:
            FileError: there are no weights, or the file cannot be read.
        """
        return checked(read_state_dict(path, self.key).tensors, path)

    def weights_of(self, state: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
        """Return those of a state dict, or of what was loaded of a checkpoint, as those of its file.

        Args:
            state: tensors by name, or a mapping that holds such a one.
            source: what errors call it.

        Raises:
            FileError: there are none.
        """
        return checked(find_state_dict(state, self.key, source).tensors, source)

    def describe(
        self,
        tensors: Mapping[str, Tensor],
        properties: Mapping[str, Any] | None = None,
        *,
        activation: str | None = None,
    ) -> Architecture:
        """Return the architecture of a network with these tensors.

        Its parameters may be named otherwise than the tensors, by one prefix before all names: a module has the names that
        its code gives, and without code such a prefix is left out, so that one network is of one architecture whatever it
        was saved from. :func:`~sneframe.files.matched` gives the tensors the architecture's names.

        Args:
            tensors: by name.
            properties: what the module is made of.
            activation: of this network, where it is not that of all.

        Raises:
            FileError: names or shapes of the tensors that are not those of the module.
            ConfigError: the module cannot be made.
            ArchitectureError: there is no tensor.
        """
        if self.module is not None:
            return self.module.architecture(tensors, properties or {})
        told = activation or self.activation
        floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
        prefix = "" if self.published else common_prefix(floating)
        floating = {name.removeprefix(prefix): tensor for name, tensor in floating.items()}
        shapes = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in floating.items()))
        if (shapes, told) not in self._described:
            self._described[shapes, told] = self._recognised(shapes, told) or self._guessed(floating, told)
        return self._described[shapes, told]

    def _guessed(self, tensors: Mapping[str, Tensor], activation: str | None) -> Architecture:
        """Return what names and shapes say."""
        found = Architecture.from_state_dict(
            tensors,
            activation=activation,
            flatten=self.flatten,
            trust_names=self.trust_names or self.published,
        )
        return evolve(found, symmetry="stated") if self.published and found.groups else found

    def _recognised(self, shapes: Shapes, activation: str | None) -> Architecture | None:
        """Return the known architecture of these sorted names and shapes; None where several have them."""
        same = [each for each in self.known if _shapes(each) == shapes]
        if activation is not None:
            same = [each for each in same if activation in _activations(each)]
        return same[0] if len(same) == 1 else None


def named(tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return the tensors of a network under the names of its architecture.

    Names may differ by one prefix before all of them, and a tensor of several names may stand under any of them.
    """
    tied = {
        name: other
        for layer in architecture.layers
        for other, name in layer.attributes.get("tied", {}).items()
    }
    return with_aliases(tensors, [parameter.name for parameter in architecture.parameters], tied)


def _shapes(architecture: Architecture) -> Shapes:
    """Return names and shapes, sorted, without a prefix before all names."""
    prefix = common_prefix([p.name for p in architecture.parameters])
    return tuple(sorted((p.name.removeprefix(prefix), p.shape) for p in architecture.parameters))


def _activations(architecture: Architecture) -> set[str]:
    """Return what stands behind layers of an architecture; ``none`` where nothing does, as behind every last layer."""
    return {layer.activation for layer in architecture.layers} - {"none"} or {"none"}


def checked(tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a network: its weights, and integers and truth values, such as masks; none without elements.

    Raises:
        FileError: there are none, or one that cannot be weights.
    """
    for name, tensor in tensors.items():
        if (fault := _fault(name, tensor)) is not None:
            raise FileError(f"{source}: {name!r} is {fault}")
    kept = {name: tensor for name, tensor in tensors.items() if tensor.is_meta or tensor.numel()}
    if not any(tensor.is_floating_point() for tensor in kept.values()):
        raise FileError(
            f"{source}: holds no floating-point tensor{', but empty ones' if len(kept) < len(tensors) else ''}"
        )
    return kept


def _fault(name: str, tensor: Tensor) -> str | None:
    """Return the reason why a tensor is unusable; None for usable weights, and for tensors that are no weights."""
    if not tensor.is_floating_point():
        # Left out, a network would be taken for another one.
        quantised = name.rpartition(".")[2] in QUANTISED and tensor.numel() > 1
        if quantised or tensor.is_quantized or tensor.is_complex():
            return f"of type {_type(tensor)}; weights are floating-point numbers, and quantised ones are not read"
        return None
    if tensor.is_meta:
        return "a tensor on the meta device, without values"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({tensor.layout})"
    if tensor.dtype.itemsize == 1:
        return f"of type {_type(tensor)}; save it as float16, bfloat16, float32 or float64"
    return None


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

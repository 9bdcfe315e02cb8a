"""Read networks from files: the weights, and the architecture.

The architecture is derived from the network's module or from the computation that the file describes.
Otherwise it is guessed from the names and shapes of the tensors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.activation import StatedActivation, stated_activation
from sneframe.architecture.description import Flatten
from sneframe.architecture.guess import adapter_of, fixed
from sneframe.errors import ArchitectureError, ConfigError, FileError, choices
from sneframe.files.adapter import adapter_config, adapter_tensors
from sneframe.files.module_factory import Factory, ModuleDescriber
from sneframe.files.names import Renaming, check_ties, common_prefix, with_aliases
from sneframe.files.reader import Content, FileReader
from sneframe.files.recognise import CORE, with_folders
from sneframe.files.state_dict import StateDict, find_state_dict, read_state_dict

QUANTISED = ("weight", "qweight")  #: tensors with these names are weights even if they hold integers
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@frozen(kw_only=True, eq=False)
class NetworkReader:
    """Reads the weights of networks, and determines their architectures.

    Args:
        module: the module factory that builds a network's module from the properties of the network. Without
            a module factory, the architecture is guessed from names and shapes, and the arguments
            ``activation``, ``flatten`` and ``trust_names`` add what names and shapes do not say.
        key: which state dict to read from a checkpoint that holds several.
        activation: the activation of every layer but the last, such as ``relu`` or ``sine:30``, which is
            sin(30 z). Without an activation, the symmetry permutes neurons but never scales them.
        flatten: the order in which a linear layer reads the output of a convolution.
        trust_names: whether consecutive layers whose sizes fit are assumed to be a chain.
        published: whether the files have a published format in which all networks are known to be chains.
            The names are then trusted, and the origin of the symmetry is ``stated``.
        dtype: the type to which floating-point tensors are converted, such as ``float32``. If None,
            the tensors keep their types.
        renaming: how the names of tensors are changed before anything else is done with them.
        readers: the file readers.
        known: known architectures. If exactly one of them has the names and shapes of a network, the reader
            returns that architecture for the network.

    Raises:
        ConfigError: ``activation`` or ``flatten`` is unknown.
    """

    module: Factory | None = None
    key: str | None = None
    activation: str | None = None
    flatten: Flatten = "unknown"
    trust_names: bool = False
    published: bool = False
    dtype: str | None = None
    renaming: Renaming = field(factory=Renaming)
    readers: Sequence[FileReader] = with_folders(CORE)
    known: Sequence[Architecture] = ()
    _described: dict[tuple[Shapes, str | None], Architecture] = field(factory=dict, init=False)
    _modules: ModuleDescriber = field(factory=ModuleDescriber, init=False)

    def __attrs_post_init__(self) -> None:
        try:
            stated_activation(self.activation)
        except ArchitectureError as error:
            raise ConfigError(str(error)) from error
        if self.flatten not in get_args(Flatten):
            raise ConfigError(
                f"there is no flatten {self.flatten!r}, {choices(str(self.flatten), get_args(Flatten))}"
            )

    def read(self, path: Path) -> StateDict:
        """Read the file or folder of one network: its tensors, and what the file says besides.

        Raises:
            FileError: the file holds no weights, or cannot be read, or a weight is too large for ``dtype``.
        """
        found = read_state_dict(path, self.key, self.readers)
        tensors, notes = self._named_alike(
            self._renamed(found.tensors, path), path, partial(adapter_config, path), path=path
        )
        tensors = checked(tensors, path)
        try:
            converted = {name: self._converted(name, value) for name, value in tensors.items()}
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        renamed = self.renaming.changes(found.tensors)
        return evolve(found, tensors=converted, renamed=renamed, notes=(*found.notes, *notes))

    def _named_alike(
        self,
        tensors: dict[str, Tensor],
        source: str | Path,
        config: Callable[[], Mapping[str, Any] | None],
        *,
        path: Path | None = None,
    ) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """Give the tensors of a low-rank adapter their common names, and return notes about the adapter.

        If a module factory builds the network, the names stay those of the module.
        """
        if self.module is not None and self.module.serves(path):
            return tensors, ()
        try:
            adapter = adapter_tensors(tensors, config)
        except FileError as error:
            raise FileError(f"{source}: {error}") from error
        return (tensors, ()) if adapter is None else (adapter.tensors, adapter.notes)

    def _converted(self, name: str, tensor: Tensor) -> Tensor:
        """Convert a floating-point tensor to the reader's ``dtype``. Refuse values that become infinite."""
        if self.dtype is None or not tensor.is_floating_point():
            return tensor
        dtype: torch.dtype = getattr(torch, self.dtype)
        converted = tensor.to(dtype)
        narrower = torch.finfo(dtype).max < torch.finfo(tensor.dtype).max
        if narrower and bool((tensor.isfinite() & ~converted.isfinite()).any()):
            raise FileError(f"{name!r} has values too large for {self.dtype}")
        return converted

    def weights(self, path: Path) -> Mapping[str, Tensor]:
        """Read the tensors of a file: the floating-point weights, and the integer and boolean tensors.

        Raises:
            FileError: the file holds no weights, or cannot be read.
        """
        return self.read(path).tensors

    def weights_of(self, state: Mapping[Any, Any], source: str) -> Mapping[str, Tensor]:
        """Return the tensors of a state dict or of a loaded checkpoint, as :meth:`weights` does for a file.

        Args:
            state: a mapping of tensors by name, or a checkpoint that holds such a mapping.
            source: the name of the network, for errors.

        Raises:
            FileError: ``state`` holds no weights.
        """
        renamed = self._renamed(find_state_dict(state, self.key, source).tensors, source)
        tensors, notes = self._named_alike(renamed, source, lambda: None)
        for note in notes[1:]:
            warnings.warn(f"{source}: {note}", stacklevel=3)
        return checked(tensors, source)

    def _renamed(self, tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
        try:
            return self.renaming.of(tensors)
        except FileError as error:
            raise FileError(f"{source}: {error}") from error

    def describe(
        self,
        tensors: Mapping[str, Tensor],
        properties: Mapping[str, Any] | None = None,
        *,
        activation: str | None = None,
        content: Content | None = None,
        path: Path | None = None,
    ) -> Architecture:
        """Return the architecture of a network with these tensors.

        The names of the architecture's parameters may differ from the names of the tensors by one common
        prefix. With a module factory, the parameters have the names that the module uses. Without a module
        factory, the prefix is removed, so that a network has the same architecture whichever trainer saved
        the network. :func:`~sneframe.files.matched` renames the tensors to the architecture's names.

        Args:
            tensors: the tensors by name.
            properties: the properties of the network, which the module factory receives.
            activation: the activation of this network. By default, the activation of the reader.
            content: what the file says about the network. If it describes the computation, and there is no
                module factory, the architecture is derived from this description.
            path: the file of the network, which selects the module factory and which the module factory may
                receive.

        Raises:
            FileError: the names or shapes of the tensors are not those of the module.
            ConfigError: the module factory cannot build the module.
            ArchitectureError: ``tensors`` has no floating-point tensor.
        """
        if self.module is not None and self.module.serves(path):
            return self.module.architecture(tensors, properties or {}, path)
        if content is not None and (content.module is not None or content.architecture is not None):
            return self._stated(tensors, content)
        if content is not None and not content.guess:
            return fixed(tensors)
        if (stated := adapter_of(tensors)) is not None:
            return stated
        given = activation or self.activation or (content.activation if content is not None else None)
        floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
        prefix = "" if self.published else common_prefix(floating)
        floating = {name.removeprefix(prefix): tensor for name, tensor in floating.items()}
        shapes = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in floating.items()))
        if (shapes, given) not in self._described:
            self._described[shapes, given] = self._recognised(shapes, given) or self._guessed(floating, given)
        return self._described[shapes, given]

    def _stated(self, tensors: Mapping[str, Tensor], content: Content) -> Architecture:
        """Return the architecture that a file describes."""
        if content.module is not None:
            return self._modules.architecture(content.module(), tensors, self.renaming)
        assert content.architecture is not None
        architecture = self.renaming.of_architecture(content.architecture)
        own = named(tensors, architecture)
        for parameter in architecture.parameters:
            if parameter.name not in own:
                raise FileError(f"the file describes {parameter.name!r}, but holds no such tensor")
            if (shape := tuple(own[parameter.name].shape)) != parameter.shape:
                raise FileError(
                    f"the file describes {parameter.name!r} with shape {parameter.shape}, but holds {shape}"
                )
        return architecture

    def _guessed(self, tensors: Mapping[str, Tensor], activation: str | None) -> Architecture:
        """Guess the architecture from the names and shapes of the tensors."""
        found = Architecture.from_state_dict(
            tensors,
            activation=activation,
            flatten=self.flatten,
            trust_names=self.trust_names or self.published,
        )
        return evolve(found, symmetry="stated") if self.published and found.groups else found

    def _recognised(self, shapes: Shapes, activation: str | None) -> Architecture | None:
        """Return the known architecture with these names and shapes, or None if none or several have them.

        If ``activation`` is given, only architectures with this activation are considered.
        """
        same = [each for each in self.known if _shapes(each) == shapes]
        if (stated := stated_activation(activation)) is not None:
            same = [each for each in same if _has(each, stated)]
        return same[0] if len(same) == 1 else None


def named(tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Rename the tensors of a network to the names of its architecture.

    The names of the tensors may differ from the names in the architecture by one common prefix. A tied tensor
    may have any of its names.

    Raises:
        FileError: the values of a tied tensor differ between its names. The message does not contain the path
            of the file.
    """
    tied = [
        (name, other)
        for layer in architecture.layers
        for other, name in layer.attributes.get("tied", {}).items()
    ]
    found = with_aliases(tensors, [parameter.name for parameter in architecture.parameters], dict(tied))
    check_ties(found, tied, "the architecture")
    return found


def _shapes(architecture: Architecture) -> Shapes:
    """Return the sorted names and shapes of the parameters. A common prefix is removed from the names."""
    prefix = common_prefix([p.name for p in architecture.parameters])
    return tuple(sorted((p.name.removeprefix(prefix), p.shape) for p in architecture.parameters))


def _has(architecture: Architecture, stated: StatedActivation) -> bool:
    """Whether an architecture has the stated activation, after any of its layers if it is not ``none``."""
    with_it = [layer for layer in architecture.layers if layer.activation == stated.name]
    if stated.name == "none":
        return len(with_it) == len(architecture.layers)
    return any(stated.factor in (None, layer.attributes.get("factor")) for layer in with_it)


def checked(tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Check the tensors of a network. Return the tensors that have elements.

    Raises:
        FileError: there are no weights, or a tensor is unusable (for example quantised, sparse or complex).
    """
    for name, tensor in tensors.items():
        if (fault := _fault(name, tensor)) is not None:
            raise FileError(f"{source}: {name!r} is {fault}")
    kept = {name: tensor for name, tensor in tensors.items() if tensor.is_meta or tensor.numel()}
    if not any(tensor.is_floating_point() for tensor in kept.values()):
        empty = " with elements" if len(kept) < len(tensors) else ""
        raise FileError(f"{source}: holds no floating-point tensor{empty}")
    return kept


def _fault(name: str, tensor: Tensor) -> str | None:
    """Return why a tensor is unusable, or None if it is usable or does not hold weights."""
    if not tensor.is_floating_point():
        # A network with some quantised weights is refused. Without these weights, the network would look like
        # a different network.
        quantised = name.rpartition(".")[2] in QUANTISED and tensor.numel() > 1
        if quantised or tensor.is_quantized or tensor.is_complex():
            return (
                f"of type {_type(tensor)}; weights must be floating-point, and quantised weights are not read"
            )
        return None
    if tensor.is_meta:
        return "a tensor on the meta device, without values"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({tensor.layout})"
    if tensor.dtype.itemsize == 1:
        return f"of type {_type(tensor)}; save the tensor as float16, bfloat16, float32 or float64"
    return None


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

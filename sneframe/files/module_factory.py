"""Call the user's module factory: the function that returns the torch module of a network.

The architecture of the network and its exact symmetry are derived from that module.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import described
from sneframe.architecture.identity import COUNTER
from sneframe.errors import ArchitectureError, ConfigError, FileError, one_line, with_article
from sneframe.files.names import Renaming, with_aliases
from sneframe.symmetry.describe import Descriptions


class Factory:
    """Builds the modules of networks with the user's function, and derives their architectures.

    Equal modules are described and verified only once.

    Args:
        word: ``package.module:function``. The function is imported as Python would import it in the current
            folder. The function takes the properties of a network as a dict, or no argument. The function
            returns the module, or a tuple of the module and an example input. Without an example input, the
            module's ``example_input_array`` is used. If the module has no such attribute, an input is made
            that fits its first layer.

    Raises:
        ConfigError: the function cannot be imported, or is not callable.
    """

    def __init__(self, word: str) -> None:
        name, colon, attribute = word.partition(":") if isinstance(word, str) else ("", "", "")
        if not colon or not name or not attribute:
            raise ConfigError(f"a module factory must be given as package.module:function, but got {word!r}")
        sys.path.insert(0, str(Path.cwd()))
        try:
            found: Any = importlib.import_module(name)
            for each in attribute.split("."):
                found = getattr(found, each)
        except (Exception, SystemExit) as error:  # the user's module may raise anything
            raise ConfigError(f"{word}: {one_line(error)}") from error
        finally:
            sys.path.remove(str(Path.cwd()))
        if not callable(found):
            raise ConfigError(f"{word}: this is {with_article(type(found).__name__)}, not a function")
        self._word = word
        self._make: Callable[..., Any] = found
        try:
            self._takes = bool(inspect.signature(found).parameters)
        except (TypeError, ValueError) as error:  # a function that is not written in Python has no signature
            raise ConfigError(f"{word}: this function cannot build a module: {one_line(error)}") from error
        self._modules = ModuleDescriber()

    def architecture(self, tensors: Mapping[str, Tensor], properties: Mapping[str, Any]) -> Architecture:
        """Return the architecture of the network with these tensors and properties.

        Integer and boolean tensors of the file, such as masks, belong to the network. They are copied into
        the module before the module is described. Where the file lacks such a tensor, the module keeps its
        own values. The names in the file may differ from the names in the module by one common prefix, see
        :func:`~sneframe.files.with_aliases`.

        Args:
            tensors: the tensors of the network by name.
            properties: the properties of the network, which the user's function receives as a dict.

        Raises:
            FileError: the names or shapes of the tensors are not those of the module.
            ConfigError: the function raises an error or does not return a module, or a test of the module
                refutes the derived symmetry.
        """
        try:
            made = self._make(dict(properties)) if self._takes else self._make()
        except (Exception, SystemExit) as error:  # the user's function may raise anything
            none = (
                ""
                if properties or not self._takes
                else "; the function got no properties, because none are known for this network"
            )
            raise ConfigError(f"{self._word}: {one_line(error)}{none}") from error
        module = made[0] if isinstance(made, tuple) and len(made) == 2 else made
        if not isinstance(module, nn.Module):
            returned = type(module).__name__
            raise ConfigError(f"{self._word}: must return a torch.nn.Module, but returned {returned}")
        try:
            return self._modules.architecture(made, tensors)
        except ArchitectureError as error:
            raise ConfigError(f"{self._word}: {error}") from error


@final
class ModuleDescriber:
    """Describes networks by modules that fit them. Equal modules are described and verified only once."""

    def __init__(self) -> None:
        self._descriptions = Descriptions()

    def architecture(
        self,
        made: nn.Module | tuple[nn.Module, Any],
        tensors: Mapping[str, Tensor],
        renaming: Renaming | None = None,
    ) -> Architecture:
        """Return the architecture of the network with these tensors.

        Args:
            made: the module of the network, or a tuple of the module and an example input.
            tensors: the tensors of the network by name.
            renaming: how the names of the tensors, and so those of the module's parameters, are changed.

        Raises:
            FileError: the names or shapes of the tensors are not those of the module.
            ArchitectureError: the module cannot be described, or a test refutes the derived symmetry.
        """
        module, example = made if isinstance(made, tuple) else (made, None)
        if renaming is not None:
            names = [*described(module)]
            wanted = dict(zip(names, renaming.of(dict.fromkeys(names)), strict=True))
            tensors = {old: tensors[new] for old, new in wanted.items() if new in tensors}
        tensors = with_aliases(tensors, described(module), _tied(module))
        _check(module, tensors)
        _load(module, tensors)
        found = self._descriptions.of(module, example)
        return found if renaming is None else renaming.of_architecture(found)


def _tied(module: nn.Module) -> dict[str, str]:
    """Return a dict from the first name of each tied parameter to another name of the same parameter."""
    names = {id(value): name for name, value in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {names[id(value)]: other for other, value in every if names[id(value)] != other}


def _check(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that a file holds exactly the tensors of a module, and that the shapes are equal.

    The counter of batches that a batch normalisation keeps may be in the file alone.

    Raises:
        FileError: a name is missing or unknown, or a shape differs.
    """
    wanted, name_of = described(module), type(module).__name__
    known = {**dict(module.named_buffers()), **module.state_dict()}
    for name in wanted:
        if name not in tensors:
            raise FileError(f"the file lacks {name!r}, which {name_of} has")
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == COUNTER:
            continue
        if name not in known:
            raise FileError(f"the file holds {name!r}, which {name_of} does not have")
        if tensor.shape != known[name].shape:
            shapes = f"shape {tuple(tensor.shape)} in the file, and {tuple(known[name].shape)} in {name_of}"
            raise FileError(f"{name!r} has {shapes}")


@torch.no_grad()
def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the integer and boolean tensors of a file into a module."""
    for name, own in module.state_dict().items():
        if name in tensors and not own.is_floating_point():
            own.copy_(tensors[name])

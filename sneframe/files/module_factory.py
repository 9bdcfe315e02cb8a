"""The user's function that makes the module of a network in a file. The module gives the exact symmetry."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import described
from sneframe.architecture.identity import COUNTER
from sneframe.errors import ArchitectureError, ConfigError, FileError, one_line, with_article
from sneframe.files import with_aliases
from sneframe.symmetry.describe import Descriptions


class Factory:
    """Makes the modules of networks and describes them. Equal modules are described and verified once.

    Args:
        word: ``package.module:function``, imported as Python would from the current folder. The function
            takes the properties of a network as a dict, or nothing. It returns the module, or the module and
            an example input. Without an example input the module's ``example_input_array`` is used, or one is
            made for its first layer.

    Raises:
        ConfigError: there is no such function.
    """

    def __init__(self, word: str) -> None:
        name, colon, attribute = word.partition(":") if isinstance(word, str) else ("", "", "")
        if not colon or not name or not attribute:
            raise ConfigError(f"a module is given as package.module:function, got {word!r}")
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
            raise ConfigError(f"{word}: this function cannot make a module: {one_line(error)}") from error
        self._descriptions = Descriptions()

    def architecture(self, tensors: Mapping[str, Tensor], properties: Mapping[str, Any]) -> Architecture:
        """Return the architecture of the network with these tensors and properties.

        Integers and booleans of the file, such as masks, are loaded into the module before it is described,
        because they belong to the network. If the file has none, the module keeps its own. Names may differ
        by one common prefix, see :func:`~sneframe.files.with_aliases`.

        Raises:
            FileError: the names or shapes of the tensors are not those of the module.
            ConfigError: the function fails, it returns no module, or the module's symmetry is refuted.
        """
        try:
            made = self._make(dict(properties)) if self._takes else self._make()
        except (Exception, SystemExit) as error:  # the user's function
            none = (
                ""
                if properties or not self._takes
                else "; no properties of this network are known, so the function was given none"
            )
            raise ConfigError(f"{self._word}: {one_line(error)}{none}") from error
        module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(module, nn.Module):
            returned = type(module).__name__
            raise ConfigError(f"{self._word}: must return a torch.nn.Module, returned {returned}")
        try:
            tensors = with_aliases(tensors, described(module), _tied(module))
            _check(module, tensors)
            _load(module, tensors)
            return self._descriptions.of(module, example)
        except ArchitectureError as error:
            raise ConfigError(f"{self._word}: {error}") from error


def _tied(module: nn.Module) -> dict[str, str]:
    """Map the first name of each tied tensor to another of its names."""
    names = {id(value): name for name, value in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {names[id(value)]: other for other, value in every if names[id(value)] != other}


def _check(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that a file holds all tensors of the module, in their shapes, and no others."""
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
    """Load the integers and booleans of a file into a module."""
    for name, own in module.state_dict().items():
        if name in tensors and not own.is_floating_point():
            own.copy_(tensors[name])

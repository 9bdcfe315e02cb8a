"""The code of networks whose weights lie in files, a function of the user's: it says which of their neurons may be moved."""

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
from sneframe.errors import ArchitectureError, ConfigError, FileError, one_line
from sneframe.files import with_aliases
from sneframe.symmetry.describe import Descriptions


class Factory:
    """Makes a network's module, and describes it; each module that differs from the others is described and verified once.

    Args:
        word: ``package.module:function``, found as Python would from the current folder. The function takes the properties
            of a network, a dict by name, or nothing, and returns its module, or the module and an example input. Without
            one the module's own ``example_input_array`` is taken, or one is made up for its first layer.

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
        except (Exception, SystemExit) as error:  # whatever the user's module may raise
            raise ConfigError(f"{word}: {one_line(error)}") from error
        finally:
            sys.path.remove(str(Path.cwd()))
        if not callable(found):
            raise ConfigError(f"{word}: is {type(found).__name__}, not a function")
        self._word = word
        self._make: Callable[..., Any] = found
        try:
            self._takes = bool(inspect.signature(found).parameters)
        except (TypeError, ValueError) as error:  # of what is not written in Python
            raise ConfigError(f"{word}: is no function that makes a module: {one_line(error)}") from error
        self._descriptions = Descriptions()

    def architecture(self, tensors: Mapping[str, Tensor], properties: Mapping[str, Any]) -> Architecture:
        """Return the architecture of the network with these tensors and properties.

        Tensors of integers and truth values, such as masks, are loaded into the module before it is described: they belong
        to the network. Where the file has none, the module has its own. Names may differ by one prefix before all of
        them, see :func:`~sneframe.files.with_aliases`.

        Raises:
            FileError: names or shapes of the tensors that are not the module's.
            ConfigError: the function fails, or returns something else, or a module whose symmetry is refuted.
        """
        try:
            made = self._make(dict(properties)) if self._takes else self._make()
        except (Exception, SystemExit) as error:  # the user's function
            none = (
                ""
                if properties or not self._takes
                else "; it was given no properties, as none are known here"
            )
            raise ConfigError(f"{self._word}: {one_line(error)}{none}") from error
        module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{self._word}: returns {type(module).__name__}, a torch.nn.Module is needed")
        try:
            tensors = with_aliases(tensors, described(module), _tied(module))
            _check(module, tensors)
            _load(module, tensors)
            return self._descriptions.of(module, example)
        except ArchitectureError as error:
            raise ConfigError(f"{self._word}: {error}") from error


def _tied(module: nn.Module) -> dict[str, str]:
    """Return for the first name of each tensor with several names another one."""
    names = {id(value): name for name, value in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {names[id(value)]: other for other, value in every if names[id(value)] != other}


def _check(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that a file has what the module needs, and nothing that it has no place for."""
    wanted, name_of = described(module), type(module).__name__
    places = {**dict(module.named_buffers()), **module.state_dict()}
    for name in wanted:
        if name not in tensors:
            raise FileError(f"lacks {name!r}, which {name_of} has")
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == COUNTER:
            continue
        if name not in places:
            raise FileError(f"holds {name!r}, which {name_of} has not")
        if tensor.shape != places[name].shape:
            shapes = f"shape {tuple(tensor.shape)}, in {name_of} it has {tuple(places[name].shape)}"
            raise FileError(f"{name!r} has {shapes}")


@torch.no_grad()
def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module the integers and truth values of a file."""
    for name, own in module.state_dict().items():
        if name in tensors and not own.is_floating_point():
            own.copy_(tensors[name])

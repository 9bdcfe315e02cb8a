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
from sneframe.errors import ArchitectureError, ConfigError, FileError, one_line
from sneframe.symmetry import verify

OWN = frozenset(vars(nn.Module()))  #: what every module has, among it its parameters


class Factory:
    """Makes a network's module, and of it its architecture; each that differs is described, and verified, once.

    Args:
        word: ``package.module:function``, found as Python would from the current folder. The function takes the properties
            of a network, a dict by name, or nothing, and returns its module, or the module and an example input: with one,
            the symmetry that is found is verified by running it.

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
        self._known: dict[str, Architecture] = {}

    def architecture(self, tensors: Mapping[str, Tensor], properties: Mapping[str, Any]) -> Architecture:
        """Return the architecture of the network with these tensors and properties.

        Raises:
            FileError: names or shapes of the tensors that are not the module's.
            ConfigError: the function fails, or returns something else.
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
            _check(module, tensors)
        except ArchitectureError as error:
            raise ConfigError(f"{self._word}: {error}") from error
        text = fingerprint(module)
        if text is None:
            return self._described(module, example)
        if text not in self._known:
            self._known[text] = self._described(module, example)
        return self._known[text]

    def _described(self, module: nn.Module, example: Any) -> Architecture:
        try:
            architecture = Architecture.from_module(module, example)
            if example is not None:
                verify(module, architecture, example)
        except ArchitectureError as error:
            raise ConfigError(f"{self._word}: {error}") from error
        return architecture


def _check(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that a file has what the module needs, and nothing that it has no place for."""
    wanted, places = described(module), module.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise FileError(f"lacks {name!r}, which {type(module).__name__} has")
        if tensors[name].shape != tensor.shape:
            shapes = (
                f"shape {tuple(tensors[name].shape)}, in {type(module).__name__} it has {tuple(tensor.shape)}"
            )
            raise FileError(f"{name!r} has {shapes}")
    if further := [name for name in tensors if name not in places]:
        raise FileError(f"holds {further[0]!r}, which {type(module).__name__} has not")


def fingerprint(module: nn.Module) -> str | None:
    """Return a text by which modules differ that may compute something else: classes, settings and shapes of all within.

    None where a setting is an object or a function without a name of its own, such as a lambda: no text tells these apart.
    """
    lines = []
    for name, each in module.named_modules():
        settings = {key: _text(value) for key, value in vars(each).items() if key not in OWN}
        if None in settings.values():
            return None
        shapes = {key: tuple(value.shape) for key, value in each.named_parameters(recurse=False)}
        lines.append(f"{name}: {type(each).__module__}.{type(each).__qualname__} {settings} {shapes}")
    return "\n".join(lines)


def _text(value: Any) -> str | None:
    """Return a text that says which plain value, or which named function or class, a setting is; or None."""
    if isinstance(value, tuple | list):
        parts = [_text(each) for each in value]
        return None if None in parts else f"[{', '.join(map(str, parts))}]"
    if isinstance(value, str | int | float | bool | None | torch.dtype | torch.device):
        return repr(value)
    named = getattr(value, "__qualname__", "<")
    return None if "<" in named else f"{value.__module__}.{named}"

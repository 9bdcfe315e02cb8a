"""Build the module of a network with a function of the user, or with an installed library."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor, nn

from sneframe.errors import ConfigError, one_line, with_article
from sneframe.files.module_watch import Watch

ROW = ("row", "properties")  #: names of a parameter that receives the properties of a network
TAKES = (
    "a module factory takes no argument, the row (a dict of the properties), the path of the file, or both"
)
PATH = re.compile(r"\bPath\b")


class ModuleSource(ABC):
    """Builds the modules of networks."""

    @abstractmethod
    def make(self, tensors: Mapping[str, Tensor], properties: Mapping[str, Any], path: Path | None) -> Any:
        """Return the module of a network, or a tuple of the module and an example input.

        Args:
            tensors: the tensors of the network by name.
            properties: the properties of the network.
            path: the file of the network, or None if the network is not in a file.

        Raises:
            ConfigError: the module cannot be built.
            FileError: the module cannot be built because of the file.
        """

    def file_names(
        self,
        module: nn.Module,  # noqa: ARG002  # most sources need no argument
        tensors: Mapping[str, Tensor],  # noqa: ARG002  # the same
    ) -> Mapping[str, str]:
        """Return the names in the file by the names in the module, for tensors whose two names differ."""
        return {}


@final
class Function(ModuleSource):
    """A function of the user. A class of modules is such a function, too.

    Args:
        word: ``package.module:function``. The function is imported as Python would import it in the current
            folder.

    Raises:
        ConfigError: the function cannot be imported, is not callable, or needs other arguments.
    """

    def __init__(self, word: str) -> None:
        name, colon, attribute = word.partition(":")
        if not colon or not name or not attribute:
            raise ConfigError(f"a module factory must be given as package.module:function, but got {word!r}")
        self._word = word
        self._watch = Watch(word)
        self._make = self._imported(name, attribute)
        if not callable(self._make):
            raise ConfigError(f"{word}: this is {with_article(type(self._make).__name__)}, not a function")
        try:
            parameters = list(inspect.signature(self._make).parameters.values())
        except (TypeError, ValueError) as error:  # a function that is not written in Python has no signature
            raise ConfigError(f"{word}: this function cannot build a module: {one_line(error)}") from error
        self._row, self._path = self._served(parameters)

    def _imported(self, name: str, attribute: str) -> Any:
        sys.path.insert(0, str(Path.cwd()))
        try:
            with self._watch.running(timed=False):
                found: Any = importlib.import_module(name)
                for each in attribute.split("."):
                    found = getattr(found, each)
        except (Exception, SystemExit) as error:  # the user's module may raise anything
            raise ConfigError(f"{self._word}: {one_line(error)}") from error
        finally:
            sys.path.remove(str(Path.cwd()))
        return found

    def _served(
        self, parameters: list[inspect.Parameter]
    ) -> tuple[inspect.Parameter | None, inspect.Parameter | None]:
        """Return the parameter that receives the row, and the parameter that receives the path, or None.

        A parameter with a default receives nothing, unless its name or annotation says that it takes the row
        or the path.
        """
        named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        paths = [each for each in named if _is_path(each)]
        rows = [
            each for each in named if each not in paths and (each.default is each.empty or each.name in ROW)
        ]
        for found in (rows, paths):
            if len(found) > 1:
                names = " and ".join(repr(each.name) for each in found)
                raise ConfigError(f"{self._word}: needs {names}, but {TAKES}")
        return next(iter(rows), None), next(iter(paths), None)

    def make(
        self,
        tensors: Mapping[str, Tensor],  # noqa: ARG002  # an argument of the interface
        properties: Mapping[str, Any],
        path: Path | None,
    ) -> Any:
        """Call the function."""
        arguments: list[tuple[inspect.Parameter, Any]] = []
        if self._row is not None:
            arguments.append((self._row, dict(properties)))
        if self._path is not None and path is not None:
            arguments.append((self._path, path))
        elif self._path is not None and self._path.default is inspect.Parameter.empty:
            raise ConfigError(f"{self._word}: takes the path of a file, but this network is not in a file")
        by_name = {each.name: value for each, value in arguments if each.kind is not each.POSITIONAL_ONLY}
        by_place = [value for each, value in arguments if each.name not in by_name]
        try:
            with self._watch.running():
                return self._make(*by_place, **by_name)
        except (Exception, SystemExit) as error:  # the user's function may raise anything
            none = (
                ""
                if properties or self._row is None
                else "; the function got no properties, because none are known for this network"
            )
            raise ConfigError(f"{self._word}: {one_line(error)}{none}") from error


def _is_path(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is named ``path``, or annotated as a path."""
    annotation = parameter.annotation
    if parameter.name == "path" or annotation is parameter.empty:
        return parameter.name == "path"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return PATH.search(text) is not None

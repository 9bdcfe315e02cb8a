"""Call the user's module factory: the function that returns the torch module of a network.

The architecture of the network and its exact symmetry are derived from that module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, final

from attrs import evolve
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import described
from sneframe.errors import ArchitectureError, ConfigError
from sneframe.files.module_fit import aligned, check, load, other_names
from sneframe.files.module_libraries import LIBRARIES
from sneframe.files.module_sources import Function, ModuleSource
from sneframe.files.names import Renaming
from sneframe.symmetry.describe import Descriptions

#: How a user gives module factories: one word, several words, or words by pattern.
Words = str | Sequence[str] | Mapping[str, str]


def as_words(words: Words | None) -> tuple[str, ...]:
    """Return module factories as a tuple of words. Each word may begin with ``PATTERN=``.

    Raises:
        ConfigError: ``words`` has none of the types that :data:`Words` lists.
    """
    if words is None:
        return ()
    found: Any = (words,) if isinstance(words, str) else words
    if isinstance(found, Mapping):
        found = [f"{pattern}={word}" if pattern else word for pattern, word in found.items()]
    if not isinstance(found, Sequence) or not all(isinstance(each, str) for each in found):
        raise ConfigError(f"a module factory must be given as package.module:function, but got {words!r}")
    return tuple(found)


@final
class Factory:
    """Builds the modules of networks with the user's functions, and derives their architectures.

    A word names a function or a library:

    - ``package.module:function``: a function, which is imported as Python would import it in the current
      folder. A class of modules is such a function, too. The function takes no argument, the properties of a
      network as a dict, the path of the file, or both. A parameter receives the path if its name is ``path``
      or its annotation is ``Path``. Other parameters with a default are left alone, except ``row`` and
      ``properties``. The function returns the module, or a tuple of the module and an example input. Without
      an example input, the module's ``example_input_array`` is used. If the module has no such attribute, an
      input is made that fits the first layer of the module.
    - ``timm:NAME`` and ``torchvision:NAME``: a model of an installed library. The number of classes is read
      from the file, or else from the property ``num_classes``.
    - ``transformers``: the model that ``config.json`` in the folder of the file describes.
      ``transformers:CLASS`` names the class of the model. Code outside of the library is never executed.

    With ``PATTERN=`` before it, a word serves only the files whose paths match the pattern, in which ``*``
    also matches slashes. The first word that serves a file is used. A file that no word serves is described
    without code.

    Equal modules are described and verified only once. A function that takes more than 10 seconds for a
    network, or opens a network connection, is named in a warning. A library cannot open a connection while it
    builds a module. A function that calls ``os._exit`` ends the whole program without an error message.

    Args:
        words: one word, several words, or a mapping from patterns to words. A word with the empty pattern
            serves all files.
        folder: the folder to which the paths in patterns are relative. By default, patterns are compared
            with paths as they are given.

    Raises:
        ConfigError: there is no word, a word or its pattern has the wrong form, a function cannot be
            imported, is not callable or needs other arguments, or a library is not installed or does not
            know the name.
    """

    def __init__(self, words: Words, folder: Path | None = None) -> None:
        self._sources: list[tuple[str | None, str, ModuleSource]] = []
        self._folder = folder
        for entry in as_words(words):
            pattern, equals, word = entry.rpartition("=")
            if equals and not pattern:
                raise ConfigError(f"{entry}: the pattern is empty; use PATTERN=package.module:function")
            self._sources.append((pattern if equals else None, word, source_of(word)))
        if not self._sources:
            raise ConfigError("a module factory must be given as package.module:function, but got none")
        self._modules = ModuleDescriber()

    def unused(self, paths: Iterable[Path]) -> list[str]:
        """Return the patterns that select none of the paths."""
        names = [self._name(path) for path in paths]
        patterns = [pattern for pattern, _, _ in self._sources if pattern is not None]
        return [each for each in patterns if not any(fnmatchcase(name, each) for name in names)]

    def serves(self, path: Path | None) -> bool:
        """Return whether a word serves the network in a file, or a network that is not in a file."""
        return self._source(path) is not None

    def _source(self, path: Path | None) -> tuple[str, ModuleSource] | None:
        """Return the first word that serves a path, and the source of modules that the word names, or None.

        Only words without a pattern serve a network that is not in a file.
        """
        name = None if path is None else self._name(path)
        for pattern, word, each in self._sources:
            if pattern is None or (name is not None and fnmatchcase(name, pattern)):
                return word, each
        return None

    def _name(self, path: Path) -> str:
        """Return the string that patterns are compared with. Paths in the folder become relative."""
        if self._folder is not None and path.is_relative_to(self._folder):
            path = path.relative_to(self._folder)
        return path.as_posix()

    def architecture(
        self, tensors: Mapping[str, Tensor], properties: Mapping[str, Any], path: Path | None = None
    ) -> Architecture:
        """Return the architecture of the network with these tensors and properties.

        Integer and boolean tensors of the file, such as masks, belong to the network. They are copied into
        the module before the module is described. Where the file lacks such a tensor, the module keeps its
        own values. The names in the file may differ from the names in the module by one common prefix, see
        :func:`~sneframe.files.with_aliases`.

        Args:
            tensors: the tensors of the network by name.
            properties: the properties of the network, which the user's function receives as a dict.
            path: the file of the network, or None if the network is not in a file.

        Raises:
            FileError: the names or shapes of the tensors are not those of the module, or ``config.json``
                describes no model.
            ConfigError: no word serves the path, the function raises an error or does not return a module, or
                a test of the module refutes the derived symmetry.
        """
        if (serving := self._source(path)) is None:
            raise ConfigError(f"{path or 'this network'}: no pattern of --module matches")
        word, chosen = serving
        made = chosen.make(tensors, properties, path)
        module = made[0] if isinstance(made, tuple) and len(made) == 2 else made
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{word}: must return a torch.nn.Module, but returned {type(module).__name__}")
        names = chosen.file_names(module, tensors)
        own = {name: each for each, name in names.items()}
        try:
            found = self._modules.architecture(made, {own.get(n, n): value for n, value in tensors.items()})
            return _renamed(found, names) if names else found
        except ArchitectureError as error:
            raise ConfigError(f"{word}: {error}") from error


def _renamed(architecture: Architecture, names: Mapping[str, str]) -> Architecture:
    """Return an architecture with renamed parameters. ``names`` maps old names to new names."""
    return evolve(
        architecture,
        layers=[layer.renamed(lambda name: names.get(name, name)) for layer in architecture.layers],
    )


def source_of(word: str) -> ModuleSource:
    """Return the source of modules that a user writes as ``package.module:function`` or ``LIBRARY:NAME``.

    Raises:
        ConfigError: the word has another form, or the function or the library cannot be imported.
    """
    library, colon, name = word.partition(":")
    if library in LIBRARIES and (name or not colon):
        return LIBRARIES[library](word, name)
    return Function(word)


@final
class ModuleDescriber:
    """Derives architectures of networks from their modules. Equal modules are described and verified once."""

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
            renaming: the renaming that gave the tensors their names. The module has the names from before the
                renaming. The architecture gets the new names.

        Raises:
            FileError: the names or shapes of the tensors are not those of the module.
            ArchitectureError: the module cannot be described, or a test refutes the derived symmetry.
        """
        module, example = made if isinstance(made, tuple) else (made, None)
        if renaming is not None:
            names = [*described(module)]
            wanted = dict(zip(names, renaming.of(dict.fromkeys(names)), strict=True))
            for name in other_names(module):
                wanted[name] = next(iter(renaming.of({name: None})))
            tensors = {old: tensors[new] for old, new in wanted.items() if new in tensors}
        tensors = aligned(module, tensors)
        check(module, tensors)
        load(module, tensors)
        found = self._descriptions.of(module, example)
        return found if renaming is None else renaming.of_architecture(found)

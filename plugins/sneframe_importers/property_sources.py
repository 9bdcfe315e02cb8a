"""Define the sources of properties: tables, checkpoints, files beside the networks, and names."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

from sneframe.errors import FileError, ZooError, counted, one_line
from sneframe.files.state_dict import StateDict
from sneframe_importers.card import CARD, card_of, card_values
from sneframe_importers.flatten import CheckpointValues, flattened, is_taken
from sneframe_importers.sidecar import Sidecars
from sneframe_importers.typed import ColumnSource, typed, typed_json

GROUP = "group"  #: the named group of a pattern that gives the run group


class PropertySource(ABC):
    """A source of properties.

    Attributes:
        names: the names of the properties that this source is known to give so far.
        is_table: whether the source is a table, whose columns are stored even if all values are missing.
    """

    names: Collection[str] = ()
    is_table = False

    @abstractmethod
    def of(self, file: str, network: StateDict) -> Mapping[str, Any]:
        """Return the properties of the network in a file.

        Raises:
            FileError: the source is damaged for this network.
        """


@final
class Rows(PropertySource):
    """A source whose values are all known before the networks are read."""

    def __init__(
        self,
        rows: Mapping[str, Mapping[str, Any]],
        errors: Mapping[str, FileError] | None = None,
        *,
        is_table: bool = False,
    ) -> None:
        self._rows, self._errors = rows, errors or {}
        self.names = dict.fromkeys(name for row in rows.values() for name in row)
        self.is_table = is_table

    def of(self, file: str, network: StateDict) -> Mapping[str, Any]:  # noqa: ARG002  # needs no weights
        """Return the values of a file, or raise the error that occurred when the values were read."""
        if file in self._errors:
            raise FileError(str(self._errors[file]))
        return self._rows.get(file, {})


@final
class Beside(PropertySource):
    """The plain values beside the weights of each network, and the properties that the file states."""

    def __init__(self, renamed: Renamed) -> None:
        self._renamed = renamed
        self.names: dict[str, None] = {}

    def of(self, file: str, network: StateDict) -> Mapping[str, Any]:
        """Return the plain values of a checkpoint, and the properties that the file states."""
        content = network.content
        if content is None:
            return {}
        found: dict[str, Any] = {}
        if isinstance(content.values, Mapping):
            found |= flattened(
                content.values, file, CheckpointValues(weights=tuple(network.tensors.values()))
            )
        found |= flattened(content.properties, file)
        found = {self._renamed(name): value for name, value in found.items()}
        self.names.update(dict.fromkeys(found))
        return found


@final
class Renamed:
    """Adds an underscore to the name of a property if the name is reserved. Warns once for each name."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return the name that the property has in the zoo."""
        if not is_taken(name):
            return name
        if name not in self._said:
            self._said[name] = f"{name}_"
            warnings.warn(
                f"the property {name!r} is named {self._said[name]!r}, because its name is reserved",
                stacklevel=2,
            )
        return self._said[name]


def from_files(word: str, folder: Path, files: Sequence[str], renamed: Renamed) -> Rows:
    """Return the values of the JSON or YAML files beside networks.

    Raises:
        ZooError: no network has such a file, or a package is missing.
    """
    sidecars = Sidecars(word, folder)
    paths = {file: path for file in files if (path := sidecars.path(file)) is not None}
    return _read_beside(word, files, paths, sidecars.values, renamed)


def from_cards(folder: Path, files: Sequence[str], renamed: Renamed) -> Rows:
    """Return the metadata and the results in the model cards beside networks.

    Raises:
        ZooError: no network has a card, or a package is missing.
    """
    paths = {file: path for file in files if (path := card_of(file, folder)) is not None}
    return _read_beside(CARD, files, paths, partial(card_values, folder), renamed)


def _read_beside(
    word: str,
    files: Sequence[str],
    paths: Mapping[str, str],
    values: Callable[[str], Mapping[str, Any]],
    renamed: Renamed,
) -> Rows:
    """Return the values of the files beside networks.

    Args:
        word: what the files are called.
        files: the networks.
        paths: the file beside each network that has one.
        values: returns the values of such a file.
        renamed: returns the name that a property has in the zoo.
    """
    if files and not paths:
        raise ZooError(f"--properties-from {word!r}: no network has such a file beside it")
    if lacking := [file for file in files if file not in paths]:
        _warn_missing(
            f"{word}: {len(lacking)} of {counted(len(files), 'network')} have no such file", lacking
        )
    rows: dict[str, dict[str, Any]] = {}
    errors: dict[str, FileError] = {}
    for file, path in paths.items():
        try:
            rows[file] = {renamed(name): value for name, value in values(path).items()}
        except FileError as error:
            errors[file] = error
    for name in dict.fromkeys(name for row in rows.values() for name in row):
        having = [file for file, row in rows.items() if name in row]
        source = ColumnSource(table=word, column=name, lines=[paths[file] for file in having])
        column = typed_json([rows[file][name] for file in having], source)
        for file, value in zip(having, column, strict=True):
            rows[file][name] = value
    return Rows(rows, errors)


def _warn_missing(line: str, files: Sequence[str]) -> None:
    """Warn that the values of networks are missing. ``files`` are their files, of which one is named."""
    warnings.warn(f"{line}, such as {files[0]}; their values are missing", stacklevel=3)


def from_names(word: str, files: Sequence[str]) -> Rows:
    """Return the values that the named groups of a regular expression find in the paths of networks.

    Raises:
        ZooError: the expression is invalid, has no named group, or matches no path.
    """
    option = f"--properties-from {word!r}"
    pattern = compiled(word, option)
    if taken := [name for name in pattern.groupindex if is_taken(name)]:
        hint = f"use --group-from {word!r}" if taken[0] == GROUP else "choose another name"
        raise ZooError(f"{option}: a property cannot be named {taken[0]!r}; {hint}")
    matches = {file: match for file in files if (match := pattern.search(file)) is not None}
    if files and not matches:
        raise ZooError(f"{option}: matches none of {counted(len(files), 'path')}, such as {files[0]}")
    if lacking := [file for file in files if file not in matches]:
        _warn_missing(f"{word}: does not match {len(lacking)} of {counted(len(files), 'path')}", lacking)
    rows: dict[str, dict[str, Any]] = {file: {} for file in matches}
    for name in pattern.groupindex:
        source = ColumnSource(table=word, column=name, lines=list(matches))
        column = typed([match[name] or "" for match in matches.values()], source)
        for file, value in zip(matches, column, strict=True):
            rows[file][name] = value
    return Rows(rows)


def compiled(word: str, option: str) -> re.Pattern[str]:
    """Return the regular expression after ``name:`` or ``path:``.

    Raises:
        ZooError: the expression is invalid, or has no named group.
    """
    text = word.partition(":")[2]
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ZooError(f"{option}: not a regular expression: {one_line(error)}") from error
    if not pattern.groupindex:
        raise ZooError(
            f"{option}: the regular expression needs a named group, such as (?P<accuracy>\\d+\\.\\d+)"
        )
    return pattern

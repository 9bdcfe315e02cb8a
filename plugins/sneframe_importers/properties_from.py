"""Find the properties of networks: in tables, in checkpoints, in files beside the networks, and in names.

The sources are asked in their order. A value of a later source replaces that of an earlier source, unless the
later value is missing.
"""

from __future__ import annotations

import posixpath
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from attrs import evolve, frozen

from sneframe.errors import ZooError, choices, counted
from sneframe.files.state_dict import StateDict
from sneframe_importers.property_sources import (
    GROUP,
    Beside,
    PropertySource,
    Renamed,
    Rows,
    compiled,
    from_cards,
    from_files,
    from_names,
)
from sneframe_importers.sidecar import SUFFIXES
from sneframe_importers.table import READERS, TableEntry, read_table
from sneframe_importers.typed import run_group

CHECKPOINT = "checkpoint"  #: the source of properties that are stored beside the weights
CARDS = "card"  #: the source of properties that is the model card beside each network
FOLDER = "folder"  #: the value of ``--group-from`` that makes the folder of a network its run group
PATTERNS = ("name:", "path:")  #: the beginnings of option values that hold a regular expression


def as_sources(values: Any) -> Any:
    """Convert the values of the option ``properties_from`` to a tuple. Names of tables become paths.

    A zoo stores the options of its import. Of a path, only the last part is stored, because the folders are
    private.
    """
    if not isinstance(values, list | tuple):
        return values
    return tuple(Path(each) if isinstance(each, str) and _is_table(each) else each for each in values)


def _is_table(word: str | Path) -> bool:
    return not str(word).startswith(PATTERNS) and Path(word).suffix.lower() in READERS


def find_properties(
    words: Sequence[str | Path], group_from: str | None, folder: Path, names: Sequence[str]
) -> Properties:
    """Read the sources of properties, except checkpoints, which are read together with the networks.

    Args:
        words: the sources in their order: paths of tables, ``checkpoint``, ``card``, names of files beside
            the networks, and regular expressions.
        group_from: the source of run groups, or None for the column ``group`` of tables.
        folder: the folder of the networks.
        names: the paths of the networks, relative to the folder. Tables replace this list.

    Raises:
        ZooError: a source is unknown, cannot be read, or fits no network.
    """
    tables = {word: read_table(Path(word)) for word in words if _is_table(word)}
    entries = {name: TableEntry(line=0, file=name, group=None, split=None, properties={}) for name in names}
    if tables:
        entries = {}
    for entry in (entry for table in tables.values() for entry in table):
        old = entries.get(entry.file, entry)
        group = old.group if entry.group is None else entry.group
        entries[entry.file] = evolve(
            entry, group=group, split=old.split if entry.split is None else entry.split
        )
    renamed = Renamed()
    sources: list[PropertySource] = []
    for word in words:
        if word in tables:
            sources.append(Rows({each.file: each.properties for each in tables[word]}, is_table=True))
        elif word == CHECKPOINT:
            sources.append(Beside(renamed))
        elif word == CARDS:
            sources.append(from_cards(folder, list(entries), renamed))
        elif str(word).startswith(PATTERNS):
            sources.append(from_names(str(word), list(entries)))
        elif Path(word).suffix.lower() in SUFFIXES:
            sources.append(from_files(str(word), folder, list(entries), renamed))
        else:
            raise ZooError(
                f"--properties-from {str(word)!r}: must be a table ({', '.join(READERS)}), {CHECKPOINT!r}, "
                f"{CARDS!r}, the name of a file beside each network ({', '.join(SUFFIXES)}), or name:REGEX"
            )
    made = Properties(
        entries=list(entries.values()),
        tables=[Path(word) for word in tables],
        sources=sources,
        group_from=None if group_from is None else _GroupFrom(group_from),
    )
    if made.group_from is not None:
        made.group_from.check_paths(list(entries))
    if CHECKPOINT not in words:
        made.check_group({name for source in sources for name in source.names})
    return made


@frozen(kw_only=True, eq=False)
class Properties:
    """The properties and run groups of networks, and the files to import.

    Args:
        entries: the files to import: those in the tables, with splits and run groups, or all if there is no
            table.
        tables: the paths of the tables.
        sources: the sources of properties in their order.
        group_from: the source of run groups, or None for the tables.
    """

    entries: Sequence[TableEntry]
    tables: Sequence[Path]
    sources: Sequence[PropertySource]
    group_from: _GroupFrom | None

    def of(self, file: str, network: StateDict) -> dict[str, Any]:
        """Return the properties of the network in a file. Missing values are None.

        Raises:
            FileError: a source is damaged for this network.
        """
        found: dict[str, Any] = {}
        for source in self.sources:
            for name, value in source.of(file, network).items():
                if value is not None or name not in found:
                    found[name] = value
        return found

    def stored(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the properties that have values, and all properties that are columns of tables.

        So a zoo has no column for a property that no network has, unless a table has this column.
        """
        kept = {name for source in self.sources if source.is_table for name in source.names}
        return {name: value for name, value in properties.items() if value is not None or name in kept}

    def group(self, entry: TableEntry, properties: Mapping[str, Any]) -> str | None:
        """Return the run group of a network, or None if the network is a group of its own."""
        found = None if self.group_from is None else self.group_from.of(entry.file, properties)
        return entry.group if found is None else found

    def check_group(self, names: Collection[str]) -> None:
        """Check that ``--group-from`` names one of the properties that were found.

        Raises:
            ZooError: the property is not among ``names``.
        """
        name = None if self.group_from is None else self.group_from.property
        if name is not None and name not in names:
            raise ZooError(
                f"--group-from {name!r}: must be {FOLDER!r}, name:REGEX with (?P<{GROUP}>…), or a property, "
                f"but no network has this property, {choices(name, sorted(names))}"
            )


@final
class _GroupFrom:
    """The source of run groups.

    Args:
        word: ``folder``, ``name:REGEX`` with a named group ``group``, or the name of a property.

    Raises:
        ZooError: the regular expression is invalid, or has no such named group.
    """

    def __init__(self, word: str) -> None:
        self._option = f"--group-from {word!r}"
        self.property = None if word == FOLDER or word.startswith(PATTERNS) else word
        self._pattern = None
        if word.startswith(PATTERNS):
            self._pattern = compiled(word, self._option)
            if GROUP not in self._pattern.groupindex:
                raise ZooError(f"{self._option}: the regular expression needs the named group (?P<{GROUP}>…)")

    def of(self, file: str, properties: Mapping[str, Any]) -> str | None:
        """Return the run group of a network, or None if the source gives none."""
        if self.property is not None:
            return run_group(properties.get(self.property))
        if self._pattern is not None:
            match = self._pattern.search(file)
            return None if match is None else run_group(match[GROUP])
        return posixpath.dirname(file) or "."

    def check_paths(self, files: Sequence[str]) -> None:
        """Check that a regular expression finds a group in the paths of networks.

        Raises:
            ZooError: the regular expression finds a group in none of the paths.

        Warns:
            UserWarning: the regular expression finds no group in some of the paths.
        """
        without = [file for file in files if self._pattern is not None and self.of(file, {}) is None]
        if not without:
            return
        if len(without) == len(files):
            raise ZooError(
                f"{self._option}: finds a group in none of {counted(len(files), 'path')}, such as {files[0]}"
            )
        warnings.warn(
            f"{self._option}: finds no group in {len(without)} of {counted(len(files), 'path')}, such as "
            f"{without[0]}; they are groups of their own, unless a table or their files give groups",
            stacklevel=3,
        )

    def check_values(self, without: Sequence[str], networks: int) -> None:
        """Check that the property of ``--group-from`` gives the networks their run groups.

        Args:
            without: the files of the networks that are groups of their own.
            networks: the number of networks.

        Raises:
            ZooError: all networks are groups of their own.

        Warns:
            UserWarning: some networks are groups of their own.
        """
        if self.property is None or not without:
            return
        if len(without) == networks:
            raise ZooError(f"{self._option}: no network has a value of this property")
        warnings.warn(
            f"{self._option}: {len(without)} of {counted(networks, 'network')} have no value, such as "
            f"{without[0]}; each of them is a group of its own",
            stacklevel=3,
        )

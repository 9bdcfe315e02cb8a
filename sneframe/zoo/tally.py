"""Count what an import read, assumed and left out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, final

from attrs import frozen

from sneframe.architecture import Architecture
from sneframe.architecture.origin import by_origin

#: Matches what differs between two lines of the same kind: quoted names, shapes and numbers.
OWN = re.compile(r"'[^']*'|\"[^\"]*\"|\([\d, ]*\)|\S*\d\S*")


@frozen(kw_only=True)
class Kind:
    """Lines that say the same about different files.

    Args:
        count: the number of these lines.
        example: the first of these lines.
        source: the file of the first of these lines.
    """

    count: int
    example: str
    source: str


def kinds(lines: Iterable[tuple[str, str]]) -> tuple[Kind, ...]:
    """Group lines that differ only in names, shapes and numbers. The most frequent kind comes first.

    Args:
        lines: pairs of a file and a line about the file.
    """
    counts: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for source, line in lines:
        key = OWN.sub("…", line)
        counts[key] += 1
        first.setdefault(key, (source, line))
    return tuple(
        Kind(count=count, source=first[key][0], example=first[key][1]) for key, count in counts.most_common()
    )


@final
class Tally:
    """Counts the networks of an import by file reader, architecture, origin of the symmetry and property."""

    def __init__(self) -> None:
        self.networks = 0
        self._readers: Counter[str] = Counter()
        self._architectures: dict[Architecture, tuple[Architecture, int]] = {}
        self._properties: Counter[str] = Counter()
        self._notes: list[tuple[str, str]] = []
        self._ignored: Counter[str] = Counter()

    def add(
        self,
        source: str,
        architecture: Architecture,
        networks: int,
        properties: Mapping[str, Sequence[Any]],
        *,
        reader: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        """Count the networks of one file.

        Args:
            source: the file.
            architecture: the architecture of the networks.
            networks: the number of networks.
            properties: the values of each property, shape ``(networks,)``.
            reader: the name of the file reader, or an empty string.
            notes: what was chosen, assumed or left out, one line each.
        """
        self.networks += networks
        known, before = self._architectures.get(architecture, (architecture, 0))
        self._architectures[architecture] = known.weakened(architecture.symmetry), before + networks
        if reader:
            self._readers[reader] += networks
        for name, values in properties.items():
            self._properties[name] += sum(not _is_missing(value) for value in values)
        self._notes += [(source, note) for note in notes]

    def ignore(self, source: str) -> None:
        """Count a file that no one expects to hold weights."""
        self._ignored[PurePosixPath(source).suffix.lower() or "without ending"] += 1

    @property
    def ignored(self) -> dict[str, int]:
        """The number of ignored files by the ending of their names, the most frequent ending first."""
        return dict(self._ignored.most_common())

    @property
    def architectures(self) -> int:
        """The number of different architectures."""
        return len(self._architectures)

    @property
    def symmetry(self) -> dict[str, int]:
        """The number of networks for each origin of the symmetry, the least reliable first."""
        return by_origin((known.symmetry, count) for known, count in self._architectures.values())

    @property
    def readers(self) -> dict[str, int]:
        """The number of networks by the name of the file reader, the most frequent reader first."""
        return dict(self._readers.most_common())

    @property
    def properties(self) -> dict[str, int]:
        """The number of networks that have a value of each property."""
        return dict(self._properties)

    @property
    def notes(self) -> tuple[Kind, ...]:
        """The kinds of notes."""
        return kinds(self._notes)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))

"""What a plugin offers to import a zoo with, and the importing: networks from elsewhere in, a zoo and what was left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from sneframe.architecture import Architecture
from sneframe.atomic import write_text
from sneframe.errors import ZooError, printable
from sneframe.zoo.splits import UNUSED
from sneframe.zoo.write import create


@frozen(kw_only=True, eq=False)
class Found:
    """Networks of one architecture.

    Args:
        source: the file they come from, as people call it.
        architecture: of all of them.
        weights: for each parameter ``(n, *shape)``.
        properties: ``(n,)`` values by name.
        groups: ``(n,)`` training runs, ints or strings.
        splits: ``(n,)`` by name of a split, 0 train, 1 val, 2 test, -1 unused.
    """

    source: str
    architecture: Architecture
    weights: Mapping[str, Any]
    properties: Mapping[str, Any] = field(factory=dict)
    groups: Any
    splits: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Skipped:
    """What could not be imported.

    Args:
        source: the file.
        reason: one line.
    """

    source: str
    reason: str


@frozen(kw_only=True)
class ZooImporter:
    """One layout of files that can be made a zoo of.

    Args:
        name: ``PLUGIN/NAME``; ``sneframe zoo import NAME`` finds it.
        config: a frozen, keyword-only attrs class; each field becomes an option of the command.
        read: called with a config, the path to import from, and a function to call with ``(done, total)``; yields what it
            finds and what it leaves out, in an order that depends on the files alone.
        help: one line.
    """

    name: str
    config: type[Any]
    read: Callable[[Any, Path, Callable[[int, int], None]], Iterator[Found | Skipped]]
    help: str = field(default="")


@frozen(kw_only=True)
class Import:
    """What became of it.

    Args:
        networks: in the zoo.
        unhealthy: of these, with weights that are not finite.
        architectures: how many different ones.
        symmetry: how many networks have a symmetry of each origin, the weakest first.
        skipped: what is not in the zoo.
        listed: the file that says so, or None where nothing was left out.
    """

    networks: int
    unhealthy: int
    architectures: int
    symmetry: Mapping[str, int]
    skipped: tuple[Skipped, ...]
    listed: Path | None


def import_zoo(
    importer: ZooImporter,
    config: Any,
    source: Path,
    out: Path,
    progress: Callable[[int, int], None],
    *,
    name: str | None = None,
    description: str = "",
    licence: str = "",
    overwrite: bool = False,
) -> Import:
    """Make a zoo of files that come from elsewhere.

    A file that cannot be read, or whose networks do not fit the others, is left out; what was, and why, stands in
    ``OUT.skipped.csv``.

    Args:
        importer: of the files' layout.
        config: of its class.
        source: what to import.
        out: the zoo to make.
        progress: called with (done, total).
        name: of the zoo; by default that of the source.
        description: one paragraph.
        licence: of the weights.
        overwrite: whether to replace a zoo that is there.

    Raises:
        ZooError: nothing could be imported, or the zoo cannot be made there; there is none then.
        MachineError: the machine failed.
    """
    skipped: list[Skipped] = []
    splits: dict[str, list[tuple[int, np.ndarray]]] = {}
    architectures: set[Architecture] = set()
    writer = create(
        out,
        name=name or source.resolve().name,
        description=description,
        licence=licence,
        source=source.resolve().name,
        builder={"name": importer.name, "config": _plain(config)},
        overwrite=overwrite,
    )
    listed = out.parent / f"{out.name}.skipped.csv"
    with writer as zoo:
        for item in importer.read(config, source, progress):
            if isinstance(item, Skipped):
                skipped.append(item)
                continue
            start = len(zoo)
            try:
                zoo.append(item.architecture, item.weights, item.properties, group=item.groups)
            except ZooError as error:
                reason = str(error).removeprefix(f"{out}: ")
                skipped.append(Skipped(source=item.source, reason=reason))
                continue
            architectures.add(item.architecture)
            for split, values in item.splits.items():
                splits.setdefault(split, []).append((start, np.asarray(values)))
        if not len(zoo):
            # Beside a zoo that stays stands what was left out of that one.
            told = None if out.exists() else _list(skipped, listed)
            raise ZooError(f"{source}: no network could be imported{_first(skipped, told)}")
        for split, parts in splits.items():
            whole = np.full(len(zoo), UNUSED)
            for start, values in parts:
                whole[start : start + len(values)] = values
            zoo.split(split, whole)
        networks, unhealthy, symmetry = len(zoo), zoo.unhealthy, zoo.symmetry
    return Import(
        networks=networks,
        unhealthy=unhealthy,
        architectures=len(architectures),
        symmetry=symmetry,
        skipped=tuple(skipped),
        listed=_list(skipped, listed),
    )


def _plain(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON values; of a path its name, for folders are nobody else's."""
    return {
        key: value.name if isinstance(value, Path) else value for key, value in attrs.asdict(config).items()
    }


def _list(skipped: Sequence[Skipped], path: Path) -> Path | None:
    """Write what was left out, and why, and return where; without anything there is no such file."""
    if not skipped:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("source", "reason"))
    rows.writerows((printable(item.source), printable(item.reason)) for item in skipped)
    write_text(path, text.getvalue())
    return path


def _first(skipped: Sequence[Skipped], listed: Path | None) -> str:
    if not skipped:
        return ", there is none"
    where = "" if listed is None else f", in {listed}"
    return f": {skipped[0].source}: {skipped[0].reason} ({len(skipped)} in all{where})"

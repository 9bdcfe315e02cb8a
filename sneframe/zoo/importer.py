"""Define ``ZooImporter``, which plugins register, and run importers.

An import writes the networks in published files to a zoo, and lists the files that the importer leaves out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from sneframe.architecture import Architecture
from sneframe.atomic import write_text
from sneframe.engine import Engine, SerialEngine
from sneframe.errors import ConfigError, ZooError, printable
from sneframe.zoo.splits import UNUSED
from sneframe.zoo.tally import Kind, Tally, kinds
from sneframe.zoo.write import create


@frozen(kw_only=True, eq=False)
class Imported:
    """Networks of one architecture that an importer has read.

    Args:
        source: the file of the networks, as a user would name the file.
        architecture: the architecture of all these networks.
        weights: the values of each parameter by name, shape ``(n, *shape)`` for n networks.
        properties: the values of each property by name, shape ``(n,)``.
        groups: run group of each network, shape ``(n,)``, ints or strings.
        splits: for each split by name, where the split puts each network, shape ``(n,)``: 0 train, 1 val, 2
            test, -1 unused.
        reader: the name of the file reader, or an empty string if the importer needs none.
        notes: what was chosen, assumed or left out in the file, one line each.
    """

    source: str
    architecture: Architecture
    weights: Mapping[str, Any]
    properties: Mapping[str, Any] = field(factory=dict)
    groups: Any
    splits: Mapping[str, Any] = field(factory=dict)
    reader: str = ""
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Skipped:
    """A file, or one network of a file, that an importer leaves out.

    Args:
        source: the name of the file or network, as a user would write it.
        reason: why the file or network is left out, in one line.
    """

    source: str
    reason: str


@frozen(kw_only=True)
class Ignored:
    """A file that no one expects to hold weights, such as a text or a picture. It is only counted.

    Args:
        source: the name of the file.
    """

    source: str


@frozen(kw_only=True, eq=False)
class ImportContext:
    """What the caller of an importer gives it besides the files.

    Args:
        progress: a function to call with ``(done, total)``.
        engine: where files are read.
        folder: an empty folder for what workers of the engine write. It is removed after the import.
        weights: whether the caller needs the weights. If not, they may be tensors on the meta device.
    """

    progress: Callable[[int, int], None]
    engine: Engine = field(factory=SerialEngine)
    folder: Path
    weights: bool = True


@frozen(kw_only=True)
class ZooImporter:
    """An importer of one file format.

    Args:
        name: ``PLUGIN/NAME``, the name of the importer in the command ``sneframe zoo import NAME``.
        config: a frozen, keyword-only attrs class. Each field becomes an option of the command.
        read: a function that yields networks and skipped files, in an order that depends only on the files.
            The function receives the config, the path to import from, and a :class:`ImportContext`.
        engines: whether ``read`` reads files with any engine. If not, only the serial engine is accepted.
        help: one line that describes the importer in the help of the command line.
    """

    name: str
    config: type[Any]
    read: Callable[[Any, Path, ImportContext], Iterator[Imported | Skipped | Ignored]]
    engines: bool = False
    help: str = field(default="")


@frozen(kw_only=True)
class ImportResult:
    """The result of an import.

    Args:
        networks: number of networks in the zoo.
        unhealthy: number of networks in the zoo with weights that are not finite; None if not counted.
        architectures: number of different architectures.
        symmetry: number of networks for each origin of the symmetry, the least reliable first.
        skipped: the files and networks that were left out.
        listed: the CSV file that lists ``skipped``, or None if nothing was left out.
        readers: number of networks by file reader, the most frequent reader first.
        properties: number of networks that have a value, by property.
        notes: what was chosen, assumed or left out in files that were read, grouped by kind.
        ignored: number of files that no one expects to hold weights, by the ending of their names.
    """

    networks: int
    unhealthy: int | None
    architectures: int
    symmetry: Mapping[str, int]
    skipped: tuple[Skipped, ...]
    listed: Path | None
    readers: Mapping[str, int]
    properties: Mapping[str, int]
    notes: tuple[Kind, ...]
    ignored: Mapping[str, int]

    @property
    def reasons(self) -> tuple[Kind, ...]:
        """The kinds of reasons for which files and networks were left out, the most frequent kind first."""
        return kinds((each.source, each.reason) for each in self.skipped)


def import_zoo(
    importer: ZooImporter,
    config: Any,
    source: Path,
    out: Path,
    progress: Callable[[int, int], None],
    *,
    engine: Engine | None = None,
    name: str | None = None,
    description: str = "",
    licence: str = "",
    overwrite: bool = False,
) -> ImportResult:
    """Write a zoo with the networks in files of another format.

    A file is skipped if the importer cannot read the file, or if its networks do not fit those that were
    imported before. The file ``OUT.skipped.csv`` lists what was skipped, and why.

    Args:
        importer: the importer of the files' format.
        config: an instance of the importer's config class.
        source: the file or folder to import.
        out: path of the new zoo.
        progress: a function that is called with ``(done, total)``.
        engine: where files are read; by default in this process. The zoo does not depend on the engine.
        name: name of the zoo. By default, the file or folder name of ``source``.
        description: one paragraph about the zoo.
        licence: licence of the weights.
        overwrite: whether a zoo at ``out`` may be replaced.

    Raises:
        ConfigError: the importer cannot use the engine.
        ZooError: no network could be imported, or the zoo cannot be written to ``out``. In both cases,
            no zoo is written.
        MachineError: a file cannot be written, or workers of the engine died.
    """
    engine = engine_for(importer, engine)
    skipped: list[Skipped] = []
    splits: dict[str, list[tuple[int, np.ndarray]]] = {}
    tally = Tally()
    writer = create(
        out,
        name=name or source.resolve().name,
        description=description,
        licence=licence,
        source=source.resolve().name,
        builder={"name": importer.name, "config": _plain(config)},
        overwrite=overwrite,
        mixed_as_text=True,
    )
    listed = out.parent / f"{out.name}.skipped.csv"
    how = partial(ImportContext, progress=progress, engine=engine)
    with writer as zoo, _items(importer, config, source, how(folder=zoo.scratch)) as items:
        for item in items:
            if isinstance(item, Skipped):
                skipped.append(item)
                continue
            if isinstance(item, Ignored):
                tally.ignore(item.source)
                continue
            start = len(zoo)
            try:
                zoo.append(item.architecture, item.weights, item.properties, group=item.groups)
            except ZooError as error:
                reason = str(error).removeprefix(f"{out}: ")
                skipped.append(Skipped(source=item.source, reason=reason))
                continue
            _count(tally, item)
            for split, values in item.splits.items():
                splits.setdefault(split, []).append((start, np.asarray(values)))
        if not len(zoo):
            # If an old zoo stays at this path, the list of the files that its import skipped stays, too.
            written = None if out.exists() else _list(skipped, listed)
            raise ZooError(f"{source}: no network could be imported{_first(skipped, written)}")
        for split, parts in splits.items():
            whole = np.full(len(zoo), UNUSED)
            for start, values in parts:
                whole[start : start + len(values)] = values
            zoo.split(split, whole)
        unhealthy = zoo.unhealthy
    return _result(tally, skipped, unhealthy, _list(skipped, listed))


def preview(
    importer: ZooImporter,
    config: Any,
    source: Path,
    progress: Callable[[int, int], None],
    *,
    engine: Engine | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> ImportResult:
    """Read everything that an import would read, and return what the import would report. Nothing is written.

    Whether weights are finite is not checked, and neither is whether the properties of all networks fit
    together.

    Args:
        importer: the importer of the files' format.
        config: an instance of the importer's config class.
        source: the file or folder to read.
        progress: a function that is called with ``(done, total)``.
        engine: where files are read; by default in this process.
        out: the path of the zoo that an import would write. The path is checked, unless it is None.
        overwrite: whether a zoo at ``out`` may be replaced.

    Raises:
        ConfigError: the importer cannot use the engine.
        ZooError: the importer cannot read ``source``, no network could be imported, or the zoo could not be
            written to ``out``.
    """
    if out is not None:
        create(out, name=source.name, overwrite=overwrite)  # checks the path, and writes nothing yet
    engine, tally, skipped = engine_for(importer, engine), Tally(), []
    with TemporaryDirectory(prefix="sneframe-") as folder:
        how = ImportContext(progress=progress, engine=engine, folder=Path(folder), weights=False)
        with _items(importer, config, source, how) as items:
            for item in items:
                if isinstance(item, Skipped):
                    skipped.append(item)
                elif isinstance(item, Ignored):
                    tally.ignore(item.source)
                else:
                    _count(tally, item)
    if not tally.networks:
        raise ZooError(f"{source}: no network could be imported{_first(skipped, None)}")
    return _result(tally, skipped, None, None)


def engine_for(importer: ZooImporter, engine: Engine | None) -> Engine:
    """Return the engine of an import, which is the serial engine if ``engine`` is None.

    Raises:
        ConfigError: the importer cannot use the engine.
    """
    if engine is None or engine.name == "serial":
        return SerialEngine()
    if not importer.engines:
        raise ConfigError(
            f"importer {importer.name!r} does not read independent files, so it takes only the engine "
            f"'serial', but got {engine.name!r}"
        )
    return engine


@contextmanager
def _items(
    importer: ZooImporter, config: Any, source: Path, reading: ImportContext
) -> Iterator[Iterator[Imported | Skipped | Ignored]]:
    """Give what an importer reads. When the block ends, the importer stops, and so do its workers."""
    items = importer.read(config, source, reading)
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


def _count(tally: Tally, item: Imported) -> None:
    networks = len(next(iter(item.weights.values())))
    tally.add(item.source, item.architecture, networks, item.properties, reader=item.reader, notes=item.notes)


def _result(
    tally: Tally, skipped: Sequence[Skipped], unhealthy: int | None, listed: Path | None
) -> ImportResult:
    return ImportResult(
        networks=tally.networks,
        unhealthy=unhealthy,
        architectures=tally.architectures,
        symmetry=tally.symmetry,
        skipped=tuple(skipped),
        listed=listed,
        readers=tally.readers,
        properties=tally.properties,
        notes=tally.notes,
        ignored=tally.ignored,
    )


def _plain(config: Any) -> dict[str, Any]:
    """Return a config as JSON values. Only the last part of a path is kept: the folders are private."""
    return {
        key: tuple(map(_last, value)) if isinstance(value, tuple) else _last(value)
        for key, value in attrs.asdict(config).items()
    }


def _last(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


def _list(skipped: Sequence[Skipped], path: Path) -> Path | None:
    """Write the list of skipped files to ``path``, and return ``path``.

    If nothing was skipped, remove an old list and return None.
    """
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
        return ": the importer found no network"
    where = "" if listed is None else f", listed in {listed}"
    return f": {skipped[0].source}: {skipped[0].reason} ({len(skipped)} skipped in all{where})"

"""Gather the lines of a table from the files of finished cells alone, without their zoos.

A comparison that was run on another machine leaves small files. They are enough for its table, because each
holds its recipe, its settings, its seed, and the true and the predicted value of every test network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from sneframe.bench.header import header
from sneframe.bench.outcome import Outcome, read_outcome
from sneframe.bench.sheet import Table
from sneframe.bench.table import Entry, lines
from sneframe.config.schema import NONE
from sneframe.config.suite import Row, Suite, Variation
from sneframe.errors import RunError, counted
from sneframe.report.bootstrap import DRAWS
from sneframe.run_folder.json_files import parse_json, read_text, structured


@frozen(kw_only=True)
class _Zoo:
    name: str
    digest: str


@frozen(kw_only=True)
class _Train:
    budget: Any = NONE
    budget_clock: str = "wall"

    @property
    def seconds(self) -> float | None:
        """The budget as a number, or None for no limit."""
        return None if self.budget == NONE else float(self.budget)


@frozen(kw_only=True)
class _Config:
    train: _Train


@frozen(kw_only=True)
class _Run:
    """The part of a cell's file that says what was run."""

    recipe: str
    overrides: tuple[str, ...]
    seed: int
    zoo: _Zoo
    config: _Config
    label: str | None = None
    property: str | None = None


@frozen(kw_only=True, eq=False)
class _Found:
    """One file of a cell, and its place in the table."""

    path: Path
    run: _Run
    row: Row
    within: str
    outcome: Outcome = field(repr=False)


def gather(
    folder: Path, suite: Suite | None = None, metric: str | None = None, *, draws: int = DRAWS
) -> Table:
    """Return the table of all finished cells in a folder.

    Args:
        folder: folder that holds the files of cells, or that has them in ``cells/``.
        suite: the suite whose rows and columns are shown, in their order. Cells of other rows, or with other
            settings, another property or another budget, are left out. None for a row for each recipe and
            its settings.
        metric: the metric that orders the rows; None for that of the suite, or the squared error.
        draws: number of resamples for the intervals; 0 for no intervals, which takes no time.

    Raises:
        RunError: there are no cells, none of the suite, or two for one place of the table; without a suite,
            cells differ in their property or their budget; a file is damaged.
    """
    inner = folder / "cells"
    paths = sorted((inner if inner.is_dir() else folder).glob("*-[0-9]*-*.json"))
    runs = [(path, structured(path, parse_json(path, read_text(path)), _Run)) for path in paths]
    if not runs:
        raise RunError(f"{folder}: holds no finished cells")
    if suite is None:
        _check_alike(folder, [run for _, run in runs])
    else:
        runs = [(path, run) for path, run in runs if _belongs(run, suite)]
    total = len(paths)
    places = _places(suite) if suite is not None else _unnamed([run for _, run in runs])
    found = [
        _Found(path=path, run=run, row=row, within=column.label, outcome=read_outcome(path))
        for path, run in runs
        if (place := places.get((run.recipe, run.overrides))) is not None
        for row, column in [place]
    ]
    if not found:
        assert suite is not None
        raise RunError(f"{folder}: none of its {counted(total, 'cell')} belongs to suite {suite.name!r}")
    ordered = metric or (suite.metric if suite is not None else "mse")
    entries = list(_entries(found, list(dict.fromkeys(places.values()))))
    properties = {each.run.property for each in found if each.run.property is not None}
    train = found[0].run.config.train
    return Table(
        title=suite.title if suite is not None else f"{counted(len(found), 'cell')} of {folder.name}",
        property=properties.pop() if len(properties) == 1 else None,
        metric=ordered,
        budget=train.seconds,
        cpu_budget=train.budget_clock == "cpu",
        lines=lines(entries, ordered, draws),
        header=header(
            zoos=[(name, digest) for digest, name in _zoos(found).items()],
            configs=[],
            outcomes=[each.outcome for each in found],
            seeds=max(entry.seeds for entry in entries),
            budget=train.seconds,
            cpu_budget=train.budget_clock == "cpu",
            command=None,
            unknown="the table was gathered from finished cells",
            note=suite.note if suite is not None else None,
        ),
    )


def _belongs(run: _Run, suite: Suite) -> bool:
    """Return whether a cell has the property and the budget of a suite."""
    known = None in (run.property, suite.property) or run.property == suite.property
    return known and run.config.train.seconds == suite.budget


def _check_alike(folder: Path, runs: Sequence[_Run]) -> None:
    """Check that cells have one property and one budget, so that one table can show them."""
    for what, values in (
        ("property", {run.property for run in runs if run.property is not None}),
        ("budget", {run.config.train for run in runs}),
    ):
        if len(values) > 1:
            raise RunError(f"{folder}: its cells have more than one {what}; name a suite to choose some")


Places = Mapping[tuple[str, tuple[str, ...]], tuple[Row, Variation]]
ONLY = Variation(label="", overrides=())


def _places(suite: Suite) -> Places:
    """Return the row and the column of each recipe with its settings."""
    return {
        (row.recipe, (*suite.overrides, *row.overrides, *column.overrides)): (row, column)
        for row in suite.rows
        for column in suite.variations or (ONLY,)
    }


def _unnamed(runs: Sequence[_Run]) -> Places:
    """Return a row for each recipe with its settings. Settings that all cells share are not shown."""
    common = set.intersection(*(set(run.overrides) for run in runs))
    found = {}
    for run in runs:
        own = [word for word in run.overrides if word not in common]
        label = ", ".join((run.recipe, *own))
        found[run.recipe, run.overrides] = (Row(label=label, recipe=run.recipe), ONLY)
    return found


def _entries(found: Sequence[_Found], places: Sequence[tuple[Row, Variation]]) -> Iterator[Entry]:
    """Yield the entries of all columns: variations, and pairs of a zoo to train on and a zoo to test on."""
    zoos = _zoos(found)
    names = _names(zoos)
    pairs = list(dict.fromkeys((f.run.zoo.digest, digest) for f in found for digest in _tested(f)))
    several, crossed = len(pairs) > 1, any(source != target for source, target in pairs)
    seeds = len({each.run.seed for each in found})
    by_place: dict[tuple[str, str, str], list[_Found]] = defaultdict(list)
    for each in found:
        by_place[each.row.label, each.within, each.run.zoo.digest].append(each)
    for source, target in sorted(pairs, key=lambda pair: [list(zoos).index(digest) for digest in pair]):
        ends = ""
        if several:
            ends = f"{names[source]} → {names[target]}" if crossed else names[source]
        for row, column in places:
            cells = by_place.get((row.label, column.label, source), [])
            outcomes = _one_each(cells)
            if not any(target in _tested(each) or each.outcome.failed is not None for each in cells):
                continue
            yield Entry(
                row=row.label,
                recipe=row.recipe,
                column=", ".join(word for word in (column.label, ends) if word),
                within=column.label,
                source=names[source] if several else "",
                target=names[target] if several else "",
                digest=target,
                outcomes=outcomes,
                seeds=seeds,
            )


def _one_each(cells: Sequence[_Found]) -> tuple[Outcome, ...]:
    """Return the outcomes of a row by seed, and refuse two of one seed."""
    known: dict[int, _Found] = {}
    for each in cells:
        if (other := known.get(each.run.seed)) is not None:
            raise RunError(
                f"{each.path}: is a second cell of {each.row.label!r} with seed {each.run.seed}, beside "
                f"{other.path.name}; move one of them away"
            )
        known[each.run.seed] = each
    return tuple(known[seed].outcome for seed in sorted(known))


def _tested(found: _Found) -> list[str]:
    """Return the digests of the zoos that a cell was tested on. A failed cell stands for its own zoo."""
    if found.outcome.failed is not None:
        return [found.run.zoo.digest]
    own, *others = [test.digest for test in found.outcome.tests]
    return [own, *others]


def _zoos(found: Sequence[_Found]) -> dict[str, str]:
    """Return the name of each zoo by digest. Zoos that were trained on come first, ordered by name."""
    trained = {each.run.zoo.digest: each.run.label or each.run.zoo.name for each in found}
    tested = {
        test.digest: test.label or test.digest[:8]
        for each in found
        for test in each.outcome.tests
        if test.digest not in trained
    }
    return {
        digest: zoos[digest]
        for zoos in (trained, tested)
        for digest in sorted(zoos, key=lambda digest: zoos[digest])
    }


def _names(zoos: Mapping[str, str]) -> dict[str, str]:
    """Return a name for each zoo that no other zoo has."""
    several = {name for name in zoos.values() if list(zoos.values()).count(name) > 1}
    return {digest: f"{name} {digest[:6]}" if name in several else name for digest, name in zoos.items()}

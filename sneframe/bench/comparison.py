"""Compare the methods of a suite: run the missing cells, and write one table as HTML, CSV and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import evolve, frozen

from sneframe import atomic
from sneframe.bench import cell as cells
from sneframe.bench import pages
from sneframe.bench.cell import Cell
from sneframe.bench.finished import Policy, look, said
from sneframe.bench.header import Header, header
from sneframe.bench.naming import SuiteIdentity, refuse_twice, stem
from sneframe.bench.outcome import Outcome, read_outcome
from sneframe.bench.precheck import check
from sneframe.bench.schedule import run_cells
from sneframe.bench.sheet import Table
from sneframe.bench.table import Entry, Line, lines
from sneframe.bench.zoos import Crossing, StoredZoo, Target, crossings_of, labels_of
from sneframe.compose import compose
from sneframe.config.schema import NONE, RunConfig, ZooConfig, merge, parse_set
from sneframe.config.suite import Row, Suite, Variation
from sneframe.engine import Engine, SerialEngine
from sneframe.errors import ConfigError, Interrupted, MachineError, SneframeError, choices
from sneframe.progress import Reporter
from sneframe.zoo.cache import default_folder


@frozen(kw_only=True)
class ComparisonResult:
    """The result of a comparison: the lines of its table, and its pages."""

    lines: tuple[Line, ...]
    html: Path
    csv: Path
    markdown: Path


@frozen(kw_only=True)
class Setting:
    """The cells of one row and one column of a table: one cell for each seed.

    Args:
        row: row of the suite.
        column: heading of the column. If zoos are crossed, it names the source and the target.
        within: label of the variation, without source and target.
        source: label of the zoo to train on; empty if there is only one zoo.
        target: label of the zoo to test on; empty if there is only one zoo.
        digest: digest of the zoo to test on.
        cells: one cell per seed, or the reason why there are no cells.
    """

    row: Row
    column: str
    within: str
    source: str
    target: str
    digest: str
    cells: tuple[Cell, ...] | str


def compare(
    suite: Suite,
    out: Path | str,
    *,
    train: Sequence[Path | str] = (),
    test: Sequence[Path | str] = (),
    leave_one_out: bool = False,
    zoos: Path | str | None = None,
    retry: bool = False,
    rerun: Sequence[str] = (),
    reuse: bool = False,
    engine: Engine | None = None,
    command: str | None = None,
    reporter: Reporter | None = None,
) -> ComparisonResult:
    """Run the missing cells of a suite, and write the table of all cells.

    A finished cell is run again if the distributions that made it, or their source, have changed.

    Args:
        suite: what to run.
        out: folder of ``cells/`` and of the pages. The pages are named after the suite. If another comparison
            has pages of that name, a hash is appended.
        train: zoos to train on, in place of those of the suite.
        test: zoos to test every model on, in place of those of the suite. Without any, a model is tested on
            the test networks of the zoo that it was trained on.
        leave_one_out: for each zoo of ``train``, train on all other zoos together, and test on that zoo. The
            other zoos are merged under ``out``.
        zoos: folder for zoos that are built; default: the user's cache.
        retry: run failed cells again.
        rerun: labels or recipes of rows whose cells are all run again.
        reuse: use finished cells although the code that made them has changed.
        engine: where the cells run; default: one after the other. Each cell has its own process in any case.
            Commands on the same folder share the cells.
        command: the command that repeats the comparison. The pages show this command.
        reporter: receives progress; default: none.

    Raises:
        ConfigError: ``leave_one_out`` has fewer than two zoos to train on, or has zoos to test on; ``rerun``
            names a row that the suite does not have; a zoo or a row is named twice.
        ZooError: a zoo or a property does not exist. This is found before any cell is run.
        SneframeError: no row has a valid configuration, or the folder cannot be written. A failing cell
            raises nothing; the table shows it.
        Interrupted: after Ctrl-C; finished cells are kept, and their table is written.
    """
    reporter = reporter or Reporter()
    again = _rows_again(suite, rerun)
    folder = Path(out) / "cells"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot write {folder}: {error.strerror or error}") from error
    atomic.sweep(folder, age=60.0)
    crossings = crossings_of(
        suite,
        train=train,
        test=test,
        leave_one_out=leave_one_out,
        merged=Path(out) / "zoos",
        kept=Path(zoos) if zoos is not None else default_folder(),
        reporter=reporter,
    )
    settings = _settings(suite, crossings, divided=not leave_one_out)
    check([setting.cells for setting in settings])
    keys = {cell.key for setting in settings if setting.row in again for cell in _made(setting)}
    policy = Policy(retry=retry, reuse=reuse, rerun=keys)
    digests = [(each.source.digest, [target.digest for target in each.targets]) for each in crossings]
    identity = SuiteIdentity.of(suite, digests)
    try:
        _run(settings, folder, reporter, policy, engine or SerialEngine())
    except KeyboardInterrupt as error:
        _write(suite, settings, folder, identity, reporter, command)
        raise Interrupted("finished cells are kept; run the same command again to continue") from error
    return _write(suite, settings, folder, identity, reporter, command)


def whole_name(recipe: str) -> str:
    """Return the full name of a recipe. The name of a plugin means the plugin's default recipe."""
    return recipe if "/" in recipe else f"{recipe}/default"


# -- what to run -----------------------------------------------------------------------------------


def _settings(suite: Suite, crossings: Sequence[Crossing], *, divided: bool) -> list[Setting]:
    """Return all cells, grouped by row and column.

    Args:
        suite: rows and variations.
        crossings: sources and targets.
        divided: whether a target that is also a source is tested only on the test networks of its split,
            because other models of the same table train on its other networks.
    """
    sources = [crossing.source for crossing in crossings]
    labels = labels_of([*sources, *(target for crossing in crossings for target in crossing.targets)])
    among = {source.digest for source in sources if divided}
    found = []
    for crossing in crossings:
        source, targets = crossing.source, crossing.targets
        matrix = bool(targets) or len(sources) > 1
        others = tuple(
            Target(zoo=target, divided=target.digest in among)
            for target in {target.digest: target for target in targets}.values()
            if target.digest != source.digest
        )
        for column in suite.variations or (Variation(label="", overrides=()),):
            each = [_cells(suite, row, column, source, others) for row in suite.rows]
            for tested in targets or (source,):
                words = [column.label] if column.label else []
                if matrix:
                    words.append(f"{labels[source]} → {labels[tested]}")
                found += [
                    Setting(
                        row=row,
                        column=", ".join(words),
                        within=column.label,
                        source=labels[source] if matrix else "",
                        target=labels[tested] if matrix else "",
                        digest=tested.digest,
                        cells=made,
                    )
                    for row, made in zip(suite.rows, each, strict=True)
                ]
    return found


def _cells(
    suite: Suite, row: Row, column: Variation, source: StoredZoo, targets: tuple[Target, ...]
) -> tuple[Cell, ...] | str:
    """Return a cell for each seed, or the reason why there can be no cells."""
    # The zoo keys of a recipe are ignored: all rows have the networks and splits of the suite.
    zoo = {each.name: NONE if each.default is None else each.default for each in attrs.fields(ZooConfig)}
    zoo |= {"path": str(source.path), "property": suite.property or NONE}
    overrides: dict[str, Any] = {"zoo": {k: list(v) if isinstance(v, tuple) else v for k, v in zoo.items()}}
    if suite.budget is not None:
        overrides["train"] = {"budget": suite.budget}
    words = (*suite.overrides, *row.overrides, *column.overrides)
    try:
        for each in (suite.overrides, row.overrides, column.overrides):
            overrides = merge(overrides, parse_set(each))
        config: RunConfig = compose(row.recipe, None, overrides)
    except SneframeError as error:
        return str(error)
    return tuple(
        Cell(
            recipe=row.recipe,
            overrides=words,
            config=evolve(config, seed=seed),
            zoo=source,
            targets=targets,
        )
        for seed in range(suite.seeds)
    )


# -- running and writing ---------------------------------------------------------------------------


def _rows_again(suite: Suite, rerun: Sequence[str]) -> list[Row]:
    """Return the rows of a suite that ``rerun`` names by label or by recipe.

    Raises:
        ConfigError: there is no such row, or a row is named twice.
    """
    known = {word for row in suite.rows for word in (row.label, row.recipe)}
    for name in rerun:
        if name not in known and whole_name(name) not in known:
            raise ConfigError(f"there is no row {name!r} to run again, {choices(name, known)}")
    refuse_twice("run again", [(name, tuple(_named(suite, name, whole_name(name)))) for name in rerun])
    return [row for row in suite.rows if any(row in _named(suite, name, whole_name(name)) for name in rerun)]


def _named(suite: Suite, *words: str) -> list[Row]:
    return [row for row in suite.rows if {row.label, row.recipe} & {*words}]


def _made(setting: Setting) -> tuple[Cell, ...]:
    return () if isinstance(setting.cells, str) else setting.cells


def _run(
    settings: Sequence[Setting], folder: Path, reporter: Reporter, policy: Policy, engine: Engine
) -> None:
    """Run the missing cells. A seed is run for every row and column before the next seed begins.

    The table therefore soon has a score in every row.
    """
    named = [
        (cell, f"{setting.row.label}{setting.column and f', {setting.column}'}")
        for setting in settings
        for cell in _made(setting)
    ]
    labels = {cell.key: label for cell, label in reversed(named)}
    ordered = sorted((cell for cell, _ in named), key=lambda cell: cell.config.seed)
    found = look(folder, {cell.key: cell for cell in ordered}.values(), policy)
    for line in said(found, labels):
        reporter.say(line)
    missing = [each.cell for each in found if each.missing]
    names = {cell.key: f"{labels[cell.key]}, seed {cell.config.seed}" for cell in missing}
    if missing:
        run_cells(missing, names, folder, policy, engine, reporter)


def _write(
    suite: Suite,
    settings: Sequence[Setting],
    folder: Path,
    identity: SuiteIdentity,
    reporter: Reporter,
    command: str | None,
) -> ComparisonResult:
    entries = [_entry(setting, suite.seeds, folder) for setting in settings]
    table = lines(entries, suite.metric)
    called = stem(folder.parent, suite, identity)
    if called != (plain := suite.name.rpartition("/")[2]):
        reporter.say(
            f"{folder.parent / plain}.html shows another comparison and is kept; this table is {called}"
        )
    paths = {kind: folder.parent / f"{called}.{kind}" for kind in ("html", "csv", "md")}
    shown = Table(
        title=suite.title,
        property=suite.property,
        metric=suite.metric,
        budget=suite.budget,
        cpu_budget=_on_cpu_time(settings),
        lines=table,
        identity=str(identity),
        header=_header(suite, settings, entries, command),
    )
    for kind, render in (("html", pages.html), ("csv", pages.csv), ("md", pages.markdown)):
        atomic.write_bytes(paths[kind], render(shown).encode(errors="replace"))
    return ComparisonResult(lines=table, html=paths["html"], csv=paths["csv"], markdown=paths["md"])


def _on_cpu_time(settings: Sequence[Setting]) -> bool:
    """Return whether the budgets of cells count CPU seconds."""
    return any(cell.config.train.budget_clock == "cpu" for each in settings for cell in _made(each))


def _header(
    suite: Suite, settings: Sequence[Setting], entries: Sequence[Entry], command: str | None
) -> Header:
    made = [cell for setting in settings for cell in _made(setting)]
    zoos = [zoo for cell in made for zoo in (cell.zoo, *(target.zoo for target in cell.targets))]
    return header(
        zoos=[(zoo.name, zoo.digest) for zoo in zoos],
        configs=[cell.config.zoo for cell in made],
        outcomes=[outcome for entry in entries for outcome in entry.outcomes],
        seeds=suite.seeds,
        budget=suite.budget,
        cpu_budget=_on_cpu_time(settings),
        command=command,
        note=suite.note,
    )


def _entry(setting: Setting, seeds: int, folder: Path) -> Entry:
    outcomes: tuple[Outcome, ...]
    if isinstance(setting.cells, str):
        outcomes = (Outcome(seed=0, failed=setting.cells),)
    else:
        found = [cells.find(folder, cell) for cell in setting.cells]
        outcomes = tuple(read_outcome(path) for path in found if path is not None)
    return Entry(
        row=setting.row.label,
        recipe=setting.row.recipe,
        column=setting.column,
        within=setting.within,
        source=setting.source,
        target=setting.target,
        digest=setting.digest,
        outcomes=outcomes,
        seeds=seeds,
    )

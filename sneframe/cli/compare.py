"""Define ``sneframe compare``, which compares methods on the same zoo, splits and seeds in one table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.engines import engine_of, engine_options

if TYPE_CHECKING:
    from rich.console import Console

    from sneframe.bench.comparison import ComparisonResult
    from sneframe.bench.sheet import Table as BenchTable
    from sneframe.bench.table import Line
    from sneframe.config.suite import Suite

SHIPPED = "suites"  #: the suites of this plugin need no prefix
REFERENCES = ("stats/pooled", "stats/mean")  #: a method for any architecture, and one that learns nothing
UNSAID = (
    "markdown",
    "finished",
    "engine",
    "workers",
    "address",
    "retry",
    "rerun",
    "reuse",
    "quiet",
)  #: options that change no number of the table
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType[float]):
    """A time such as ``90``, ``90s``, ``10m`` or ``1.5h``, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a time to seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d*)?)([smh]?)", str(value).strip())
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is not a time such as 90s, 10m or 1h", param, ctx)
        return float(found[1]) * UNITS[found[2]]


class Listed(click.ParamType[tuple[str, ...]]):
    """A list of words, separated by commas."""

    name = "a,b,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split a list at its commas."""
        found = tuple(word.strip() for word in str(value).split(",") if word.strip())
        if not found:
            self.fail("the list is empty; leave the option out instead", param, ctx)
        return found


@click.command()
@click.option("--suite", "name", help="Suite to run, as PLUGIN/NAME, or as NAME if the suite is shipped.")
@click.option(
    "--recipes", type=Listed(), help="Recipes to compare. With --suite: the rows of the suite to run."
)
@click.option("--zoo", help="Folder of the zoo, in place of the suite's.  [default: the demo zoo]")
@click.option("--property", "property_name", help="The property to predict.")
@click.option(
    "--train", type=Listed(), help="Zoos to train on, in place of --zoo. Each zoo gets its own runs."
)
@click.option(
    "--test", type=Listed(), help="Zoos to test every model on.  [default: the test networks of its own zoo]"
)
@click.option(
    "--leave-one-out",
    is_flag=True,
    help="For each zoo of --train, train on all other zoos together, and test on this zoo.",
)
@click.option(
    "--references/--no-references",
    default=None,
    help="Whether to add the rows stats/mean and stats/pooled.  [default: with --train]",
)
@click.option("--seeds", type=click.IntRange(1), help="Number of seeds, which are 0, 1, …  [default: 3]")
@click.option(
    "--budget",
    type=Duration(),
    help="Training time of each run, such as 10m.  [default: the suite's, or no limit]",
)
@click.option(
    "--set",
    "words",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key of every run, such as device=cpu.",
)
@click.option(
    "--metric",
    type=click.Choice(["mse", "r2", "tau", "accuracy"]),
    help="Metric that orders the table.  [default: mse]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="compare", show_default=True, help="Folder to write to."
)
@click.option(
    "--zoos",
    type=click.Path(path_type=Path),
    help="Folder for zoos that are built.  [default: the user's cache]",
)
@engine_options("cells are run")
@click.option("--retry", is_flag=True, help="Run failed cells again.")
@click.option(
    "--rerun",
    multiple=True,
    metavar="RECIPE",
    help="Run all cells of this row again; can be given several times.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="Use finished cells even if the code that made them has changed.",
)
@click.option(
    "--finished",
    is_flag=True,
    help="Show the table of the finished cells in OUT. Nothing is run or written, and no zoo is needed.",
)
@click.option(
    "--markdown",
    is_flag=True,
    help="Print the table as Markdown to standard output, and all else to standard error.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def compare(
    name: str | None,
    recipes: tuple[str, ...] | None,
    zoo: str | None,
    property_name: str | None,
    train: tuple[str, ...] | None,
    test: tuple[str, ...] | None,
    leave_one_out: bool,  # noqa: FBT001  # click passes it by name
    references: bool | None,  # noqa: FBT001
    seeds: int | None,
    budget: float | None,
    words: tuple[str, ...],
    metric: str | None,
    out: Path,
    zoos: Path | None,
    engine: str,
    workers: int | None,
    address: str | None,
    retry: bool,  # noqa: FBT001
    rerun: tuple[str, ...],
    reuse: bool,  # noqa: FBT001
    finished: bool,  # noqa: FBT001
    markdown: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001
) -> None:
    """Run methods on the same zoo, splits and seeds, and write one table of their scores.

    A cell is one recipe with one seed. Every cell runs in its own process. Its outcome is stored under
    OUT/cells, and is used again as long as the code that made the outcome has not changed. So a repeated
    command runs only the missing cells. Several commands on the same folder share its cells. The exit code is
    1 if a cell failed.
    """
    from attrs import evolve

    from sneframe.bench import compare as run_suite
    from sneframe.bench.gathered import gather
    from sneframe.cli.terminal import Terminal
    from sneframe.errors import ConfigError, printable
    from sneframe.progress import Reporter

    if train and zoo:
        raise click.UsageError("--train names the zoos to train on; leave out --zoo")
    if test and not train and not zoo and not name:
        raise click.UsageError("--test needs something to train on: --train, --zoo or --suite")
    if leave_one_out and not train:
        raise click.UsageError("--leave-one-out needs the zoos: --train a.zarr,b.zarr,c.zarr")
    if finished:
        _check_finished(click.get_current_context(), chosen=bool(name or recipes))
    console = None if quiet else Terminal(stderr=markdown)
    if finished and not name and not recipes:
        _show(console, gather(out, metric=metric), markdown=markdown)
        return
    suite = _rows(_suite(name), recipes) if name else _adhoc(recipes, words)
    if zoo and suite.train:
        raise click.UsageError(f"suite {name!r} trains on several zoos; name yours with --train and --test")
    if references or (references is None and train):
        suite = _with_references(suite)
    given: dict[str, Any] = {
        "zoo": zoo,
        "property": property_name,
        "seeds": seeds,
        "budget": budget,
        "metric": metric,
    }
    try:
        suite = evolve(suite, **{key: value for key, value in given.items() if value is not None})
    except ValueError as error:
        raise ConfigError(str(error.args[0])) from error
    suite = evolve(suite, overrides=(*suite.overrides, *words))
    if finished:
        _show(console, gather(out, suite), markdown=markdown)
        return
    result = run_suite(
        suite,
        out,
        train=train or (),
        test=test or (),
        leave_one_out=leave_one_out,
        zoos=zoos,
        retry=retry,
        rerun=rerun,
        reuse=reuse,
        engine=engine_of(engine, workers, address),
        command=_command(click.get_current_context()),
        reporter=Reporter(console),
    )
    if markdown:
        click.echo(result.markdown.read_text(encoding="utf-8"), nl=False)
    elif console is not None:
        _print(console, suite.title, suite.metric, result.lines)
    if console is not None:
        console.print(printable(f"table: {result.html}"), soft_wrap=True)
    _check_all_ran(result)


def _show(console: Console | None, table: BenchTable, *, markdown: bool) -> None:
    """Print the table of finished cells."""
    from sneframe.bench import pages

    if markdown:
        click.echo(pages.markdown(table), nl=False)
    elif console is not None:
        _print(console, table.title, table.metric, table.lines)


def _check_finished(context: click.Context, *, chosen: bool) -> None:
    """Refuse options that --finished would ignore: those that run cells, and those that choose zoos.

    Args:
        context: the context of the command.
        chosen: whether a suite or recipes are named, whose cells other options can choose.
    """
    used = {"suite", "recipes", "out", "metric", "finished", "markdown", "quiet", "property", "budget", "set"}
    used -= set() if chosen else {"property", "budget", "set"}
    for option in context.command.params:
        word = option.opts[0].removeprefix("--")
        given = context.get_parameter_source(option.name or "")
        if word not in used and given is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--finished runs nothing and reads no zoo; leave out --{word}")


def _command(context: click.Context) -> str:
    """Return the command as it was given, without the options that change no number of the table."""
    words = ["sneframe", "compare"]
    for option in context.command.params:
        name = option.name or ""
        if name in UNSAID or context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append((option.opts if value else option.secondary_opts)[0])
        elif option.multiple:
            words += [word for each in value for word in (option.opts[0], each)]
        else:
            words += [option.opts[0], ",".join(value) if isinstance(value, tuple) else f"{value}"]
    return shlex.join(words)


def _suite(name: str) -> Suite:
    from sneframe.plugins import load

    whole = name if "/" in name else f"{SHIPPED}/{name}"
    return load([whole.partition("/")[0]]).suite(whole)


def _rows(suite: Suite, recipes: Sequence[str] | None) -> Suite:
    """Return the suite with only the rows whose label or recipe is in ``recipes``, or with all rows."""
    from attrs import evolve

    from sneframe.bench.naming import refuse_twice
    from sneframe.errors import choices

    if not recipes:
        return suite
    known = {word for row in suite.rows for word in (row.label, row.recipe)}
    recipes = _with_commas(recipes, known)
    for wanted in recipes:
        if wanted not in known:
            raise click.UsageError(f"suite {suite.name!r} has no row {wanted!r}, {choices(wanted, known)}")
    picked = {word: tuple(row for row in suite.rows if word in (row.label, row.recipe)) for word in recipes}
    refuse_twice("compare", [(word, picked[word]) for word in recipes])
    return evolve(suite, rows=[row for row in suite.rows if {row.label, row.recipe} & set(recipes)])


def _with_commas(words: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the words of a list, and join those that are one known label with a comma in it."""
    found: list[str] = []
    for word in words:
        if found and word not in known and (joined := f"{found[-1]}, {word}") in known:
            found[-1] = joined
        else:
            found.append(word)
    return found


def _adhoc(recipes: Sequence[str] | None, words: Sequence[str]) -> Suite:
    """Return a suite with a row for each recipe.

    The configuration of each recipe is checked first, with the values of ``--set`` in ``words``.

    Raises:
        SneframeError: a recipe has no valid configuration, or is named twice.
    """
    from sneframe.bench.comparison import whole_name
    from sneframe.bench.naming import refuse_twice
    from sneframe.compose import recipe
    from sneframe.config.suite import Row, Suite

    if not recipes:
        raise click.UsageError(
            "name what to compare, with --suite inr-frequency or --recipes ONE,ANOTHER; "
            "`sneframe plugins --load` lists suites and recipes"
        )
    refuse_twice("compare", [(word, whole_name(word)) for word in recipes])
    whole = [whole_name(word) for word in recipes]
    for name in whole:
        recipe(name, *words)
    rows = [Row(label=word, recipe=word) for word in whole]
    title = ", ".join(whole) if len(whole) <= 4 else f"{len(whole)} recipes"
    return Suite(name="compare/recipes", title=title, rows=rows)


def _with_references(suite: Suite) -> Suite:
    """Return the suite with the reference rows, which every method should beat."""
    from attrs import evolve

    from sneframe.config.suite import Row

    there = {row.recipe for row in suite.rows}
    more = [Row(label=recipe, recipe=recipe) for recipe in REFERENCES if recipe not in there]
    return evolve(suite, rows=(*suite.rows, *more))


def _print(console: Console, title: str, metric: str, lines: Sequence[Line]) -> None:
    from rich.table import Table

    from sneframe.bench.pages import reason, spread
    from sneframe.bench.sheet import name_of, shown_metrics
    from sneframe.errors import printable

    metrics = shown_metrics(lines, metric)
    table = Table("", *(name_of(each, lines) for each in metrics), title=printable(title))
    for line in lines:
        name = f"{line.row}, {line.column}" if line.column else line.row
        scores = (spread(each, line.scores[each]) for each in metrics)
        table.add_row(printable(name), *scores)
    console.print(table)
    for line in lines:
        if reason(line):
            name = f"{line.row}, {line.column}" if line.column else line.row
            console.print(printable(f"{name}: {reason(line)}"), soft_wrap=True)


def _check_all_ran(result: ComparisonResult) -> None:
    """Check that no cell failed. A method that cannot take the networks of a target has not failed.

    Raises:
        CellsFailed: a cell failed.
    """
    from sneframe.errors import CellsFailed

    failed = [line for line in result.lines if line.failed and line.applicable]
    if failed:
        which = "every cell failed" if not any(line.done for line in result.lines) else "cells failed"
        raise CellsFailed(f"{which}, the first of {failed[0].row}: {failed[0].failed[0]}")

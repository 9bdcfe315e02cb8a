"""Define ``sneframe inspect NETWORK…``, which looks into networks without a run or a zoo."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.networks import PATH, READING

if TYPE_CHECKING:
    from rich.console import Console

    from sneframe.inspection.collection import Summary
    from sneframe.inspection.difference import NetworkDifference
    from sneframe.inspection.network import Inspection

MOST = 24  #: rows of a table that fit on a screen beside the facts
SHORTEST = 12  #: letters that a name keeps on a narrow terminal
SORTS = ("source", "weights", "alpha", "stable_rank", "log_norm", "findings")


def _reading(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(READING):
        command = option(command)
    return command


@click.command()
@click.argument("networks", type=PATH, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--html", type=PATH, help="Write a page with plots to this file.")
@click.option("--all", "every", is_flag=True, help="Print all parameters, not only a screenful.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="source",
    show_default=True,
    help="Column that orders a list of networks.",
)
@click.option(
    "--exact",
    type=click.IntRange(1),
    default=2048,
    show_default=True,
    help="Length of the smaller side of a matrix up to which all singular values are computed.",
)
@click.option(
    "--match/--no-match",
    default=True,
    help="Whether to match the neurons of two networks before they are compared.",
)
@click.option("--save", type=PATH, help="Also import the networks of a folder into a new zoo with this path.")
@_reading
def inspect(
    networks: tuple[Path, ...],
    *,
    as_json: bool,
    html: Path | None,
    every: bool,
    sort: str,
    exact: int,
    match: bool,
    save: Path | None,
    **reading: Any,
) -> None:
    """Look into NETWORKS: what they are, how their weights look, and what is wrong with them.

    One network is shown parameter by parameter. Two files are compared: what changed from the first to the
    second. More networks, or a folder of networks, are listed, each with its nearest by spectrum.
    """
    from sneframe.cli.terminal import Terminal
    from sneframe.errors import FileError, printable
    from sneframe.files.paths import paths_at
    from sneframe.inspection import inspection_page
    from sneframe.inspection.collection import summaries
    from sneframe.inspection.difference import difference
    from sneframe.plugins import readers
    from sneframe.progress import Reporter

    console = Terminal()
    if save is not None and (len(networks) != 1 or not networks[0].is_dir()):
        raise click.UsageError("--save needs one folder of networks")
    known = readers(reading.get("reader"))
    paths = [path for given in networks for path in paths_at(given, known)]
    if save is not None and paths == [networks[0]]:
        raise click.UsageError(f"--save needs a folder of networks, but {networks[0]} is one network")
    if len(paths) == 2 and len(networks) == 2:
        found = difference(*paths, match=match, exact=exact, **reading)
        _print_difference(console, found, as_json=as_json, every=every)
        if html is not None:
            inspection_page.write_difference(found, html)
        return
    errors = Terminal(stderr=True)
    progress = Reporter(errors if errors.is_terminal and len(paths) == 1 else None)
    inspections = [each for path in paths if (each := _inspected(path, len(paths), progress, exact, reading))]
    if len(paths) == 1:
        _print_one(console, inspections[0], as_json=as_json, every=every)
        if html is not None:
            inspection_page.write(inspections[0], html)
        return
    if not inspections:
        raise FileError(f"none of the {len(paths)} networks can be read")
    listed = sorted(summaries(inspections), key=lambda each: _key(getattr(each, sort)))
    _print_list(console, listed, inspections, as_json=as_json)
    if html is not None:
        inspection_page.write_list(listed, html)
    if save is not None:
        _save(networks[0], save, reading)
        if not as_json:
            console.print(printable(f"zoo: {save}"), soft_wrap=True)


def _save(folder: Path, out: Path, reading: dict[str, Any]) -> None:
    """Import the networks of a folder into a new zoo."""
    from sneframe import plugins
    from sneframe.zoo import import_zoo

    importer = plugins.load(["importers"]).importer("importers/files")
    import_zoo(importer, importer.config(**reading), folder, out, lambda *_: None)


def _key(value: Any) -> tuple[bool, Any]:
    return value is None, 0 if value is None else value


def _inspected(
    path: Path, total: int, reporter: Any, exact: int, reading: dict[str, Any]
) -> Inspection | None:
    """Return an inspection of a file. One of several files that cannot be read is left out with a warning."""
    from sneframe.errors import ArchitectureError, FileError
    from sneframe.inspection.network import inspect as inspect_network

    try:
        return inspect_network(path, exact=exact, reporter=reporter, **reading)
    except (FileError, ArchitectureError) as error:
        if total == 1:
            raise
        warnings.warn(f"left out: {error}", stacklevel=2)
        return None


def _print_one(console: Console, found: Inspection, *, as_json: bool, every: bool) -> None:
    from sneframe.errors import printable
    from sneframe.inspection import in_words

    if as_json:
        _json(in_words.plain(found))
        return
    console.print(printable(found.source), soft_wrap=True)
    for name, text in in_words.facts(found):
        console.print(f"  {name:<8} {text}", soft_wrap=True)
    for note in found.notes:
        console.print(printable(f"  note     {note}"), soft_wrap=True)
    matrices = [each for each in found.parameters if each.spectrum is not None or each.lacking]
    rows = [(each.name, *in_words.row(each)) for each in (found.parameters if every else matrices)]
    if rows:
        _print_table(console, ("", *in_words.COLUMNS), rows, every=every, what="matrices")
    vectors = len(found.parameters) - len(matrices)
    if vectors and not every:
        console.print(f"{vectors} vectors are not listed; --all lists them")
    for each in found.findings:
        mark = "!" if each.serious else "-"
        names = printable(in_words.listed(each.parameters))
        console.print(f"{mark} {each.kind}: {names}: {each.text}", soft_wrap=True)
    if not found.findings:
        console.print("nothing unusual was found")


def _print_table(
    console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]], *, every: bool, what: str
) -> None:
    """Print a table, or its first rows. On a terminal, long names lose their start."""
    from sneframe.errors import printable

    shown = rows if every or len(rows) <= MOST else rows[:MOST]
    widths = [max(len(row[column]) for row in (heads, *shown)) for column in range(len(heads))]
    if console.is_terminal:
        widths[0] = min(widths[0], max(SHORTEST, console.width - sum(width + 2 for width in widths[1:])))
    for name, *cells in (heads, *shown):
        cut = printable(name if len(name) <= widths[0] else f"…{name[1 - widths[0] :]}")
        others = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        console.print("  ".join((cut.ljust(widths[0]), *others)).rstrip(), soft_wrap=True)
    if len(shown) < len(rows):
        console.print(f"{len(rows) - len(shown)} more {what}; --all lists them")


def _print_difference(console: Console, found: NetworkDifference, *, as_json: bool, every: bool) -> None:
    from sneframe.errors import printable
    from sneframe.inspection import in_words

    if as_json:
        _json(in_words.plain_difference(found))
        return
    console.print(printable(f"from {found.first} to {found.second}"), soft_wrap=True)
    console.print(in_words.verdict(found), soft_wrap=True)
    console.print(found.matched, soft_wrap=True)
    for group, count in found.moved.items():
        text = f"  {count} neurons of group {group} have another place in the second"
        console.print(printable(text), soft_wrap=True)
    rows = list(in_words.change_rows(found))
    if rows:
        _print_table(console, ("", *in_words.CHANGED), rows, every=every, what="changed parameters")
    _print_names(console, f"only in {found.first}", found.only_first)
    _print_names(console, f"only in {found.second}", found.only_second)
    _print_names(
        console, "other shape", [f"{name} {one} → {other}" for name, (one, other) in found.reshaped.items()]
    )


def _print_names(console: Console, what: str, names: Iterable[str]) -> None:
    from sneframe.errors import printable
    from sneframe.inspection import in_words

    if found := list(names):
        console.print(printable(f"{what}: {in_words.listed(found, 6)}"), soft_wrap=True)


def _print_list(
    console: Console, listed: Sequence[Summary], inspections: Sequence[Inspection], *, as_json: bool
) -> None:
    import attrs

    from sneframe.errors import printable
    from sneframe.inspection import in_words

    if as_json:
        _json({"networks": [attrs.asdict(each) for each in listed]})
        return
    folder = os.path.commonpath([Path(each.source).parent for each in listed])
    named = [in_words.below(each, folder) for each in listed]
    console.print(printable(f"in {folder or '.'}:"), soft_wrap=True)
    rows = [(each.source, *in_words.summary_row(each)) for each in named]
    _print_table(console, ("", *in_words.SUMMARY), rows, every=True, what="networks")
    for each in inspections:
        for finding in each.findings:
            if finding.serious:
                console.print(printable(f"! {each.source}: {finding.kind}: {finding.text}"), soft_wrap=True)


def _json(content: Any) -> None:
    import json

    # JSON has no NaN. Numbers that are not finite become null before they get here.
    click.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))

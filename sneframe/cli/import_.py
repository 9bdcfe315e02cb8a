"""Define ``sneframe zoo import NAME``. The configuration of each importer determines its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.engines import engine_of, engine_parameters
from sneframe.cli.offers import Offers
from sneframe.cli.options import configured, options

if TYPE_CHECKING:
    from sneframe.zoo.importer import ImportResult, ZooImporter

LINES = 8  #: number of kinds of notes and of reasons that the summary shows
MISSING = 12  #: number of properties with missing values that are named
MANY = 0.1  #: if a larger fraction is left out, the summary gives the commonest reason


def _command(name: str, importer: ZooImporter) -> click.Command:
    own: list[click.Parameter] = [
        click.Option(["--out"], type=click.Path(path_type=Path), help="Folder of the zoo to make."),
        click.Option(["--name"], help="Name of the zoo.  [default: the name of SRC]"),
        click.Option(
            ["--description"], default="", help="One paragraph about the zoo, which the zoo stores."
        ),
        click.Option(["--licence"], default="", help="Licence of the weights, which the zoo stores."),
        click.Option(["--overwrite"], is_flag=True, help="Replace an existing zoo."),
        click.Option(
            ["--dry-run"], is_flag=True, help="Read everything and print the summary, but write nothing."
        ),
        *engine_parameters("files are read"),
    ]

    def callback(
        src: Path,
        out: Path | None,
        *,
        overwrite: bool,
        dry_run: bool,
        engine: str,
        workers: int | None,
        address: str | None,
        **values: Any,
    ) -> None:
        import attrs

        from sneframe.cli.terminal import Terminal
        from sneframe.errors import Interrupted
        from sneframe.progress import Reporter
        from sneframe.zoo import import_zoo
        from sneframe.zoo.importer import engine_for, preview

        header = {key: values.pop(key) for key in ("name", "description", "licence")}
        config = configured(f"zoo import {name}", importer.config, values)
        if out is None and not dry_run:
            raise click.UsageError("Missing option '--out', the folder of the zoo to make (or --dry-run).")
        where = engine_for(importer, engine_of(engine, workers, address))
        reporter = Reporter(Terminal())
        try:
            with reporter.bar(f"zoo import {name}", unit="networks") as advance:
                if dry_run or out is None:
                    done = preview(importer, config, src, advance, engine=where, out=out, overwrite=overwrite)
                else:
                    done = import_zoo(
                        importer, config, src, out, advance, engine=where, **header, overwrite=overwrite
                    )
        except KeyboardInterrupt as error:
            raise Interrupted("nothing was written" if out is None else f"{out} was not made") from error
        code = "module" in attrs.fields_dict(importer.config)
        _show(done, "dry run" if dry_run else f"zoo: {out}", code=code)

    src = click.Argument(["src"], type=click.Path(path_type=Path))
    params = [src, *options(f"importer {importer.name!r}", importer.config, own), *own]
    return click.Command(name, callback=callback, params=params, help=importer.help)


@click.group("import", cls=Offers, shipped="importers", noun="importer", make=_command)
def import_() -> None:
    """Make a zoo from networks that were trained elsewhere."""


def _show(done: ImportResult, what: str, *, code: bool) -> None:
    """Print what was read, by which reader, what was left out and why, and where the symmetry comes from.

    Args:
        done: the result of the import.
        what: the first words of the summary, which say what was made.
        code: whether the importer takes a module factory.
    """
    from sneframe.architecture.origin import sentences
    from sneframe.cli.tables import cells, table
    from sneframe.cli.terminal import Terminal, say
    from sneframe.errors import counted

    architectures = counted(done.architectures, "architecture")
    say(f"{what}, {counted(done.networks, 'network')} of {architectures}")
    if done.unhealthy:
        say(f"unhealthy: {counted(done.unhealthy, 'network')}, with weights that are not finite")
    rows = table("", "count", "for example")
    for reader, networks in done.readers.items():
        rows.add_row(*cells(f"read by {reader}", networks, ""))
    for kind in done.notes[:LINES]:
        rows.add_row(*cells("note", kind.count, f"{kind.source}: {kind.example}"))
    for kind in done.reasons[:LINES]:
        rows.add_row(*cells("left out", kind.count, f"{kind.source}: {kind.example}"))
    if hidden := sum(kind.count for kind in done.reasons[LINES:]):
        rows.add_row(*cells("left out", hidden, "for other reasons"))
    if rows.row_count:
        Terminal().print(rows)
    for line in sentences(done.symmetry, code="--module" if code else ""):
        say(line)
    lacking = [f"{name} ({done.networks - n})" for name, n in done.properties.items() if n < done.networks]
    if lacking:
        more = f", and {len(lacking) - MISSING} more" if len(lacking) > MISSING else ""
        names = ", ".join(lacking[:MISSING])
        say(f"properties that networks lack, with the number of these networks: {names}{more}")
    if done.skipped:
        say(_left_out(done))
    if done.ignored:
        endings = ", ".join(f"{ending} {count}" for ending, count in done.ignored.items())
        files = counted(sum(done.ignored.values()), "file")
        say(f"passed over, as texts, settings or pictures: {files} ({endings})")


def _left_out(done: ImportResult) -> str:
    """Return the line about files that were left out, with the commonest reason if there are many."""
    from sneframe.errors import counted

    files, most = counted(len(done.skipped), "file"), done.reasons[0]
    line = f"left out: {files}"
    if len(done.skipped) > MANY * (len(done.skipped) + done.networks):
        times = f"most often ({most.count} times)" if most.count > 1 else "for example"
        line += f", {times} because: {most.example}"
    return line if done.listed is None else f"{line}; the reasons are in {done.listed}"

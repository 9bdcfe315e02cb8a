"""Define ``sneframe report RUN``, which writes the report of a finished run again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write report.html of the finished run RUN again, and print its path."""
    from sneframe.cli.terminal import say
    from sneframe.report import write_report

    say(str(write_report(run)))

"""Print to standard output. Names are printed literally, and a closed pipe is no error."""

from __future__ import annotations

import os
import sys

import click
from rich.console import Console

from sneframe.errors import printable


class Terminal(Console):
    """Standard output on which ``[/b]`` in a name is plain text, not markup."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Print nothing more. A run goes on when the reader of its output leaves."""
        self.quiet = True
        silence()


def silence() -> None:
    """Discard all further output, including the output that the interpreter flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def say(line: str) -> None:
    """Print one line, without the control codes that names may hold."""
    click.echo(printable(line))

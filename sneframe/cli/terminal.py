"""Print to standard output. Names are printed literally, and a closed pipe is no error."""

from __future__ import annotations

import os
import sys

import click
from rich.console import Console

from sneframe.errors import printable


class Terminal(Console):
    """Standard output on which ``[/b]`` in a name is plain text, not markup.

    Args:
        stderr: whether to print to standard error instead, because standard output holds a result.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, stderr=stderr)

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

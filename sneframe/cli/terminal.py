"""What is printed for people: names come out as they stand, and a reader who has gone is no error."""

from __future__ import annotations

import os
import sys

import click
from rich.console import Console

from sneframe.errors import printable


class Terminal(Console):
    """Standard output, on which ``[/b]`` in a name is text and no markup."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Be quiet from now on: a run is worth more than its lines, so it goes on when its reader leaves."""
        self.quiet = True
        silence()


def silence() -> None:
    """Let what is still printed go nowhere, the last flush of the interpreter too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def say(line: str) -> None:
    """Print one line that holds names from outside."""
    click.echo(printable(line))

"""Report progress as a bar on a terminal, or as lines on another console. Without a console, be silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sneframe.errors import printable


class Advance(Protocol):
    """A function that reports how far some work has come."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` items are finished, and show ``note`` beside the counts."""


SECONDS_BETWEEN_LINES = 10.0


def _ignore(done: int, total: int, note: str = "") -> None:
    """Report nothing."""


def _paced(advance: Advance, unit: str) -> Advance:
    """Return a function that calls ``advance`` with the pace and the time left added to each note."""
    begun, before = time.monotonic(), -1

    def paced(done: int, total: int, note: str = "") -> None:
        nonlocal begun, before
        if before < 0:
            begun, before = time.monotonic(), done
        words = [note] if note else []
        if (made := done - before) > 0 and (seconds := time.monotonic() - begun) > 0:
            words.append(f"{made / seconds:.3g} {unit}/s")
            if done < total:
                words.append(f"{timedelta(seconds=round(seconds / made * (total - done)))} left")
        advance(done, total, ", ".join(words))

    return paced


class Reporter:
    """Reports what a run is doing.

    Args:
        console: where to print; without one the reporter is silent.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print one line."""
        if self._console is not None:
            self._console.print(printable(line), highlight=False, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, unit: str = "") -> Iterator[Advance]:
        """Yield a function to call with (done, total, note) as the work proceeds.

        Args:
            label: what is being done.
            unit: unit of the counts, such as ``networks``. With a unit, each note says how many are done in a
                second and how much time is left. Work before the first call does not count for the pace.
        """
        with self._shown(label, timed=not unit) as advance:
            yield _paced(advance, unit) if unit else advance

    @contextmanager
    def _shown(self, label: str, *, timed: bool) -> Iterator[Advance]:
        if self._console is None:
            yield _ignore
        elif self._console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                *([TimeRemainingColumn()] if timed else []),
                TextColumn("{task.fields[note]}", markup=False),
            )
            with Progress(*columns, console=self._console) as progress:
                task = progress.add_task(label, total=None, note="")
                yield lambda done, total, note="": progress.update(
                    task, completed=done, total=total, note=note
                )
        else:
            last = time.monotonic()

            def line(done: int, total: int, note: str = "") -> None:
                nonlocal last
                if done == total or time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                    last = time.monotonic()
                    self.say(f"{label} {done}/{total} {note}".rstrip())

            yield line

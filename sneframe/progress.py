"""Report progress as a bar on a terminal, or as lines on another console. Without a console, be silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sneframe.errors import printable


class Advance(Protocol):
    """A function that reports how far some work has come."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` items are finished, and show ``note`` beside the counts."""


SECONDS_BETWEEN_LINES = 10.0
#: Seconds in the units of a pace. The shortest unit in which at least one item is done is shown.
PER = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _ignore(done: int, total: int, note: str = "") -> None:
    """Report nothing."""


@final
class Pace:
    """Measures how many items are done in a second, and how long the rest takes.

    Items that were done before the first call of :meth:`advance` do not count for the pace.

    Args:
        unit: what the items are, such as ``networks``.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._before = self._done = self._total = 0
        self._begun: float | None = None
        self._last = 0.0

    def advance(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` items are finished now."""
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._before = now, done
        if done != self._done or total != self._total:
            self._done, self._total, self._last = done, total, now

    def words(self) -> str:
        """Return the pace and the time left, or no words if no item has been finished yet."""
        made = self._done - self._before
        seconds = self._last - (self._begun or 0.0)
        if made <= 0 or seconds <= 0:
            return ""
        each, left = seconds / made, self._total - self._done
        per = next((name for name, length in PER.items() if length >= each), "h")
        words = f"{PER[per] / each:.3g} {self._unit}/{per}"
        # The time left runs on between two items. An item that takes longer than those before it may be
        # finished at any moment.
        remaining = max(each * left - (time.monotonic() - self._last), each * (left - 1))
        return f"{words}, about {rounded(remaining)} left" if left > 0 and remaining > 0 else words


def rounded(seconds: float) -> str:
    """Return a time as a person would say it: ``20 s``, ``3 min``, ``2 h 10 min`` or ``3 days``."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(minutes / 60 / 24)} days"


class Reporter:
    """Reports what a run is doing.

    Args:
        console: where to print; without one the reporter is silent.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._live: Progress | None = None  # on a terminal, while a bar is shown

    def say(self, line: str) -> None:
        """Print one line."""
        if self._console is not None:
            self._console.print(printable(line), highlight=False, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, unit: str = "") -> Iterator[Advance]:
        """Yield a function to call with (done, total, note) as the work proceeds.

        A bar inside another one, for a part of its work, is shown below it, and is removed when it ends.

        Args:
            label: what is being done.
            unit: unit of the counts, such as ``networks``. With a unit, it is shown how many are done in a
                second, a minute or an hour, and about how much time is left. Work before the first call does
                not count for the pace.
        """
        pace = Pace(unit) if unit else None
        if self._console is None:
            yield _ignore
        elif not self._console.is_terminal:
            yield self._lines(label, pace)
        elif self._live is not None:
            with _task(self._live, label, pace) as advance:
                yield advance
        else:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _TimeLeft(),
                TextColumn("{task.fields[note]}", markup=False),
            )
            with Progress(*columns, console=self._console) as live:
                self._live = live
                try:
                    with _task(live, label, pace, keep=True) as advance:
                        yield advance
                finally:
                    self._live = None

    def _lines(self, label: str, pace: Pace | None) -> Advance:
        """Return a function that prints a line at the end, and every few seconds before it."""
        last = time.monotonic()

        def line(done: int, total: int, note: str = "") -> None:
            nonlocal last
            if pace is not None:
                pace.advance(done, total)
            if done == total or time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                words = ", ".join(word for word in (note, pace.words() if pace is not None else "") if word)
                self.say(f"{label} {done}/{total} {words}".rstrip())

        return line


@contextmanager
def _task(progress: Progress, label: str, pace: Pace | None, *, keep: bool = False) -> Iterator[Advance]:
    """Show a bar of its own while the block runs, and afterwards if ``keep`` is true."""
    task = progress.add_task(label, total=None, note="", pace=pace)

    def advance(done: int, total: int, note: str = "") -> None:
        if pace is not None:
            pace.advance(done, total)
        progress.update(task, completed=done, total=total, note=note)

    try:
        yield advance
    finally:
        if not keep:
            progress.remove_task(task)


class _TimeLeft(ProgressColumn):
    """The pace and the time left of a bar with a unit; the remaining time of another bar."""

    def __init__(self) -> None:
        super().__init__()
        self._remaining = TimeRemainingColumn()

    def render(self, task: Task) -> Text:
        """Return the words for a task."""
        pace: Pace | None = task.fields["pace"]
        return self._remaining.render(task) if pace is None else Text(pace.words(), style="cyan")

"""Progress: how fast the work is, and how long it takes."""

import io

import pytest
from rich.console import Console

from sneframe import progress
from sneframe.progress import Pace, Reporter, rounded


@pytest.fixture
def lines(monkeypatch):
    """Report 0, then 10 seconds a call, to a file; what was written."""
    now = iter(range(0, 10_000, 5))  # asked twice a call: for the pace, and for whether to print
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    written = io.StringIO()

    def report(*pairs, unit="networks"):
        with Reporter(Console(file=written, force_terminal=False, width=200)).bar(
            "zoo", unit=unit
        ) as advance:
            for pair in pairs:
                advance(*pair)
        return written.getvalue().splitlines()

    return report


def test_pace_and_time_left_are_shown(lines):
    """A line shows the pace and the time left; the last line shows no time left."""
    first, second, last = lines((0, 100), (20, 100), (100, 100))
    assert first == "zoo 0/100"
    assert second.startswith("zoo 20/100 ")
    assert second.endswith(" left")
    assert "networks/s" in second
    assert "left" not in last


def test_earlier_work_does_not_count_for_the_pace(monkeypatch):
    """What was done before the first call does not count for the pace."""
    now, written = [0.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Reporter(Console(file=written, force_terminal=False, width=200)).bar(
        "zoo", unit="networks"
    ) as advance:
        now[0] = 100.0
        advance(500, 1000)
        now[0] = 110.0
        advance(520, 1000, "block 3")
    # 20 networks in 10 seconds, and 480 are left.
    assert written.getvalue().splitlines() == [
        "zoo 500/1000",
        "zoo 520/1000 block 3, 2 networks/s, about 4 min left",
    ]


def test_without_a_unit_nothing_is_added(lines):
    """Without a unit there is no pace."""
    assert lines((1, 3), (3, 3), unit="") == ["zoo 1/3", "zoo 3/3"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it, and a pace that is measured with it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_slow_work_is_counted_by_the_minute_or_hour(clock):
    """Four cells in two minutes are 2 cells/min; one in half an hour is 2 cells/h."""
    pace = Pace("cells")
    pace.advance(0, 48)
    clock[0] = 120.0
    pace.advance(4, 48)
    assert pace.words() == "2 cells/min, about 22 min left"
    slow = Pace("cells")
    slow.advance(3, 9)
    clock[0] += 1800.0
    slow.advance(4, 9)
    assert slow.words() == "2 cells/h, about 2 h 30 min left"


def test_the_time_left_runs_on_between_two_items(clock):
    """Of 5 cells of 60 seconds one is done. The time left falls, but not below that of 3 cells."""
    pace = Pace("cells")
    pace.advance(0, 5)
    clock[0] = 60.0
    pace.advance(1, 5)
    said = []
    for clock[0] in (60.0, 90.0, 120.0, 600.0):
        pace.advance(1, 5)  # a note about the cell that runs
        said.append(pace.words())
    assert said == [
        "1 cells/min, about 4 min left",
        "1 cells/min, about 4 min left",
        "1 cells/min, about 3 min left",
        "1 cells/min, about 3 min left",
    ]


def test_a_last_item_that_is_late_has_no_time_left(clock):
    """Nothing is said about the time left if the last item takes longer than the others."""
    pace = Pace("files")
    pace.advance(0, 2)
    clock[0] = 10.0
    pace.advance(1, 2)
    assert pace.words() == "6 files/min, about 10 s left"
    clock[0] = 25.0
    assert pace.words() == "6 files/min"


def test_nothing_is_said_before_the_first_item_is_done(clock):
    """Without a finished item there is no pace."""
    pace = Pace("files")
    assert pace.words() == ""
    pace.advance(3, 9)
    clock[0] = 10.0
    assert pace.words() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min"),
        (3599, "1 h"),
        (7800, "2 h 10 min"),
        (400_000, "5 days"),
    ],
)
def test_times_are_rounded(seconds, words):
    """A time has as many digits as a person would say."""
    assert rounded(seconds) == words


def test_a_bar_in_a_bar_is_shown_on_a_terminal():
    """Two bars are open at once. Both are shown, and the outer one goes on after the inner one ends."""
    written = io.StringIO()
    reporter = Reporter(Console(file=written, force_terminal=True, width=120))
    with reporter.bar("files", unit="files") as outer:
        outer(0, 2)
        with reporter.bar("encoding one", unit="weights") as inner:
            inner(5, 10)
        outer(2, 2)
    shown = written.getvalue()
    assert shown.index("0/2") < shown.index("encoding one") < shown.rindex("2/2")

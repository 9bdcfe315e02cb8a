"""Progress: how fast the work is, and how long it takes."""

import io

import pytest
from rich.console import Console

from sneframe import progress
from sneframe.progress import Reporter


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
    times = iter([0.0, 100.0, 110.0])  # made, first call, second call
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    notes = []
    paced = progress._paced(lambda done, total, note="": notes.append(note), "networks")
    paced(500, 1000)
    paced(520, 1000, "block 3")
    assert notes == ["", "block 3, 2 networks/s, 0:04:00 left"]  # 20 in 10 seconds, 480 to go


def test_without_a_unit_nothing_is_added(lines):
    """Without a unit there is no pace."""
    assert lines((1, 3), (3, 3), unit="") == ["zoo 1/3", "zoo 3/3"]

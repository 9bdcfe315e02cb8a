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

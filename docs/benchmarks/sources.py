"""Draws what messages, statistics and probes add: ``python docs/benchmarks/sources.py``.

It reads the finished cells in docs/benchmarks/probe-ablation and docs/benchmarks/cnn-probe-ablation, and
writes docs/images/probe-ablation.svg.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import frozen
from sneframe_suites.probe import ABLATION, CLASSIFIERS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from svg import Drawing, write  # noqa: E402  # it lies in docs/, which is no package

CHART = HERE.parent / "images" / "probe-ablation.svg"
#: The settings of the rows of each suite, by the name of the row.
ROWS = {
    suite.name.removeprefix("suites/"): {row.label: set(row.overrides) for row in suite.rows}
    for suite in (ABLATION, CLASSIFIERS)
}
LABELS = tuple(ROWS["probe-ablation"])
TOP, STEP, NAMES = 78, 34, 252  #: first row, distance of rows, right end of the names
WIDTH, GAP = 200, 34  #: of a panel, and between panels


@frozen(kw_only=True)
class Panel:
    """One property of the rows.

    Args:
        title: what is measured.
        better: which direction is better.
        suite: the folder of the cells.
        zoo: the number of the test zoo.
        metric: the metric of the cells.
        ends: the ends of the axis.
        ticks: where the axis has numbers.
        logarithmic: whether the axis is logarithmic.
    """

    title: str
    better: str
    suite: str
    zoo: int
    metric: str
    ends: tuple[float, float]
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def across(self, value: float) -> float:
        """Return how far a value is from the left end, in pixels."""
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        first, last = map(scale, self.ends)
        return WIDTH * (scale(value) - first) / (last - first)


PANELS = (
    Panel(
        title="INRs: test MSE, frequency",
        better="lower is better",
        suite="probe-ablation",
        zoo=0,
        metric="mse",
        ends=(3e-5, 20.0),
        ticks=(1e-4, 1e-2, 1.0),
        logarithmic=True,
    ),
    Panel(
        title="CNNs: τ, MNIST → MNIST",
        better="higher is better",
        suite="cnn-probe-ablation",
        zoo=0,
        metric="tau",
        ends=(0.7, 0.85),
        ticks=(0.7, 0.75, 0.8),
    ),
    Panel(
        title="CNNs: τ, MNIST → CIFAR",
        better="higher is better",
        suite="cnn-probe-ablation",
        zoo=2,
        metric="tau",
        ends=(0.6, 0.8),
        ticks=(0.6, 0.65, 0.7, 0.75, 0.8),
    ),
)


def cells(suite: str) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Yield the row and the tests of each finished cell."""
    for path in sorted((HERE / suite / "cells").glob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        (row,) = (row for row, words in ROWS[suite].items() if words <= set(cell["overrides"]))
        yield row, cell["tests"]


def values(panel: Panel) -> dict[str, list[float]]:
    """Return the values of each row, one for each seed."""
    found: dict[str, list[float]] = {row: [] for row in LABELS}
    for row, tests in cells(panel.suite):
        found[row].append(tests[panel.zoo]["scores"][panel.metric])
    return found


def sources() -> Drawing:
    """Draw the mean over seeds of each row, and a line from its smallest to its largest value."""
    width = NAMES + 14 + len(PANELS) * (WIDTH + GAP)
    bottom = TOP + STEP * len(LABELS) - 12
    drawing = Drawing(
        width,
        bottom + 52,
        "Error and rank correlation with messages, statistics, probes, pairs, and all",
    )
    for number, row in enumerate(LABELS):
        drawing.text(NAMES, TOP + STEP * number + 5, row, "plus end" if number == len(LABELS) - 1 else "end")
    for number, panel in enumerate(PANELS):
        left = NAMES + 14 + number * (WIDTH + GAP)
        drawing.text(left, 28, panel.title)
        drawing.text(left, 48, panel.better, "quiet")
        for tick in panel.ticks:
            x = left + panel.across(tick)
            drawing.path([(x, TOP - 16), (x, bottom)], "grid")
            drawing.text(x, bottom + 22, f"{tick:g}", "quiet middle")
        for place, seeds in enumerate(values(panel).values()):
            y = TOP + STEP * place
            drawing.path([(left + panel.across(end), y) for end in (min(seeds), max(seeds))], "axis")
            style = "plus" if place == len(LABELS) - 1 else "head"
            drawing.circle(left + panel.across(fmean(seeds)), y, 5, style)
    drawing.text(NAMES + 14, bottom + 44, "points: mean of 3 seeds; lines: smallest to largest", "quiet")
    return drawing


if __name__ == "__main__":
    write({CHART: sources()})

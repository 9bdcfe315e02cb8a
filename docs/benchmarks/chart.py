"""Draws error against training time, one point for each method: ``python docs/benchmarks/chart.py``.

It reads the finished cells in docs/benchmarks/inr-frequency and writes docs/images/error-time.svg.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from svg import Drawing, write  # noqa: E402  # it lies in docs/, which is no package

CHART = HERE.parent / "images" / "error-time.svg"
SECONDS, ERRORS = (0.1, 1000.0), (5e-6, 12.0)  #: ranges of the axes, which are logarithmic
LEFT, TOP, RIGHT, BOTTOM = 84, 46, 620, 560

#: Where the name of each method stands: beside the point or above it, and by how many pixels it is moved.
LABELS = {
    "probe/fair": ("end", -10, 5),
    "sne/probe-fair": ("end", -10, 5),
    "sne/message-fair": ("end", -4, -10),
    "nfn/nft-fair": ("end", -8, 23),
    "dwsnet/fair": ("end", -10, 6),
    "nfn/hnp-fair": ("end", -10, 4),
    "stats/boosting": ("start", 10, 5),
    "sne/fair": ("end", -10, 0),
    "deepsets/fair": ("end", -10, 0),
    "stats/ridge": ("start", 10, 5),
    "nfn/np-fair": ("end", -10, 4),
    "mlp/fair": ("start", 10, 22),
}


def cells() -> dict[str, list[Mapping[str, float]]]:
    """Return for each recipe and seed the test error, the training seconds and the error of the mean."""
    rows: dict[str, list[Mapping[str, float]]] = {}
    for path in sorted((HERE / "inr-frequency" / "cells").glob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        numbers = {
            "mse": cell["tests"][0]["scores"]["mse"],
            "seconds": cell["seconds"]["train"],
            "mean": cell["baseline"]["mse"],
        }
        rows.setdefault(cell["recipe"], []).append(numbers)
    return rows


def along(value: float, ends: tuple[float, float], start: float, stop: float) -> float:
    """Return the pixel of a value on a logarithmic axis."""
    return start + (stop - start) * math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def across(seconds: float) -> float:
    """Return x."""
    return along(seconds, SECONDS, LEFT, RIGHT)


def up(error: float) -> float:
    """Return y."""
    return along(error, ERRORS, BOTTOM, TOP)


def chart() -> Drawing:
    """Draw the mean over seeds of each method, and a line from its smallest to its largest error."""
    rows = cells()
    drawing = Drawing(640, 620, "Test error against training time of twelve methods on 3000 sine networks")
    drawing.text(16, 28, "test MSE (frequency), 3 seeds", "quiet")
    drawing.text(RIGHT, BOTTOM + 46, "training time", "quiet end")
    for error in (1e-5, 1e-4, 0.001, 0.01, 0.1, 1.0):
        drawing.path([(LEFT, up(error)), (RIGHT, up(error))], "grid")
        drawing.text(LEFT - 8, up(error) + 5, f"{error:.5f}".rstrip("0").rstrip("."), "quiet end")
    for seconds, words in ((0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min")):
        drawing.path([(across(seconds), BOTTOM), (across(seconds), BOTTOM + 5)], "axis")
        drawing.text(across(seconds), BOTTOM + 23, words, "quiet middle")
    drawing.path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis")
    mean = next(iter(rows.values()))[0]["mean"]
    drawing.path([(LEFT, up(mean)), (RIGHT, up(mean))], "axis dashed")
    drawing.text(LEFT + 4, up(mean) + 18, "predict the mean", "quiet")
    for recipe, seeds in rows.items():
        x, y = across(fmean(s["seconds"] for s in seeds)), up(fmean(s["mse"] for s in seeds))
        ends = sorted(s["mse"] for s in seeds)
        drawing.path([(x, up(ends[0])), (x, up(ends[-1]))], "axis")
        anchor, dx, dy = LABELS[recipe]
        style = "plus" if recipe.startswith("sne/") else "ink"
        drawing.circle(x, y, 5, "plus" if recipe.startswith("sne/") else "head")
        drawing.text(x + dx, y + dy, recipe, f"{style} {anchor}")
    return drawing


if __name__ == "__main__":
    write({CHART: chart()})

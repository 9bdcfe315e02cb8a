"""Draws the error and the training time of every method: ``python docs/benchmarks/chart.py``.

It reads the finished cells in docs/benchmarks/inr-frequency and writes docs/images/error-time.svg.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from svg import Drawing, write  # noqa: E402  # it lies in docs/, which is no package

CHART = HERE.parent / "images" / "error-time.svg"
WIDTH, TOP, ROW = 860, 74, 26
ERROR, TIME = (250, 570), (620, 835)  #: left and right end of both panels, in pixels
ERRORS, SECONDS = (5e-6, 20.0), (0.1, 1000.0)  #: ranges of the axes, which are logarithmic
EVALUATES = ("probe/", "sne/probe", "neural-graph/fair", "neural-graph/transformer")
Cells = Mapping[str, Sequence[Mapping[str, float]]]


def cells() -> Cells:
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


def along(value: float, ends: tuple[float, float], panel: tuple[int, int]) -> float:
    """Return the pixel of a value on a logarithmic axis."""
    fraction = math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    return panel[0] + (panel[1] - panel[0]) * min(1.0, max(0.0, fraction))


def chart() -> Drawing:
    """Draw a row for each method: its mean error, its smallest and largest error, and its training time."""
    rows = sorted(cells().items(), key=lambda row: fmean(seed["mse"] for seed in row[1]))
    bottom = TOP + ROW * len(rows)
    drawing = Drawing(
        WIDTH, bottom + 44, f"Test error and training time of {len(rows)} methods on sine networks"
    )
    drawing.text(ERROR[0], 28, "test MSE of the frequency", "title")
    drawing.text(TIME[0], 28, "training time", "title")
    for error, words in (
        (1e-5, "0.00001"),
        (1e-4, ""),
        (1e-3, "0.001"),
        (0.01, "0.01"),
        (0.1, "0.1"),
        (1, "1"),
    ):
        x = along(error, ERRORS, ERROR)
        drawing.path([(x, TOP - 14), (x, bottom)], "grid")
        drawing.text(x, TOP - 20, words, "quiet middle")
    for seconds, words in ((1, "1 s"), (10, ""), (60, "1 min"), (600, "10 min")):
        x = along(seconds, SECONDS, TIME)
        drawing.path([(x, TOP - 14), (x, bottom)], "grid")
        drawing.text(x, TOP - 20, words, "quiet middle")
    mean = along(rows[0][1][0]["mean"], ERRORS, ERROR)
    drawing.path([(mean, TOP - 14), (mean, bottom)], "axis dashed")
    drawing.text(mean, bottom + 18, "predict the mean", "quiet middle")
    for number, (recipe, seeds) in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        style = "plus" if recipe.startswith("sne/") else "head"
        drawing.text(ERROR[0] - 16, y + 5, recipe, f"mono end {'plus' if style == 'plus' else ''}".strip())
        ends = [along(seed["mse"], ERRORS, ERROR) for seed in sorted(seeds, key=lambda seed: seed["mse"])]
        drawing.path([(ends[0], y), (ends[-1], y)], "axis")
        x = along(fmean(seed["mse"] for seed in seeds), ERRORS, ERROR)
        drawing.circle(x, y, 5.5, style)
        if recipe.startswith(EVALUATES):
            drawing.circle(x, y, 2.2, "page")
        spent = along(fmean(seed["seconds"] for seed in seeds), SECONDS, TIME)
        drawing.rectangle(TIME[0], y - 6, max(spent - TIME[0], 1), 12, style, radius=2)
    drawing.circle(24, bottom + 26, 5.5, "plus")
    drawing.text(36, bottom + 31, "a variant of SNE", "quiet")
    drawing.circle(ERROR[1] + 40, bottom + 26, 5.5, "head")
    drawing.circle(ERROR[1] + 40, bottom + 26, 2.2, "page")
    drawing.text(ERROR[1] + 54, bottom + 31, "evaluates the networks", "quiet")
    return drawing


if __name__ == "__main__":
    write({CHART: chart()})

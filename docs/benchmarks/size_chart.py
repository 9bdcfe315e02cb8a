"""Draws time and memory against the number of weights: ``python docs/benchmarks/size_chart.py``.

It reads docs/benchmarks/large-files.json and writes docs/images/large-files.svg.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from svg import Drawing, write  # noqa: E402  # it lies in docs/, which is no package

CHART = HERE.parent / "images" / "large-files.svg"
WEIGHTS = (1e4, 1.2e9)
LEFT, RIGHT = 84, 600
TIME, MEMORY = (46, 300), (370, 560)  #: top and bottom of both panels
SECONDS, MIB = (1.0, 2000.0), (100.0, 4000.0)


def along(value: float, ends: tuple[float, float], start: float, stop: float) -> float:
    """Return the pixel of a value on a logarithmic axis."""
    return start + (stop - start) * math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def across(weights: float) -> float:
    """Return x."""
    return along(weights, WEIGHTS, LEFT, RIGHT)


def panel(
    drawing: Drawing,
    box: tuple[int, int],
    ends: tuple[float, float],
    ticks: dict[float, str],
    title: str,
    key: str,
    files: Sequence[dict[str, Any]],
) -> None:
    """Draw one quantity of both forms."""
    top, bottom = box
    drawing.text(16, top - 18, title, "quiet")
    for value, words in ticks.items():
        y = along(value, ends, bottom, top)
        drawing.path([(LEFT, y), (RIGHT, y)], "grid")
        drawing.text(LEFT - 8, y + 5, words, "quiet end")
    for power in range(4, 10):
        x = across(10.0**power)
        drawing.path([(x, bottom), (x, bottom + 5)], "axis")
        drawing.text(x, bottom + 23, "10" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[power], "quiet middle")
    drawing.path([(LEFT, bottom), (RIGHT, bottom)], "axis")
    for form, style in (("exact", "curve"), ("sampled", "curve other")):
        points = [
            (across(each["weights"]), along(each[form][key], ends, bottom, top))
            for each in files
            if form in each
        ]
        drawing.path(points, style)
        colour = "accent" if form == "exact" else "minus"
        if points:
            x, y = points[-1]
            above = form == "exact"
            words = "all weights" if above else "a sample"
            drawing.text(x, y - 8 if above else y + 20, words, f"{colour} end")


def chart() -> Drawing:
    """Draw seconds and memory of the whole command."""
    known = json.loads((HERE / "large-files.json").read_text(encoding="utf-8"))
    files = sorted((each for each in known if each["type"] == "float32"), key=lambda each: each["weights"])
    drawing = Drawing(640, 610, "Time and memory of embedding files of ten thousand to a billion weights")
    seconds = {1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 600.0: "10 min"}
    panel(drawing, TIME, SECONDS, seconds, "CPU time of sneframe embed", "cpu", files)
    mib = {100.0: "100 MiB", 300.0: "300 MiB", 1000.0: "1 GiB", 2048.0: "2 GiB"}
    panel(drawing, MEMORY, MIB, mib, "largest memory", "mib", files)
    drawing.text(RIGHT, 606, "weights in the file", "quiet end")
    return drawing


if __name__ == "__main__":
    write({CHART: chart()})

"""Draws validation error over training time, with and without encoded scales.

``python docs/benchmarks/curve.py`` reads docs/benchmarks/sne-curves and writes docs/images/sne-curve.svg.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from svg import Drawing, write  # noqa: E402  # it lies in docs/, which is no package

CURVE = HERE.parent / "images" / "sne-curve.svg"
SECONDS, ERRORS = 160.0, (0.25, 10.0)  #: the largest time, and the range of errors, on a logarithmic axis
LEFT, TOP, RIGHT, BOTTOM = 70, 46, 620, 340

#: The label of each curve, its styles, and the height of the label.
CURVES = {
    "before": ("before: weights with their scale, two blocks", "curve other", "minus", 84),
    "scales": ("sne/default: scales encoded, one block", "curve", "accent", 108),
}


def points(name: str) -> Sequence[tuple[float, float]]:
    """Return the seconds and the validation error of each epoch."""
    saved = json.loads((HERE / "sne-curves" / f"{name}.json").read_text(encoding="utf-8"))
    return [(epoch["seconds"], epoch["mse"]) for epoch in saved["epochs"]]


def across(seconds: float) -> float:
    """Return x."""
    return LEFT + (RIGHT - LEFT) * seconds / SECONDS


def up(error: float) -> float:
    """Return y."""
    return BOTTOM + (TOP - BOTTOM) * math.log(error / ERRORS[0]) / math.log(ERRORS[1] / ERRORS[0])


def curve() -> Drawing:
    """Draw one line for each configuration."""
    drawing = Drawing(640, 400, "Validation error of SNE over training time, before and with encoded scales")
    drawing.text(16, 28, "validation MSE (frequency), demo zoo, λ = 0", "quiet")
    drawing.text(RIGHT, BOTTOM + 46, "training time on one core", "quiet end")
    for error in (0.3, 1.0, 3.0, 10.0):
        drawing.path([(LEFT, up(error)), (RIGHT, up(error))], "grid")
        drawing.text(LEFT - 8, up(error) + 5, f"{error:g}", "quiet end")
    for seconds in (0, 40, 80, 120, 160):
        drawing.path([(across(seconds), BOTTOM), (across(seconds), BOTTOM + 5)], "axis")
        drawing.text(across(seconds), BOTTOM + 23, f"{seconds} s", "quiet middle")
    drawing.path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis")
    for name, (words, style, colour, y) in CURVES.items():
        drawing.path([(across(seconds), up(error)) for seconds, error in points(name)], style)
        drawing.text(RIGHT, y, words, f"{colour} end")
    return drawing


if __name__ == "__main__":
    write({CURVE: curve()})

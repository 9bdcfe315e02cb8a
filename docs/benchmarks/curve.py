"""Draws scores of plain SNE on validation networks over training time.

``python docs/benchmarks/curve.py`` reads docs/benchmarks/sne-curves and writes docs/images/sne-curve.svg and
docs/images/sne-accuracy-curve.svg.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from svg import Drawing, write  # noqa: E402  # it lies in docs/, which is no package

LEFT, TOP, RIGHT, BOTTOM = 70, 46, 620, 340
BOOSTING = 0.759  #: τ of stats/boosting on the same 100 validation networks


@frozen(kw_only=True)
class Chart:
    """What a drawing shows.

    Args:
        file: name of the drawing in docs/images.
        label: what a screen reader says.
        title: the score, the zoo and the method.
        score: ``mse``, on a logarithmic axis, or ``tau``.
        scores: the smallest and the largest score of the axis.
        ticks: marks of this axis.
        seconds: the largest time.
        marks: seconds that are marked on the axis of time.
        curves: by file in docs/benchmarks/sne-curves: words, style, colour, and the height of the words.
        levels: scores of other methods, which are drawn as dashed lines, by their words.
    """

    file: str
    label: str
    title: str
    score: str
    scores: tuple[float, float]
    ticks: Sequence[float]
    seconds: float
    marks: Sequence[int]
    curves: Mapping[str, tuple[str, str, str, float]]
    levels: Mapping[str, float] = field(factory=dict)

    def across(self, seconds: float) -> float:
        """Return x."""
        return LEFT + (RIGHT - LEFT) * seconds / self.seconds

    def up(self, score: float) -> float:
        """Return y."""
        low, high = self.scores
        if self.score == "mse":
            return BOTTOM + (TOP - BOTTOM) * math.log(score / low) / math.log(high / low)
        return BOTTOM + (TOP - BOTTOM) * (max(score, low) - low) / (high - low)

    def points(self, name: str) -> Sequence[tuple[float, float]]:
        """Return x and y of each epoch."""
        saved = json.loads((HERE / "sne-curves" / f"{name}.json").read_text(encoding="utf-8"))
        return [(self.across(epoch["seconds"]), self.up(epoch[self.score])) for epoch in saved["epochs"]]

    def draw(self) -> Drawing:
        """Draw one line for each configuration."""
        drawing = Drawing(640, 400, self.label)
        drawing.text(16, 28, self.title, "quiet")
        drawing.text(RIGHT, BOTTOM + 46, "training time on one core", "quiet end")
        for score in self.ticks:
            drawing.path([(LEFT, self.up(score)), (RIGHT, self.up(score))], "grid")
            drawing.text(LEFT - 8, self.up(score) + 5, f"{score:g}", "quiet end")
        for seconds in self.marks:
            drawing.path([(self.across(seconds), BOTTOM), (self.across(seconds), BOTTOM + 5)], "axis")
            drawing.text(self.across(seconds), BOTTOM + 23, f"{seconds} s", "quiet middle")
        drawing.path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis")
        for words, score in self.levels.items():
            drawing.path([(LEFT, self.up(score)), (RIGHT, self.up(score))], "axis dashed")
            drawing.text(RIGHT, self.up(score) - 6, words, "quiet end")
        for name, (words, style, colour, y) in self.curves.items():
            drawing.path(self.points(name), style)
            drawing.text(RIGHT, y, words, f"{colour} end")
        return drawing


FREQUENCY = Chart(
    file="sne-curve.svg",
    label="Validation error of SNE over training time, before and with encoded scales",
    title="validation MSE (frequency), demo zoo, λ = 0",
    score="mse",
    scores=(0.25, 10.0),
    ticks=(0.3, 1.0, 3.0, 10.0),
    seconds=160.0,
    marks=(0, 40, 80, 120, 160),
    curves={
        "before": ("before: weights with their scale, two blocks", "curve other", "minus", 84),
        "scales": ("sne/default: scales encoded, one block", "curve", "accent", 108),
    },
)

ACCURACY = Chart(
    file="sne-accuracy-curve.svg",
    label="Validation tau of plain SNE over training time: 120 epochs reach more than 40",
    title="validation τ (accuracy of MNIST CNNs), sne/default, λ = 0",
    score="tau",
    scores=(0.6, 0.8),
    ticks=(0.6, 0.65, 0.7, 0.75, 0.8),
    seconds=600.0,
    marks=(0, 150, 300, 450, 600),
    curves={
        "accuracy-40": ("40 epochs", "curve other", "minus", 300),
        "accuracy-120": ("120 epochs", "curve", "accent", 322),
    },
    levels={"stats/boosting": BOOSTING},
)

#: What a line of a chart of sampled chunks looks like: words, style, colour, and the height of the words.
SAMPLES = {
    "8": ("at most 8 chunks of a parameter", "curve other", "minus", 278.0),
    "32": ("at most 32", "curve third", "plus", 300.0),
    "none": ("all", "curve", "accent", 322.0),
}


def sampled(zoo: str, title: str, ticks: Sequence[float]) -> Chart:
    """Return the chart of runs that sample the chunks of each parameter."""
    return Chart(
        file=f"chunks-{zoo}.svg",
        label=f"Validation tau of SNE over training time, with samples of chunks and with all: {zoo}",
        title=title,
        score="tau",
        scores=(ticks[0], ticks[-1]),
        ticks=ticks,
        seconds=180.0,
        marks=(0, 60, 120, 180),
        curves={f"chunks-{zoo}-{chunks}": look for chunks, look in SAMPLES.items()},
    )


CHUNKS = (
    sampled("mnist", "validation τ (accuracy of MNIST CNNs)", (0.6, 0.65, 0.7, 0.75, 0.8)),
    sampled("transformer", "validation τ (accuracy of MNIST transformers)", (0.5, 0.55, 0.6, 0.65, 0.7)),
)


def drawings() -> dict[Path, Drawing]:
    """Return all drawings, by their files."""
    images = HERE.parent / "images"
    return {images / chart.file: chart.draw() for chart in (FREQUENCY, ACCURACY, *CHUNKS)}


if __name__ == "__main__":
    write(drawings())

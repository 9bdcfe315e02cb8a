"""Writes SVG text: the same calls give the same bytes.

A drawing has its own background, light or dark as the reader's system is. ``docs/draw.py`` and
``docs/benchmarks/chart.py`` draw with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = """
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif; font-size: 15px }
.mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 14px }
.title { font-size: 17px; font-weight: 650 }
.large { font-size: 26px; font-weight: 650 }
.start { text-anchor: start } .middle { text-anchor: middle } .end { text-anchor: end }
text, .ink { fill: var(--ink) } .quiet { fill: var(--quiet) } .accent { fill: var(--accent) }
.page { fill: var(--page) } .card { fill: var(--card); stroke: var(--line) }
.part { fill: var(--part); stroke: var(--accent) } .empty, .grid { fill: none; stroke: var(--line) }
.axis { fill: none; stroke: var(--quiet) } .dashed { stroke-dasharray: 5 4 }
.arrow { fill: none; stroke: var(--quiet); stroke-width: 1.6 } .head { fill: var(--quiet) }
.curve { fill: none; stroke: var(--accent); stroke-width: 2.2 } .other { stroke: var(--minus) }
.third { stroke: var(--plus) }
.plus { fill: var(--plus) } .minus { fill: var(--minus) }
svg {
  --page: #ffffff; --card: #f6f8fa; --line: #d1d9e0; --ink: #1f2328; --quiet: #59636e;
  --accent: #3949ab; --part: #e8eaf6; --plus: #0072b2; --minus: #d55e00
}
@media (prefers-color-scheme: dark) {
  svg {
    --page: #14161a; --card: #1d2026; --line: #3d444d; --ink: #e6e8eb; --quiet: #9aa3ad;
    --accent: #9fa8da; --part: #262b45; --plus: #56b4e9; --minus: #f0883e
  }
}
""".strip()

LEVELS = 5  #: steps of colour, from nearly zero to the largest value


class Drawing:
    """SVG elements in the order in which they are drawn.

    Args:
        width: of the view box, in pixels.
        height: of the view box.
        label: what a screen reader says.
    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self._start = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}" '
            f'viewBox="0 0 {number(width)} {number(height)}" role="img" aria-label="{escape(label)}">'
        )
        self._elements: list[str] = []
        self.rectangle(0.5, 0.5, width - 1, height - 1, "page", radius=10)

    def rectangle(
        self, x: float, y: float, width: float, height: float, style: str, *, radius: float = 0
    ) -> None:
        """Draw a rectangle, with round corners where a radius is given."""
        sides = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self._elements.append(f'<rect class="{style}" {sides} rx="{number(radius)}"/>')

    def text(self, x: float, y: float, words: str, style: str = "") -> None:
        """Write one line whose baseline is at ``y``."""
        self._elements.append(f'<text class="{style}" x="{number(x)}" y="{number(y)}">{escape(words)}</text>')

    def path(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Draw straight lines from point to point."""
        steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        self._elements.append(f'<path class="{style}" d="M{steps}"/>')

    def circle(self, x: float, y: float, radius: float, style: str) -> None:
        """Draw a disc."""
        self._elements.append(
            f'<circle class="{style}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'
        )

    def arrow(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw straight lines with a head at the last point; the last line is horizontal or vertical."""
        (x0, y0), (x, y) = points[-2:]
        dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
        self.path([*points[:-1], (x - 6 * dx, y - 6 * dy)], "arrow")
        corners = [
            (x, y),
            (x - 8 * dx - 4 * dy, y - 8 * dy - 4 * dx),
            (x - 8 * dx + 4 * dy, y - 8 * dy + 4 * dx),
        ]
        self.path(corners, "head")

    def cells(
        self, values: Iterable[tuple[float, float, float]], width: float, height: float, largest: float
    ) -> None:
        """Draw one cell for each ``(x, y, value)``: blue above 0, orange below, pale where it is small."""
        steps: dict[int, list[str]] = {}
        for x, y, value in values:
            level = min(LEVELS, 1 + int(LEVELS * abs(value) / largest)) * (1 if value >= 0 else -1)
            cell = f"M{number(x)} {number(y)}h{number(width)}v{number(height)}h{number(-width)}z"
            steps.setdefault(level, []).append(cell)
        for level, cells in sorted(steps.items()):
            colour, opacity = "plus" if level > 0 else "minus", number(abs(level) / LEVELS)
            self._elements.append(f'<path class="{colour}" fill-opacity="{opacity}" d="{"".join(cells)}"/>')

    def __str__(self) -> str:
        return "\n".join([self._start, f"<style>\n{STYLE}\n</style>", *self._elements, "</svg>", ""])


def number(value: float) -> str:
    """Return a number with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def write(drawings: dict[Path, Drawing]) -> None:
    """Write each drawing to its file."""
    for path, drawing in drawings.items():
        path.write_text(str(drawing), encoding="utf-8")

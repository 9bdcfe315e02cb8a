"""Set the style of all figures, and write them as inline SVG.

The same data give the same bytes, and text stays text. Ink, lines and plain points have CSS variables of the
page as colours, so figures change with its light or dark theme. Names that come from a zoo are drawn as plain
text, never as mathematics, and long names are cut.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK = "#1f2328"
GREY = "#8a8f98"
GRID = "#e6e8eb"
GROUND = "#fdfefe"  #: the colour behind a figure
BLUE = "#2a6ebb"
#: The CSS variable that replaces each colour. A page without the variable shows the colour itself.
VARIABLES = {INK: "--text", GREY: "--quiet", GRID: "--line", GROUND: "--card", BLUE: "--point"}
# Okabe and Ito's colours, which stay apart for colour-blind readers and are visible on white and on black.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = (0, (4, 3))
MOST_VECTOR_POINTS = 2000
SHORT = 24  #: longest name, in characters, of a legend with two columns
STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sneframe",
    "font.size": 9.5,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.5,
}


@contextmanager
def style() -> Iterator[None]:
    """Set the style of all figures. The user's own matplotlib settings are ignored in this block."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        # Matplotlib only measures text here. The browser draws it, in a font that has the letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def mark(number: int) -> dict[str, Any]:
    """Return the colour and the marker of a method. The first 36 methods all differ."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "marker": MARKERS[(number + number // len(PALETTE)) % len(MARKERS)],
    }


def points(axes: Axes, x: np.ndarray, y: np.ndarray, *, small: bool = False, **look: Any) -> Any:
    """Draw points. More than 2000 points, or more than 300 small ones, are drawn as one bitmap image."""
    size = 26 if len(x) <= 100 else 16 if len(x) <= 500 else 9 if len(x) <= MOST_VECTOR_POINTS else 4
    many = len(x) > (300 if small else MOST_VECTOR_POINTS)
    return axes.scatter(x, y, s=size / 2 if small else size, linewidths=0, rasterized=many, zorder=2, **look)


def label(axes: Axes, *, x: str = "", y: str = "") -> None:
    """Label the axes in plain text, without mathematics."""
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend below the axes, where it covers no data and no labels. Short names get two columns."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    columns = 2 if max(map(len, names)) <= SHORT else 1
    made = figure.legend(handles, names, loc="outside lower center", ncols=columns)
    for text in made.get_texts():
        text.set_parse_math(False)


def log_scale(axes: Axes, which: str = "y") -> None:
    """Make an axis logarithmic, with plain numbers as labels.

    An axis that spans at most a factor of 100 has labels at 2 and 5 times the powers of ten, too.
    """
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def spans(values: Sequence[float], factor: float) -> bool:
    """Return whether all values are positive and the largest is more than ``factor`` times the smallest."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > factor


def shown(name: str, most: int = 40) -> str:
    """Return a name that fits beside an axis: one line of at most ``most`` characters."""
    line = _line(name)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def svg(figure: Figure, name: str, alt: str) -> Markup:
    """Return a figure as an ``<svg>`` element.

    Args:
        figure: drawn within :func:`style`.
        name: prefix of all ids in the element, so that the figures of a page have different ids.
        alt: description of the figure in words.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", dpi=200, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # A style element inside a figure would apply to the whole page. The style sheet of the page has its
    # rules.
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(f"(?:{_POINT.pattern})+", lambda found: _together(found[0]), text)
    text = re.sub(r"<[^>]+>", lambda tag: _tag(tag[0], name), text)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(_line(alt))}" ', 1)
    # Matplotlib has escaped the text of the figure, and the description is escaped above.
    return Markup(text)  # noqa: S704


_POINT = re.compile(
    r'\s*<g clip-path="([^"]*)">\s*<use xlink:href="([^"]*)" x="([-\d.]+)" y="([-\d.]+)" style="([^"]*)"/>'
    r"\s*</g>"
)
_REFERENCE = re.compile(r'( id="|href="#|url\(#)')
_COLOUR = re.compile("|".join(VARIABLES))


def _together(found: str) -> str:
    """Group successive points of the same style. This cuts the SVG to a third of its size."""
    groups = []
    for (clip, shape, look), each in groupby(_POINT.findall(found), key=lambda point: (*point[:2], point[4])):
        uses = (
            f'<use xlink:href="{shape}" x="{float(x):.2f}" y="{float(y):.2f}"/>' for _, _, x, y, _ in each
        )
        groups.append(f'<g clip-path="{clip}" style="{look}">{"".join(uses)}</g>')
    return "".join(groups)


def _tag(tag: str, name: str) -> str:
    """Prefix the ids in a tag with the name of the figure, and replace colours by CSS variables."""
    tag = _REFERENCE.sub(rf"\1{name}-", tag)
    return _COLOUR.sub(lambda colour: f"var({VARIABLES[colour[0]]},{colour[0]})", tag)


def _line(text: str) -> str:
    """Return a text as one line without control characters, which XML cannot hold."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())

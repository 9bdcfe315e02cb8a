"""The figures of a report, as inline SVG: same data, same bytes; text is text, in the fonts of the page.

Names that come from a zoo are drawn as they stand, never read as mathematics, and cut where they are long.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sneframe.report.projection import Projection
from sneframe.run_folder.history import Epoch
from sneframe.run_folder.predictions import Predictions

BLUE = "#2a6ebb"
GREY = "#8a8f98"
# Okabe and Ito's colours, which stay apart for colour-blind readers.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MOST_VECTOR_POINTS = 2000
MOST_COUNTED = 12  #: classes, of which a confusion matrix shows numbers
STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sneframe",
    "font.size": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#1f2328",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#1f2328",
    "ytick.labelcolor": "#1f2328",
    "lines.linewidth": 1.5,
}


def scatter(
    predictions: Predictions, name: str, colours: Sequence[str], alt: str, *, prefix: str = ""
) -> Markup:
    """Draw predicted against true values, with the identity line; ``colours`` are one per network."""
    with _style():
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        both = np.concatenate([predictions.true, predictions.predicted])
        low, high = float(both.min()), float(both.max())
        margin = 0.04 * (high - low) or 0.05 * max(abs(high), 1.0)
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _points(axes, predictions.true, predictions.predicted, c=list(colours), alpha=0.6)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        _label(axes, x=f"true {_shown(name)}", y=f"predicted {_shown(name)}")
        return _svg(figure, f"scatter{prefix}", alt)


def confusion(predictions: Predictions, name: str, alt: str, *, prefix: str = "") -> Markup:
    """Draw which classes were told for which, each row a true class as shares of its networks."""
    classes = sorted({*predictions.true.tolist(), *predictions.predicted.tolist()})
    places = {label: place for place, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(
        counts,
        tuple([places[label] for label in side] for side in (predictions.true, predictions.predicted)),
        1,
    )
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with _style():
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(classes))
        axes.set_xticks(ticks, [_shown(label, 16) for label in classes], rotation=90, parse_math=False)
        axes.set_yticks(ticks, [_shown(label, 16) for label in classes], parse_math=False)
        if len(classes) <= MOST_COUNTED:
            for row, column in np.ndindex(counts.shape):
                colour = "white" if shares[row, column] > 0.5 else "#1f2328"
                axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour)
        _label(axes, x=f"predicted {_shown(name)}", y=f"true {_shown(name)}")
        return _svg(figure, f"confusion{prefix}", alt)


def curves(history: Sequence[Epoch], error: str, best_epoch: int | None, alt: str) -> Markup:
    """Draw over epochs, one below the other and on log scales, training loss, validation error, and e_g where measured.

    Args:
        history: of the run.
        error: what the validation error is called.
        best_epoch: to mark.
        alt: the figure in words.
    """
    lines = {
        "training task loss": [(epoch.epoch, epoch.train.task) for epoch in history],
        f"validation {error}": [(epoch.epoch, epoch.val.mse) for epoch in history],
        "e_g": [(epoch.epoch, epoch.val.e_g) for epoch in history if epoch.val.e_g is not None],
    }
    lines = {label: points for label, points in lines.items() if points}
    with _style():
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        panels = figure.subplots(len(lines), sharex=True, squeeze=False)[:, 0]
        for axes, (label, points) in zip(panels, lines.items(), strict=True):
            epochs, values = zip(*points, strict=True)
            axes.plot(epochs, values, color=BLUE, marker="o" if len(epochs) <= 40 else None, markersize=2.5)
            if min(values) > 0:
                _log(axes)
            if best_epoch is not None:
                axes.axvline(best_epoch, color=PALETTE[1], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axes.grid(axis="y", color="#e6e8eb", linewidth=0.6)
            _label(axes, x="epoch" if axes is panels[-1] else "", y=label)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.align_ylabels()
        return _svg(figure, "curves", alt)


def pca_map(projection: Projection, values: np.ndarray, name: str, alt: str, *, prefix: str = "") -> Markup:
    """Draw the PCA map, coloured by ``(n,)`` numbers or labels; ids in it begin with the prefix."""
    first, second = projection.shares
    labels = f"first component ({first:.0%} of the variance)", f"second ({second:.0%})"
    with _style():
        return _svg(_map(projection.pca, values, name, labels), f"pca{prefix}", alt)


def tsne_map(projection: Projection, values: np.ndarray, name: str, alt: str, *, prefix: str = "") -> Markup:
    """Draw the t-SNE map, coloured by ``(n,)`` numbers or labels; its axes have no meaning."""
    with _style():
        return _svg(_map(projection.tsne, values, name, None), f"tsne{prefix}", alt)


def _map(points: np.ndarray, values: np.ndarray, name: str, labels: tuple[str, str] | None) -> Figure:
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal", adjustable="datalim")
    if labels:
        _label(axes, x=labels[0], y=labels[1])
    else:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    if values.dtype == object:
        _classes(axes, points, values)
        # Outside of the axes, where it covers neither points nor the label.
        legend = figure.legend(loc="outside lower center", fontsize="small", frameon=False, ncols=2)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return figure
    drawn = _points(axes, points[:, 0], points[:, 1], c=values, cmap="viridis", alpha=0.85)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(_shown(name), parse_math=False)
    return figure


def _classes(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Draw points in a colour for each of the most frequent labels, the others in grey, named for a legend."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    named = sorted(names[np.argsort(-counts, kind="stable")][: len(PALETTE)].tolist())
    rest = ~np.isin(labels.astype(str), named)
    if rest.any():
        _points(axes, *points[rest].T, color=GREY, alpha=0.6, label=f"{len(names) - len(named)} others")
    for name, colour in zip(named, PALETTE, strict=False):
        here = labels.astype(str) == name
        _points(axes, *points[here].T, color=colour, alpha=0.8, label=_shown(name, 28))


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, **style: Any) -> Any:
    size = 16 if len(x) <= 500 else 9 if len(x) <= MOST_VECTOR_POINTS else 4
    return axes.scatter(x, y, s=size, linewidths=0, rasterized=len(x) > MOST_VECTOR_POINTS, zorder=2, **style)


def _label(axes: Axes, *, x: str = "", y: str = "") -> None:
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)


def _log(axes: Axes) -> None:
    """Use a log scale that always has labels, written as plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _shown(name: str, most: int = 40) -> str:
    """Return a name that fits beside an axis: at most 40 characters of one line."""
    line = _line(name)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _line(text: str) -> str:
    """Return a text as one line without control characters, which XML cannot hold."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


@contextmanager
def _style() -> Iterator[None]:
    """Set the style of all figures, and nothing of the user's own matplotlib settings."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        # Matplotlib only measures text here; it is the browser that draws it, in a font that has the letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _svg(figure: Figure, name: str, alt: str) -> Markup:
    """Return a figure as an ``<svg>`` element; its ids begin with its name: a page has several."""
    file = io.StringIO()
    figure.savefig(file, format="svg", dpi=200, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # A style element inside a figure would hold for the whole page; the page's own style sheet says the same.
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)
    reference = re.compile(r'( id="|href="#|url\(#)')
    text = re.sub(r"<[^>]+>", lambda tag: reference.sub(rf"\1{name}-", tag[0]), text)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(_line(alt))}" ', 1)
    # Matplotlib has escaped the text of the figure, and the description is escaped above.
    return Markup(text)  # noqa: S704

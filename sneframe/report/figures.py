"""Draw the figures of a report: predictions, residuals, confusion matrices, learning curves and maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from sneframe.report.drawing import (
    BLUE,
    DASHES,
    GREY,
    GRID,
    GROUND,
    INK,
    PALETTE,
    label,
    legend,
    log_scale,
    points,
    shown,
    spans,
    style,
    svg,
)
from sneframe.report.projection import Projection
from sneframe.run_folder.history import Epoch
from sneframe.run_folder.predictions import Predictions

MOST_COUNTED = 12  #: a confusion matrix of more classes shows no numbers
SIZE = (4.4, 4.2)  #: width and height of a figure, in inches


def scatter(
    predictions: Predictions,
    name: str,
    colours: Sequence[str],
    alt: str,
    *,
    band: float | None = None,
    prefix: str = "",
) -> Markup:
    """Draw predicted against true values, and the identity line.

    Args:
        predictions: the predictions for the test networks.
        name: name of the property.
        colours: one colour per network.
        alt: description of the figure in words.
        band: height of a band around the identity line, or None. A point in the band has an interval of this
            width that contains the true value.
        prefix: the ids in the SVG contain it.
    """
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        identity(axes, predictions.true, predictions.predicted)
        if band is not None:
            ends = np.array(axes.get_xlim())
            axes.fill_between(ends, ends - band / 2, ends + band / 2, color=GRID, linewidth=0, zorder=0)
        points(axes, predictions.true, predictions.predicted, c=list(colours), alpha=0.75)
        label(axes, x=f"true {shown(name)}", y=f"predicted {shown(name)}")
        return svg(figure, f"scatter{prefix}", alt)


def identity(axes: Axes, true: np.ndarray, predicted: np.ndarray) -> None:
    """Draw the line of exact predictions, with the same limits on both axes."""
    limits = _limits(np.concatenate([true, predicted]))
    axes.plot(limits, limits, color=GREY, linewidth=1, linestyle=DASHES, zorder=1)
    axes.set(xlim=limits, ylim=limits, aspect="equal")


def residuals(
    predictions: Predictions, name: str, colours: Sequence[str], alt: str, *, prefix: str = ""
) -> Markup:
    """Draw the errors, predicted − true, over the true values. ``colours`` has one colour per network."""
    errors = predictions.predicted - predictions.true
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=GREY, linewidth=1, linestyle=DASHES, zorder=1)
        points(axes, predictions.true, errors, c=list(colours), alpha=0.75)
        axes.set(xlim=_limits(predictions.true), ylim=_limits(np.append(errors, 0.0)))
        label(axes, x=f"true {shown(name)}", y="error, predicted − true")
        return svg(figure, f"residuals{prefix}", alt)


def confusion(predictions: Predictions, name: str, alt: str, *, prefix: str = "") -> Markup:
    """Draw the confusion matrix. A row counts the networks of one true class."""
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        matrix(axes, predictions.true, predictions.predicted)
        label(axes, x=f"predicted {shown(name)}", y=f"true {shown(name)}")
        return svg(figure, f"confusion{prefix}", alt)


def matrix(axes: Axes, true: np.ndarray, predicted: np.ndarray, *, names: bool = True) -> None:
    """Draw a confusion matrix. A darker cell has a larger fraction of its row."""
    classes = sorted({*true.tolist(), *predicted.tolist()})
    indices = {name: index for index, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, tuple([indices[name] for name in side] for side in (true, predicted)), 1)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    counted = len(classes) <= MOST_COUNTED
    for row, column in np.argwhere(counts):
        fraction = fractions[row, column]
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=BLUE, alpha=fraction, linewidth=0))
    for row, column in np.ndindex(counts.shape) if counted else ():
        colour = GROUND if fractions[row, column] > 0.6 else INK if counts[row, column] else GREY
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour)
    limits = (-0.5, len(classes) - 0.5)
    axes.set(xlim=limits, ylim=limits[::-1], aspect="equal")
    axes.spines[:].set_visible(True)
    if not names:
        axes.set(xticks=[], yticks=[])
        return
    ticks = range(len(classes))
    axes.set_xticks(ticks, [shown(each, 16) for each in classes], rotation=90, parse_math=False)
    axes.set_yticks(ticks, [shown(each, 16) for each in classes], parse_math=False)


def curves(
    history: Sequence[Epoch], error: str, best_epoch: int | None, alt: str, *, baseline: float | None = None
) -> Markup:
    """Draw training loss, validation error and e_g over the epochs, in one panel each.

    There is no panel for what was not measured. If the head was fitted after the training, the invariance
    loss of the training networks and of the validation networks is drawn instead of the first two.

    Args:
        history: the epochs.
        error: the name of the validation error.
        best_epoch: the epoch to mark, or None.
        alt: description of the figure in words.
        baseline: the validation error of the mean predictor, drawn as a line.
    """
    validation = f"validation {error}"
    lines: dict[str, list[tuple[int, float | None]]] = {
        "training task loss": [(epoch.epoch, epoch.train.task) for epoch in history],
        "training loss": [(epoch.epoch, epoch.train.loss) for epoch in history if epoch.val.mse is None],
        validation: [(epoch.epoch, epoch.val.mse) for epoch in history],
        "validation loss": [(epoch.epoch, epoch.val.loss) for epoch in history],
        "e_g": [(epoch.epoch, epoch.val.e_g) for epoch in history],
    }
    known = {name: [(at, y) for at, y in points if y is not None] for name, points in lines.items()}
    drawn = {name: points for name, points in known.items() if points}
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        panels = figure.subplots(len(drawn), sharex=True, squeeze=False)[:, 0]
        for axes, (name, values) in zip(panels, drawn.items(), strict=True):
            epochs, heights = zip(*values, strict=True)
            axes.plot(epochs, heights, color=BLUE, marker="o" if len(epochs) <= 40 else None, markersize=2.5)
            if name == validation and baseline is not None:
                axes.axhline(baseline, color=GREY, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=1)
                heights = (*heights, baseline)
            if spans(heights, 3):
                log_scale(axes)
            if best_epoch is not None:
                axes.axvline(best_epoch, color=PALETTE[1], linewidth=1, linestyle=DASHES, zorder=1)
            axes.grid(axis="y")
            label(axes, x="epoch" if axes is panels[-1] else "", y=name)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.align_ylabels()
        if best_epoch is not None:
            panels[0].plot([], [], color=PALETTE[1], linewidth=1, linestyle=DASHES, label="best epoch")
        if baseline is not None:
            dots = (0, (1, 1.5))
            panels[0].plot([], [], color=GREY, linewidth=1.2, linestyle=dots, label="mean predictor")
        legend(figure, panels[0])
        return svg(figure, "curves", alt)


def pca_map(projection: Projection, values: np.ndarray, name: str, alt: str, *, prefix: str = "") -> Markup:
    """Draw the PCA map. Colours show ``values``, ``(n,)`` numbers or labels. SVG ids contain ``prefix``."""
    first, second = projection.fractions
    labels = f"first component ({first:.0%} of the variance)", f"second ({second:.0%})"
    with style():
        return svg(_map(projection.pca, values, name, labels), f"pca{prefix}", alt)


def tsne_map(places: np.ndarray, values: np.ndarray, name: str, alt: str, *, prefix: str = "") -> Markup:
    """Draw a t-SNE map of places ``(n, 2)``. Colours show ``values``, ``(n,)`` numbers or labels.

    The axes have no meaning.
    """
    with style():
        return svg(_map(places, values, name, None), f"tsne{prefix}", alt)


def _map(places: np.ndarray, values: np.ndarray, name: str, labels: tuple[str, str] | None) -> Figure:
    """Draw networks in the plane. Each axis has its own scale, so that the map fills the box."""
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.margins(0.03)
    if labels:
        label(axes, x=labels[0], y=labels[1])
    else:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
    if values.dtype == object:
        _classes(axes, places, values)
        legend(figure, axes)
        return figure
    drawn = points(axes, places[:, 0], places[:, 1], c=values, cmap="viridis", alpha=0.9)
    drawn.set_gid("points")  # the style sheet outlines these, so that both ends of the scale are visible
    bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(shown(name), parse_math=False)
    return figure


def _classes(axes: Axes, places: np.ndarray, labels: np.ndarray) -> None:
    """Draw points coloured by label. The most frequent labels have a colour each, and all others are grey."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    named = sorted(names[np.argsort(-counts, kind="stable")][: len(PALETTE)].tolist())
    rest = ~np.isin(labels.astype(str), named)
    if rest.any():
        points(axes, *places[rest].T, color=GREY, alpha=0.6, label=f"{len(names) - len(named)} others")
    for name, colour in zip(named, PALETTE, strict=False):
        here = labels.astype(str) == name
        points(axes, *places[here].T, color=colour, alpha=0.8, label=shown(name, 52))


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return axis limits with a margin around the values, even if all values are equal."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.05 * max(abs(high), 1.0)
    return low - margin, high + margin

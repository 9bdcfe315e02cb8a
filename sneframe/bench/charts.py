"""Draw the charts of a comparison: intervals, error against cost, error over variations, and predictions.

Each chart is as wide as the screen of a telephone. A wider page shows several charts side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from sneframe.bench.table import Line, Spread
from sneframe.report.drawing import (
    BLUE,
    GREY,
    GROUND,
    INK,
    label,
    legend,
    log_scale,
    mark,
    points,
    shown,
    spans,
    style,
    svg,
)
from sneframe.report.figures import identity, matrix, tsne_map

WIDTH = 4.4  #: inches
SMALL = 2.3  #: inches, of the predictions of one method
POINT = 0.5 * 9.5  #: points, about the width of a letter
#: positions of the ticks of a time axis, in seconds
TIMES = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 360_000)
MORE_TIMES = (
    *(digit * 10.0**power for power in range(-4, 1) for digit in (1, 2, 5)),
    *(10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18_000, 36_000, 72_000),
)
Marks = Mapping[str, Mapping[str, Any]]
COSTS: dict[str, Callable[[Line], float | None]] = {
    "time": lambda line: line.train_seconds,
    "size": lambda line: line.size,
}


def marks(rows: Sequence[str]) -> Marks:
    """Return the colour and the marker of each row. They are the same in all charts of a page."""
    return {row: mark(number) for number, row in enumerate(rows)}


def intervals(lines: Sequence[Line], metric: str, heading: str, look: Marks, prefix: str) -> Markup:
    """Draw the mean, the 95 % interval and every seed of each line, and the score of the mean predictor."""
    known = [(line, spread) for line in lines if (spread := line.scores.get(metric)) is not None]
    baseline = _baseline(known, metric)
    values = [value for _, spread in known for value in (spread.mean, *(spread.interval or ()))]
    values += [value for line, _ in known for value in line.each.get(metric, ())]
    log = metric == "mse" and spans(values + ([] if baseline is None else [baseline]), 10)
    with style():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(known)), layout="constrained")
        axes = figure.add_subplot()
        for row, (line, spread) in enumerate(known):
            own = look[line.row]
            if spread.interval is not None:
                axes.plot(spread.interval, (row, row), color=own["color"], linewidth=2.2, alpha=0.75)
            seeds = line.each.get(metric, ())
            if len(seeds) > 1:
                axes.scatter(seeds, [row + 0.2] * len(seeds), s=7, color=GREY, linewidths=0, zorder=3)
            axes.scatter([spread.mean], [row], s=30, linewidths=0, zorder=4, **own)
            axes.annotate(
                shown(line.row, 44),
                (0, row - 0.36),
                xycoords=("axes fraction", "data"),
                va="center",
                parse_math=False,
                bbox={"facecolor": GROUND, "edgecolor": "none", "pad": 1},
            )
        if baseline is not None:
            axes.axvline(baseline, color=GREY, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=1)
        if log:
            log_scale(axes, "x")
        elif metric != "mse":
            axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set(ylim=(len(known) - 0.5, -0.7), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        label(axes, x=heading)
        alt = f"{heading} of {len(known)} methods: " + "; ".join(
            f"{line.row} {spread.mean:.4g}" for line, spread in known
        )
        return svg(figure, f"intervals{prefix}", alt)


def against(
    lines: Sequence[Line], metric: str, heading: str, cost: str, look: Marks, prefix: str
) -> Markup | None:
    """Draw the metric against a cost, ``time`` (seconds of training) or ``size`` (trainable weights).

    Returns:
        None if the lines do not differ in that cost.
    """
    known = [
        (line, spread, float(each))
        for line in lines
        if (spread := line.scores.get(metric)) is not None and (each := COSTS[cost](line)) is not None
    ]
    if len({each for *_, each in known}) < 2:
        return None
    costs, means = [each for *_, each in known], [spread.mean for _, spread, _ in known]
    with style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for line, spread, each in known:
            own = look[line.row]
            if spread.interval is not None:
                axes.plot((each, each), spread.interval, color=own["color"], linewidth=1.2, alpha=0.5)
            axes.scatter([each], [spread.mean], s=36, linewidths=0, zorder=3, **own)
        if metric == "mse" and spans(
            [value for _, s, _ in known for value in (s.mean, *(s.interval or ()))], 10
        ):
            log_scale(axes)
        _cost_axis(axes, costs, cost)
        axes.margins(0.12, 0.1)
        axes.grid()
        label(axes, x={"time": "training time", "size": "trainable weights"}[cost], y=heading)
        _names(figure, axes, [shown(line.row, 26) for line, *_ in known], costs, means)
        alt = f"{heading} against {cost} of {len(known)} methods"
        return svg(figure, f"{cost}{prefix}", alt)


def over_variations(
    rows: Mapping[str, Mapping[str, Line]], columns: Sequence[str], metric: str, heading: str
) -> Markup:
    """Draw the metric of each row over the variations of a suite, in their order."""
    look = marks(list(rows))
    with style():
        figure = Figure(figsize=(WIDTH * 1.35, 3.2 + 0.2 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        values: list[float] = []
        for number, (row, lines) in enumerate(rows.items()):
            found: list[tuple[int, Spread]] = []
            for place, column in enumerate(columns):
                spread = lines[column].scores.get(metric) if column in lines else None
                if spread is not None:
                    found.append((place, spread))
            # Shift each method sideways, so that the intervals do not overlap.
            shift = (number - (len(rows) - 1) / 2) * min(0.06, 0.5 / len(rows))
            at = [place + shift for place, _ in found]
            for x, (_, spread) in zip(at, found, strict=True):
                if spread.interval is not None:
                    axes.plot((x, x), spread.interval, color=look[row]["color"], linewidth=1.2, alpha=0.5)
                    values += spread.interval
            means = [spread.mean for _, spread in found]
            axes.plot(
                at, means, markersize=5, markeredgewidth=0, linewidth=1.2, label=shown(row, 44), **look[row]
            )
            values += means
        if metric == "mse" and spans(values, 10):
            log_scale(axes)
        wide = max(map(len, columns)) * len(columns) > 44
        axes.set_xticks(
            range(len(columns)),
            [shown(column, 24) for column in columns],
            rotation=30 if wide else 0,
            ha="right" if wide else "center",
            parse_math=False,
        )
        axes.grid(axis="y")
        label(axes, y=heading)
        legend(figure, axes)
        return svg(figure, "variations", f"{heading} of {len(rows)} methods over {len(columns)} variations")


def predictions(line: Line, name: str, limits: tuple[float, float] | None, prefix: str) -> Markup | None:
    """Draw predicted against true values for a method's first seed. Return None without predictions."""
    test = line.test
    if test is None or not len(test.true):
        return None
    with style():
        figure = Figure(figsize=(SMALL, SMALL + 0.1), layout="constrained")
        axes = figure.add_subplot()
        if test.true.dtype.kind in "OU":
            matrix(axes, test.true, test.predicted, names=False)
            label(axes, x="predicted", y="true")
        else:
            predicted = test.predicted if limits is None else test.predicted.clip(*limits)
            ends = test.true if limits is None else np.array(limits)
            identity(axes, ends, ends if limits is not None else predicted)
            points(axes, test.true, predicted, small=True, color=BLUE, alpha=0.7)
            label(axes, x="true", y="predicted")
        axes.set_title(shown(line.row, 26), fontsize=9.5, color=INK, parse_math=False)
        return svg(figure, f"predictions{prefix}", f"Predicted against true {name}, {line.row}")


def maps(line: Line, prefix: str) -> tuple[Markup, ...]:
    """Draw the embeddings of a method's first seed as t-SNE maps, one for each column that is shown.

    Returns:
        The maps; none if the cell holds no map.
    """
    test = line.test
    if test is None or test.map is None:
        return ()
    there = np.isfinite(test.map).all(1)
    return tuple(
        tsne_map(
            test.map[there],
            values[there],
            name,
            f"t-SNE map of the embeddings of {line.row}, coloured by {name}",
            prefix=f"{prefix}{number}-",
        )
        for number, (name, values) in enumerate(test.shown.items())
    )


def common_limits(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return axis limits around the true values. Predictions outside of the limits are drawn at the edge."""
    tests = [line.test for line in lines if line.test is not None and line.test.true.dtype.kind == "f"]
    if not tests or not len(tests[0].true):
        return None
    true = np.concatenate([test.true for test in tests])
    low, high = float(true.min()), float(true.max())
    margin = 0.1 * (high - low) or 0.05 * max(abs(high), 1.0)
    return low - margin, high + margin


def _baseline(known: Sequence[tuple[Line, Spread]], metric: str) -> float | None:
    """Return the score of the mean predictor, or None if this score differs between the lines."""
    found = set()
    for line, _ in known:
        scores = line.outcomes[0].baseline if line.outcomes else None
        own = line.test is not None and bool(line.outcomes) and line.test is line.outcomes[0].tests[0]
        found.add(getattr(scores, metric) if scores is not None and own else None)
    return found.pop() if len(found) == 1 else None


def _cost_axis(axes: Axes, costs: Sequence[float], cost: str) -> None:
    if spans(costs, 3):
        log_scale(axes, "x")
    elif min(costs) == 0 < max(costs):
        # A log scale cannot show a size of 0, so the axis is linear below the smallest other size.
        axes.set_xscale("symlog", linthresh=min(each for each in costs if each > 0), linscale=0.6)
    if cost == "time":
        if spans(costs, 3):
            axes.xaxis.set_major_locator(FixedLocator(TIMES if spans(costs, 100) else MORE_TIMES))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _time(value)))
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size(value)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _time(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{1000 * seconds:g} ms"
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def _size(weights: float) -> str:
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if weights >= unit:
            return f"{weights / unit:g} {letter}"
    return f"{weights:g}"


def _names(figure: Figure, axes: Axes, names: Sequence[str], x: Sequence[float], y: Sequence[float]) -> None:
    """Write the name of each point beside the point.

    A name goes to the first position where it covers no point and no other name.
    """
    figure.draw_without_rendering()
    scale, frame = figure.dpi / 72, axes.get_window_extent()
    places = axes.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_extents(*(place - 4 * scale), *(place + 4 * scale)) for place in places]
    for name, point, each in zip(names, places, zip(x, y, strict=True), strict=True):
        width, height = len(name) * POINT * scale, 11 * scale
        for right, up in (
            (1, 0),
            (-1, 0),
            (1, 1),
            (1, -1),
            (-1, 1),
            (-1, -1),
            (0, 1),
            (0, -1),
            (1, 2),
            (1, -2),
            (-1, 2),
        ):
            left = point[0] + right * 6 * scale - (width if right < 0 else width / 2 if right == 0 else 0)
            middle = point[1] + up * 11 * scale
            box = Bbox.from_bounds(left, middle - height / 2, width, height)
            if box.x0 < frame.x0 or box.x1 > frame.x1 or any(box.overlaps(other) for other in taken):
                continue
            break
        else:
            right, up = 1, 0
            box = Bbox.from_bounds(point[0] + 6 * scale, point[1] - height / 2, width, height)
        taken.append(box)
        axes.annotate(
            name,
            each,
            xytext=(6 * right, 11 * up),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[right],
            va="center",
            fontsize=9,
            parse_math=False,
        )

"""Write an inspection as one HTML page that loads nothing and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sneframe
from sneframe.atomic import write_bytes
from sneframe.inspection import in_words
from sneframe.inspection.collection import Summary
from sneframe.inspection.difference import NetworkDifference
from sneframe.inspection.measure import Measured
from sneframe.inspection.network import Inspection
from sneframe.report.drawing import BLUE, GREY, INK, label, log_scale, shown, spans, style, svg
from sneframe.report.template import template

MOST = 60  #: parameters that get a plot of their spectrum
NAMED = 40  #: parameters whose names fit below an axis
SIZE = (2.6, 2.0)  #: inches, of one spectrum


def write(inspection: Inspection, path: Path) -> Path:
    """Write the page of one network: facts, findings, a table of parameters, and plots.

    Raises:
        MachineError: the file cannot be written.
    """
    matrices = [each for each in inspection.parameters if each.spectrum is not None]
    return _write(
        "inspection.html.j2",
        path,
        inspection=inspection,
        facts=list(in_words.facts(inspection)),
        columns=in_words.COLUMNS,
        rows=[(each.name, in_words.row(each)) for each in inspection.parameters],
        listed=in_words.listed,
        profile=_profile(inspection.parameters),
        spectra=[_spectrum(each, f"s{number}-") for number, each in enumerate(matrices[:MOST])],
        left=max(0, len(matrices) - MOST),
    )


def write_difference(found: NetworkDifference, path: Path) -> Path:
    """Write the page of two networks: what changed, and by how much.

    Raises:
        MachineError: the file cannot be written.
    """
    return _write(
        "difference.html.j2",
        path,
        found=found,
        verdict=in_words.verdict(found),
        columns=in_words.CHANGED,
        rows=[(name, cells) for name, *cells in in_words.change_rows(found)],
        chart=_changes(found),
    )


def write_list(summaries: Sequence[Summary], path: Path) -> Path:
    """Write the page of a folder: one row for each network.

    Raises:
        MachineError: the file cannot be written.
    """
    rows = [(each.source, in_words.summary_row(each)) for each in summaries]
    return _write("collection.html.j2", path, columns=in_words.SUMMARY, rows=rows)


def _write(name: str, path: Path, **content: object) -> Path:
    text = template("sneframe.inspection", name).render(version=sneframe.__version__, **content)
    write_bytes(path, text.encode(errors="replace"))
    return path


def _spectrum(each: Measured, prefix: str) -> Markup:
    """Draw the singular values of a parameter by rank, and where the tail of the power law begins."""
    assert each.spectrum is not None
    values = each.spectrum.values
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(np.arange(1, len(values) + 1), values, color=BLUE, linewidth=1.4)
        if each.power_law is not None:
            axes.axvline(each.power_law.tail, color=GREY, linewidth=1, linestyle=(0, (1, 1.5)))
        positive = [float(value) for value in values if value > 0]
        if spans(positive, 10):
            log_scale(axes)
        axes.set_title(shown(each.name, 30), fontsize=8.5, color=INK, parse_math=False)
        label(axes, x="rank", y="singular value")
        return svg(
            figure, prefix, f"Singular values of {each.name}, from {values[0]:.3g} to {values[-1]:.3g}"
        )


def _profile(parameters: Sequence[Measured]) -> Markup | None:
    """Draw the norms of the rows of each matrix over the depth of the network."""
    known = [each for each in parameters if each.rows is not None and each.rms]
    if not known:
        return None
    with style():
        figure = Figure(figsize=(8.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(known))
        norms = np.array([each.rows.norms for each in known if each.rows is not None])
        axes.vlines(places, norms[:, 0], norms[:, 2], color=GREY, linewidth=1.6)
        axes.scatter(places, norms[:, 1], s=16, color=BLUE, linewidths=0, zorder=3)
        if spans([float(value) for value in norms.ravel() if value > 0], 10) and norms.min() > 0:
            log_scale(axes)
        _name(axes, [each.name for each in known])
        axes.grid(axis="y")
        label(axes, y="norm of a row")
        return svg(
            figure, "profile-", "Smallest, median and largest norm of the rows of each matrix, by depth"
        )


def _changes(found: NetworkDifference) -> Markup | None:
    """Draw the relative change of each parameter, in the order of the network."""
    known = [each for each in found.changes if each.relative is not None]
    if not known:
        return None
    with style():
        figure = Figure(figsize=(8.4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(known))
        axes.bar(places, [100 * min(each.relative or 0.0, 10.0) for each in known], color=BLUE, width=0.8)
        _name(axes, [each.name for each in known])
        label(axes, y="change in %")
        return svg(figure, "changes-", f"Relative change of {len(known)} parameters")


def _name(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of parameters below an axis, if there is space for them."""
    few = names if len(names) <= NAMED else []
    axes.set_xticks(range(len(few)), [shown(name, 26) for name in few])
    for text in axes.get_xticklabels():
        text.set(rotation=90, fontsize=7.5, parse_math=False)

"""Draws the maps of a run's test networks side by side.

Run ``python docs/benchmarks/maps.py RUN FILE.png``. The maps are those of the run's report, coloured by the
columns in ``zoo.show`` and by the predicted property.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sneframe.report.drawing import PALETTE
from sneframe.report.projection import Projection, project
from sneframe.run_folder.load import read_folder


def panel(axes: Axes, points: np.ndarray, values: np.ndarray, name: str) -> None:
    """Draw one map."""
    axes.set(title=name, xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    if values.dtype == object:
        for label, colour in zip(sorted(set(values.tolist())), PALETTE, strict=False):
            here = values == label
            axes.scatter(*points[here].T, s=5, color=colour, label=label, linewidths=0, alpha=0.8)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False, markerscale=2)
        return
    drawn = axes.scatter(*points.T, s=5, c=values, cmap="viridis", linewidths=0, alpha=0.85)
    axes.figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.7, pad=0.02)


def main() -> None:
    """Draw a run."""
    run, path = read_folder(Path(sys.argv[1])), Path(sys.argv[2])
    assert run.embeddings is not None
    projection = project(run.embeddings.values)
    assert isinstance(projection, Projection)
    ids = run.predictions[0].ids.tolist()
    rows = [ids.index(number) for number in run.embeddings.ids[projection.rows].tolist()]
    coloured = {**run.shown, run.metrics.main.property: run.predictions[0].true}
    figure = Figure(figsize=(4 * len(coloured), 4.6), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(1, len(coloured)), coloured.items(), strict=True):
        panel(axes, projection.tsne, values[rows], name)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

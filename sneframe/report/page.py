"""The page: a run folder's values, tables and figures, laid into ``report.html.j2``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from sneframe import state
from sneframe.report import figures
from sneframe.report.folder import RunFolder, read_folder
from sneframe.report.projection import SEED, Projection, project
from sneframe.report.template import template
from sneframe.report.words import number, ratio


def write_report(folder: Path) -> Path:
    """Render ``report.html`` of a finished run into its folder, and return its path.

    The same folder gives the same bytes; an older report stands until the new one is complete.

    Raises:
        RunError: a file of the folder is missing, malformed or at odds with another.
        MachineError: the report cannot be written.
    """
    text = render(read_folder(folder))
    path = folder / "report.html"
    # A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark.
    state.write_bytes(path, text.encode(errors="replace"))
    return path


def render(run: RunFolder) -> str:
    """Return the page of a run."""
    colours = _colours(run)
    return template("sneframe.report", "report.html.j2").render(
        run=run,
        metrics=run.metrics,
        env=run.environment,
        colours=colours,
        scatter=_scatter(run, colours),
        curves=_curves(run),
        map=_map(run),
    )


def _colours(run: RunFolder) -> dict[str, str]:
    """Return a colour for each architecture of a zoo that mixes a few; empty where one colour does."""
    architectures = list(run.metrics.by_architecture)
    if not 1 < len(architectures) <= len(figures.PALETTE):
        return {}
    return dict(zip(architectures, figures.PALETTE, strict=False))


def _scatter(run: RunFolder, colours: dict[str, str]) -> Markup:
    name, scores = run.metrics.property, run.metrics.test
    architectures = run.predictions.architecture.tolist()
    shown = [colours.get(architecture, figures.BLUE) for architecture in architectures]
    alt = (
        f"Predicted against true {name} of {scores.n} test networks, with the identity line; "
        f"R² {ratio(scores.r2)}, Kendall's τ {ratio(scores.tau)}"
    )
    return figures.scatter(run.predictions, name, shown, alt)


def _curves(run: RunFolder) -> Markup | None:
    if not run.history:
        return None
    first, last = run.history[0], run.history[-1]
    alt = (
        f"Over {len(run.history)} epochs the training task loss goes from {number(first.task)} to "
        f"{number(last.task)}, the validation MSE from {number(first.mse)} to {number(last.mse)}"
    )
    return figures.curves(run.history, run.metrics.best_epoch, alt)


def _map(run: RunFolder) -> dict[str, Any]:
    """Return the two maps and what their captions need, or the sentence that says why there is none."""
    if run.embeddings is None:
        return {"missing": "The run kept no embeddings of its test networks."}
    projection = project(run.embeddings.values)
    if not isinstance(projection, Projection):
        return {"missing": projection}
    name = run.metrics.property
    values_of = dict(zip(run.predictions.ids.tolist(), run.predictions.true, strict=True))
    values = np.array([values_of[network] for network in run.embeddings.ids[projection.rows].tolist()])
    alt = f"map of the embeddings of {len(values)} test networks, coloured by {name}"
    return {
        "missing": None,
        "pca": figures.pca_map(projection, values, name, f"PCA {alt}"),
        "tsne": figures.tsne_map(projection, values, name, f"t-SNE {alt}"),
        "shown": len(projection.rows),
        "of": len(run.embeddings.ids),
        "width": run.embeddings.values.shape[1],
        "perplexity": projection.perplexity,
        "seed": SEED,
    }

"""The page: a run folder's values, tables and figures, laid into ``report.html.j2``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from sneframe import atomic
from sneframe.report import figures
from sneframe.report.projection import SEED, Projection, project
from sneframe.report.template import template
from sneframe.report.words import number, ratio
from sneframe.run_folder.load import RunFolder, read_folder
from sneframe.run_folder.measured import PropertyScores
from sneframe.run_folder.predictions import CATEGORY, Predictions


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
    atomic.write_bytes(path, text.encode(errors="replace"))
    return path


def render(run: RunFolder) -> str:
    """Return the page of a run."""
    colours = _colours(run)
    return template("sneframe.report", "report.html.j2").render(
        run=run,
        metrics=run.metrics,
        env=run.environment,
        colours=colours,
        headings={name: headings(scores) for name, scores in run.metrics.by_property.items()},
        drawn={
            name: _predictions(name, scores, predictions, colours, place)
            for place, ((name, scores), predictions) in enumerate(
                zip(run.metrics.by_property.items(), run.predictions, strict=True)
            )
        },
        error=_error(run.metrics),
        curves=_curves(run),
        map=_map(run),
    )


def headings(scores: PropertyScores) -> dict[str, tuple[str, str]]:
    """Return for each metric that is shown of a property what stands over its column, and how it is written."""
    if scores.task == CATEGORY:
        return {
            "accuracy": ("accuracy", "ratio"),
            "balanced_accuracy": ("balanced", "ratio"),
            "mse": ("Brier score", "number"),
        }
    return {
        "mse": ("MSE", "number"),
        "r2": ("R²", "ratio"),
        "tau": ("τ", "ratio"),
        "spearman": ("ρ", "ratio"),
    }


def _error(scores: PropertyScores) -> str:
    return "Brier score" if scores.task == CATEGORY else "MSE"


def _colours(run: RunFolder) -> dict[str, str]:
    """Return a colour for each architecture of a zoo that mixes a few; empty where one colour does."""
    architectures = list(run.metrics.by_architecture)
    if not 1 < len(architectures) <= len(figures.PALETTE):
        return {}
    return dict(zip(architectures, figures.PALETTE, strict=False))


def _predictions(
    name: str, found: PropertyScores, predictions: Predictions, colours: dict[str, str], place: int
) -> Markup:
    """Draw predicted against true values: points of numbers, a matrix of classes; figures are told apart by their place."""
    scores = found.test
    if found.task == CATEGORY:
        alt = f"Predicted against true {name} of {scores.n} test networks; accuracy {ratio(scores.accuracy)}"
        return figures.confusion(predictions, name, alt, prefix=_prefix(place))
    shown = [colours.get(architecture, figures.BLUE) for architecture in predictions.architecture.tolist()]
    alt = (
        f"Predicted against true {name} of {scores.n} test networks, with the identity line; "
        f"R² {ratio(scores.r2)}, Kendall's τ {ratio(scores.tau)}"
    )
    return figures.scatter(predictions, name, shown, alt, prefix=_prefix(place))


def _prefix(place: int) -> str:
    return "" if place == 0 else str(place)


def _curves(run: RunFolder) -> Markup | None:
    if not run.history:
        return None
    first, last = run.history[0], run.history[-1]
    alt = (
        f"Over {len(run.history)} epochs the training task loss goes from {number(first.train.task)} to "
        f"{number(last.train.task)}, the validation {_error(run.metrics)} from {number(first.val.mse)} to "
        f"{number(last.val.mse)}"
    )
    return figures.curves(run.history, _error(run.metrics), run.metrics.best_epoch or None, alt)


def _map(run: RunFolder) -> dict[str, Any]:
    """Return the two maps and what their captions need, or the sentence that says why there is none."""
    if run.embeddings is None:
        return {"missing": "The run kept no embeddings of its test networks."}
    projection = project(run.embeddings.values)
    if not isinstance(projection, Projection):
        return {"missing": projection}
    networks = run.embeddings.ids[projection.rows].tolist()
    maps = []
    for place, (name, every) in enumerate(_coloured(run).items()):
        values_of = dict(zip(run.predictions[0].ids.tolist(), every, strict=True))
        values = np.array([values_of[network] for network in networks], every.dtype)
        alt = f"map of the embeddings of {len(values)} test networks, coloured by {name}"
        prefix = _prefix(place)
        pca = figures.pca_map(projection, values, name, f"PCA {alt}", prefix=prefix)
        tsne = figures.tsne_map(projection, values, name, f"t-SNE {alt}", prefix=prefix)
        maps.append({"name": name, "pca": pca, "tsne": tsne})
    return {
        "missing": None,
        "maps": maps,
        "shown": len(projection.rows),
        "of": len(run.embeddings.ids),
        "width": run.embeddings.values.shape[1],
        "perplexity": projection.perplexity,
        "seed": SEED,
    }


def _coloured(run: RunFolder) -> dict[str, np.ndarray]:
    """Return what maps are coloured by: properties, the architecture where there are several, and ``zoo.show``."""
    found = {
        name: predictions.true
        for name, predictions in zip(run.metrics.by_property, run.predictions, strict=True)
    }
    if len(run.metrics.by_architecture) > 1:
        names, summaries = run.predictions[0].architecture.tolist(), run.environment.zoo.architectures
        found["architecture"] = np.array([summaries.get(name, name) for name in names], dtype=object)
    return {**found, **run.shown}

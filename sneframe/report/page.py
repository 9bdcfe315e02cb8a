"""Render the report of a run: fill ``report.html.j2`` with values, tables and figures of the run folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from markupsafe import Markup

from sneframe import atomic
from sneframe.metrics import Scores
from sneframe.report import figures
from sneframe.report.bootstrap import interval, resampled
from sneframe.report.drawing import BLUE, PALETTE
from sneframe.report.projection import SEED, Projection, project
from sneframe.report.template import template
from sneframe.report.words import number, ratio
from sneframe.run_folder.load import RunFolder, read_folder
from sneframe.run_folder.measured import PropertyScores
from sneframe.run_folder.predictions import CATEGORY, Predictions

DRAWS = 2_000  #: resamples of the test networks. A comparison draws more, because it reports differences.
FEWEST = 30  #: the page warns if there are fewer test networks
MOST_ROWS = 20  #: number of architectures that the page lists
MOST_WORST = 10  #: number of worst predictions that the page lists


@frozen(kw_only=True)
class ArchitectureRow:
    """One line of the table of architectures.

    Args:
        id: id of the architecture.
        counts: numbers of its networks in train, val and test.
        scores: scores of its test networks; None without test networks.
    """

    id: str
    counts: tuple[int, int, int]
    scores: Scores | None


@frozen(kw_only=True)
class Worst:
    """One of the worst predictions.

    Args:
        source: name of the network.
        architecture: id of the architecture of the network.
        true: true value.
        predicted: predicted value.
        error: predicted − true for a number; the probability of the true class for a category.
    """

    source: str
    architecture: str
    true: float | str
    predicted: float | str
    error: float


@frozen(kw_only=True)
class ClassRow:
    """One line of the table of classes.

    Args:
        name: the label.
        n: test networks of this class.
        predicted: test networks for which this class was predicted.
        right: test networks of this class that were predicted correctly.
    """

    name: str
    n: int
    predicted: int
    right: int

    @property
    def recall(self) -> float | None:
        """Fraction of the networks of this class that are predicted correctly; None without such networks."""
        return self.right / self.n if self.n else None

    @property
    def precision(self) -> float | None:
        """Fraction of the predictions of this class that are right; None without such predictions."""
        return self.right / self.predicted if self.predicted else None


def write_report(folder: Path) -> Path:
    """Render ``report.html`` of a finished run into its folder, and return its path.

    The same folder gives the same bytes. An older report stays until the new one is complete.

    Raises:
        RunError: a file of the folder is missing or malformed, or contradicts another file.
        MachineError: the report cannot be written.
    """
    text = render(read_folder(folder))
    path = folder / "report.html"
    # A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark.
    atomic.write_bytes(path, text.encode(errors="replace"))
    return path


def render(run: RunFolder) -> str:
    """Return the report of a run, as HTML."""
    colours = _colours(run)
    properties = list(zip(run.metrics.by_property.items(), run.predictions, strict=True))
    return template("sneframe.report", "report.html.j2").render(
        run=run,
        metrics=run.metrics,
        env=run.environment,
        colours=colours,
        headings={name: headings(scores) for (name, scores), _ in properties},
        intervals={name: _intervals(predictions) for (name, _), predictions in properties},
        draws=DRAWS,
        groups=len(np.unique(run.predictions[0].group)),
        few=run.metrics.test.n < FEWEST,
        parts=[sum(run.metrics.architectures.get(part, {}).values()) for part in ("train", "val", "test")],
        mix=_mix(run),
        most_rows=MOST_ROWS,
        drawn={
            name: _predictions(name, scores, predictions, colours, place)
            for place, ((name, scores), predictions) in enumerate(properties)
        },
        classes={name: classes(predictions) for (name, _), predictions in properties},
        names=_names(run),
        worst={name: worst(predictions) for (name, _), predictions in properties},
        error=_error(run.metrics),
        curves=_curves(run),
        map=_map(run),
    )


def headings(scores: PropertyScores) -> dict[str, tuple[str, str]]:
    """Return the heading and the format, ``number`` or ``ratio``, of each metric that the page shows."""
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


def worst(predictions: Predictions) -> list[Worst]:
    """Return the worst predictions, worst first: the largest errors, or the least probable true classes."""
    if predictions.probability is None:
        errors = predictions.predicted - predictions.true
        order = np.argsort(-np.abs(errors), kind="stable")
    else:
        errors = predictions.probability
        order = np.argsort(errors, kind="stable")
    return [
        Worst(
            source=str(predictions.source[row]),
            architecture=str(predictions.architecture[row]),
            true=predictions.true[row],
            predicted=predictions.predicted[row],
            error=float(errors[row]),
        )
        for row in order[:MOST_WORST]
    ]


def classes(predictions: Predictions) -> list[ClassRow]:
    """Return one row for each class, sorted by label; an empty list if the property is a number."""
    if predictions.probability is None:
        return []
    true, predicted = predictions.true.astype(str), predictions.predicted.astype(str)
    return [
        ClassRow(
            name=name,
            n=int((true == name).sum()),
            predicted=int((predicted == name).sum()),
            right=int(((true == name) & (predicted == name)).sum()),
        )
        for name in np.union1d(true, predicted).tolist()
    ]


def _names(run: RunFolder) -> dict[str, str]:
    """Return a name for each architecture, by id.

    The name is the summary of the architecture. If several architectures have the same summary, the start of
    the id is put before it.
    """
    summaries = run.environment.zoo.architectures
    times = Counter(summaries.values())
    return {
        name: summary if times[summary] == 1 else f"{name[:6]}: {summary}"
        for name, summary in summaries.items()
    }


def _intervals(predictions: Predictions) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric that has one, from resamples of the run groups."""
    found = {}
    for metric in ("mse", "r2", "tau", "accuracy"):
        drawn = resampled(metric, predictions.true, predictions.predicted, DRAWS, group=predictions.group)
        if drawn is not None and (between := interval(drawn)) is not None:
            found[metric] = between
    return found


def _mix(run: RunFolder) -> list[ArchitectureRow]:
    """Return a row for each architecture. Those with the most networks come first."""
    parts = [run.metrics.architectures.get(part, {}) for part in ("train", "val", "test")]
    rows = []
    for name in dict.fromkeys([*run.metrics.by_architecture, *(name for part in parts for name in part)]):
        train, val, test = (part.get(name, 0) for part in parts)
        scores = run.metrics.by_architecture.get(name)
        rows.append(ArchitectureRow(id=name, counts=(train, val, test), scores=scores))
    return sorted(rows, key=lambda row: -sum(row.counts))


def _error(scores: PropertyScores) -> str:
    return "Brier score" if scores.task == CATEGORY else "MSE"


def _colours(run: RunFolder) -> dict[str, str]:
    """Return a colour for each architecture, by id; empty for a single one, or for more than the palette."""
    architectures = list(run.metrics.by_architecture)
    if not 1 < len(architectures) <= len(PALETTE):
        return {}
    return dict(zip(architectures, PALETTE, strict=False))


def _predictions(
    name: str, found: PropertyScores, predictions: Predictions, colours: dict[str, str], place: int
) -> list[tuple[str, Markup]]:
    """Draw the predictions of a property: numbers and their errors as points, categories as a matrix.

    Returns:
        The kind and the SVG of each figure. The ids in an SVG contain ``place``, the index of the property,
        so that all ids of the page differ.
    """
    scores, prefix = found.test, _prefix(place)
    if found.task == CATEGORY:
        alt = f"Predicted against true {name} of {scores.n} test networks; accuracy {ratio(scores.accuracy)}"
        return [("confusion", figures.confusion(predictions, name, alt, prefix=prefix))]
    shown = [colours.get(architecture, BLUE) for architecture in predictions.architecture.tolist()]
    alt = (
        f"Predicted against true {name} of {scores.n} test networks, with the identity line; "
        f"R² {ratio(scores.r2)}, Kendall's τ {ratio(scores.tau)}"
    )
    band = None if found.intervals is None else found.intervals.width
    errors = (
        f"Errors of the predicted {name} over its true value; the largest is {number(_largest(predictions))}"
    )
    return [
        ("scatter", figures.scatter(predictions, name, shown, alt, band=band, prefix=prefix)),
        ("residuals", figures.residuals(predictions, name, shown, errors, prefix=prefix)),
    ]


def _largest(predictions: Predictions) -> float:
    return float(np.abs(predictions.predicted - predictions.true).max())


def _prefix(place: int) -> str:
    return "" if place == 0 else str(place)


def _curves(run: RunFolder) -> Markup | None:
    if not run.history:
        return None
    first, last = run.history[0], run.history[-1]
    error, baseline = _error(run.metrics), run.metrics.baseline.val.mse
    best = run.metrics.best_epoch or None
    if first.val.mse is None:  # the head was fitted after the training
        alt = (
            f"Over {len(run.history)} epochs the training loss goes "
            f"{_from(first.train.loss, last.train.loss)}, the validation loss "
            f"{_from(first.val.loss, last.val.loss)}"
        )
        return figures.curves(run.history, error, best, alt)
    alt = (
        f"Over {len(run.history)} epochs the training task loss goes "
        f"{_from(first.train.task, last.train.task)}, the validation {error} "
        f"{_from(first.val.mse, last.val.mse)}; that of the mean predictor is {number(baseline)}"
    )
    return figures.curves(run.history, error, best, alt, baseline=baseline)


def _from(first: float | None, last: float | None) -> str:
    assert first is not None
    assert last is not None
    return f"from {number(first)} to {number(last)}"


def _map(run: RunFolder) -> dict[str, Any]:
    """Return the maps with the numbers of their captions, or a sentence that says why there is no map."""
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
        tsne = figures.tsne_map(projection.tsne, values, name, f"t-SNE {alt}", prefix=prefix)
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
    """Return the values that colour the maps: properties, the architecture if it varies, and ``zoo.show``."""
    found = {
        name: predictions.true
        for name, predictions in zip(run.metrics.by_property, run.predictions, strict=True)
    }
    if len(run.metrics.by_architecture) > 1:
        ids, names = run.predictions[0].architecture.tolist(), _names(run)
        found["architecture"] = np.array([names.get(each, each) for each in ids], dtype=object)
    return {**found, **run.shown}

"""Arrange the lines of a comparison in columns, rows and matrices, as the pages show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from attrs import frozen

from sneframe.bench.header import Header
from sneframe.bench.table import Line

NAMES = {"mse": "MSE", "r2": "R²", "tau": "τ", "accuracy": "accuracy"}


@frozen(kw_only=True, slots=False)
class Table:
    """The content of the pages of a comparison.

    Args:
        title: title of the page, one line.
        property: the predicted property; None for the first property of the zoo.
        metric: the metric that orders the lines.
        budget: seconds of training of each run, or None.
        cpu_budget: whether the budget counts CPU seconds.
        lines: the lines of all columns.
        identity: text that distinguishes the page from those of other comparisons; empty for a page on its
            own.
        header: what the comparison was made of, or None.
    """

    title: str
    property: str | None
    metric: str
    budget: float | None
    lines: tuple[Line, ...]
    identity: str = ""
    cpu_budget: bool = False
    header: Header | None = None

    @cached_property
    def columns(self) -> dict[str, tuple[Line, ...]]:
        """The lines of each column. The best line comes first, and failed lines come last."""
        names = dict.fromkeys(line.column for line in self.lines)
        return {
            name: tuple(sorted((line for line in self.lines if line.column == name), key=self._rank))
            for name in names
        }

    @cached_property
    def rows(self) -> dict[str, dict[str, Line]]:
        """The lines of each row, by column."""
        found: dict[str, dict[str, Line]] = {}
        for line in self.lines:
            found.setdefault(line.row, {})[line.column] = line
        return found

    @cached_property
    def matrices(self) -> tuple[Matrix, ...]:
        """One matrix for each row and variation: the zoos trained on against the zoos tested on.

        There is no matrix if there is only one source and one target, or if a pair of zoos has no line.
        """
        found: dict[str, dict[tuple[str, str], Line]] = {}
        for line in self.lines:
            name = f"{line.row}, {line.within}" if line.within else line.row
            found.setdefault(name, {})[line.source, line.target] = line
        sources, targets = (
            tuple(dict.fromkeys(getattr(n, end) for n in self.lines)) for end in ("source", "target")
        )
        if len(sources) * len(targets) == 1 or any(
            len(lines) < len(sources) * len(targets) for lines in found.values()
        ):
            return ()
        return tuple(
            Matrix(name=name, sources=sources, targets=targets, lines=lines) for name, lines in found.items()
        )

    def shade(self, line: Line) -> float | None:
        """Return where a score lies between the worst (0) and the best (1) of all matrices.

        The result is None for a line without a score. Squared errors are compared by their logarithms,
        because they differ by orders of magnitude.
        """

        def scale(value: float) -> float:
            return -math.log(max(value, 1e-12)) if self.metric == "mse" else value

        scores = (each.scores.get(self.metric) for each in self.lines)
        known = [scale(score.mean) for score in scores if score is not None]
        own = line.scores.get(self.metric)
        if own is None:
            return None
        low, high = min(known), max(known)
        return 1.0 if high == low else (scale(own.mean) - low) / (high - low)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics to show. The metric that orders the lines comes first."""
        return shown_metrics(self.lines, self.metric)

    def _rank(self, line: Line) -> tuple[bool, float]:
        spread = line.scores.get(self.metric)
        if spread is None:
            return True, 0.0
        return False, spread.mean if self.metric == "mse" else -spread.mean


@frozen(kw_only=True)
class Matrix:
    """One method, trained on each source and tested on each target.

    Args:
        name: label of the row, with the variation if there is one.
        sources: labels of the zoos trained on.
        targets: labels of the zoos tested on.
        lines: one line for each pair.
    """

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    lines: dict[tuple[str, str], Line]


def shown_metrics(lines: Sequence[Line], metric: str) -> tuple[str, ...]:
    """Return the metrics to show for a number or a category. The metric that orders the lines is first."""
    category = any(line.scores.get("accuracy") for line in lines)
    shown = ("mse", "accuracy") if category else ("mse", "r2", "tau")
    return (metric, *(each for each in shown if each != metric))


def name_of(metric: str, lines: Sequence[Line]) -> str:
    """Return the name of a metric. The MSE of a category is called its Brier score."""
    category = any(line.scores.get("accuracy") for line in lines)
    return "Brier score" if metric == "mse" and category else NAMES[metric]

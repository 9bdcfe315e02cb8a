"""Compute the lines of a table from the results of cells.

A line has spreads over seeds, intervals, and the difference to the best line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
from attrs import field, frozen

from sneframe.bench.outcome import Outcome, Test
from sneframe.config.suite import METRICS
from sneframe.report.bootstrap import DRAWS, interval, resampled


@frozen(kw_only=True, eq=False)
class Entry:
    """The outcomes of one row in one column.

    Args:
        row: label of the row.
        recipe: ``PLUGIN/NAME``.
        column: heading of the column; empty if there is only one.
        within: label of the variation, without source and target.
        source: label of the zoo to train on; empty if there is only one.
        target: label of the zoo to test on; empty if there is only one.
        digest: digest of the zoo to test on.
        outcomes: one per seed that was run.
        seeds: number of seeds that are planned.
    """

    row: str
    recipe: str
    column: str
    within: str = ""
    source: str = ""
    target: str = ""
    digest: str
    outcomes: tuple[Outcome, ...]
    seeds: int


@frozen(kw_only=True)
class Spread:
    """A number over seeds.

    Args:
        mean: mean over seeds.
        std: standard deviation over seeds (n − 1); None for one seed.
        interval: 95 % interval of the mean over seeds, from resampled test networks; or None.
    """

    mean: float
    std: float | None = None
    interval: tuple[float, float] | None = None


@frozen(kw_only=True)
class PairedDifference:
    """The difference between a line and the best of its column, on the same resampled test networks.

    Args:
        mean: metric of the line − metric of the best.
        interval: 95 % interval of the difference; None if the two were not tested on the same networks.
    """

    mean: float
    interval: tuple[float, float] | None

    @property
    def clear(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@frozen(kw_only=True)
class Line:
    """One line of the table. Its numbers are means over the finished seeds.

    Args:
        row: label of the row.
        recipe: ``PLUGIN/NAME``.
        column: heading of the column.
        within: label of the variation, without source and target.
        source: label of the zoo trained on; empty if there is only one.
        target: label of the zoo tested on; empty if there is only one.
        done: number of finished seeds.
        seeds: number of planned seeds.
        networks: number of test networks.
        scores: spread of each metric; None where it is undefined.
        each: values of each metric, one for every seed; empty if a seed has none.
        outcomes: results of the finished seeds.
        test: test of the first finished seed.
        best: whether this is the best line of its column.
        against: difference to the best of the column; None for the best itself.
        coverage: fraction of the test networks whose 90 % interval contains the true value; None if a seed
            has no intervals, or did not record it.
        size: trainable weights.
        passes: passes over the training networks.
        planned: planned epochs.
        cut: number of seeds whose training the budget ended.
        best_epoch: best epoch in validation; 0 without epochs.
        train_seconds: seconds of training.
        cpu_seconds: CPU seconds of training; None if a seed did not record them.
        step_seconds: seconds of one step.
        seconds_to_best: seconds of training until the best epoch was scored.
        peak_memory: largest resident set of all seeds, in bytes.
        failed: reasons of failures, each once.
        applicable: false if the runs succeeded but their models cannot take the networks of this column.
    """

    row: str
    recipe: str
    column: str
    within: str = ""
    source: str = ""
    target: str = ""
    done: int
    seeds: int
    networks: int = 0
    scores: dict[str, Spread | None]
    each: dict[str, tuple[float, ...]] = field(factory=dict)
    outcomes: tuple[Outcome, ...] = field(default=(), eq=False, repr=False)
    test: Test | None = field(default=None, eq=False, repr=False)
    best: bool = False
    against: PairedDifference | None = None
    coverage: float | None = None
    size: int | None = None
    passes: float | None = None
    planned: int | None = None
    cut: int = 0
    best_epoch: float | None = None
    train_seconds: float | None = None
    cpu_seconds: float | None = None
    step_seconds: float | None = None
    seconds_to_best: float | None = None
    peak_memory: int | None = None
    failed: tuple[str, ...] = ()
    applicable: bool = True


def lines(entries: Sequence[Entry], metric: str, draws: int = DRAWS) -> tuple[Line, ...]:
    """Return a line for each entry, in the same order. Without draws there are no intervals."""
    tested = [_tested(entry) for entry in entries]
    drawn = [_draws(tests, draws) for tests in tested]
    best = _best(entries, tested, metric)
    found = []
    for number, entry in enumerate(entries):
        first = best.get(entry.column)
        against = None
        if first is not None and first != number and tested[number]:
            against = _against(metric, (tested[number], tested[first]), (drawn[number], drawn[first]))
        found.append(_line(entry, tested[number], drawn[number], best=number == first, against=against))
    return tuple(found)


Draws = dict[str, "np.ndarray | None"]


def _tested(entry: Entry) -> list[tuple[Outcome, Test]]:
    """Return each result that has a scored test on the zoo of the entry, with that test."""
    pairs = [(outcome, outcome.test(entry.digest)) for outcome in entry.outcomes]
    return [(outcome, test) for outcome, test in pairs if test.failed is None]


def _draws(tested: Sequence[tuple[Outcome, Test]], draws: int) -> Draws:
    """Return the mean over seeds of each metric in every resample, as ``(draws,)``."""
    found: Draws = {}
    alike = all(_same(test.group, tested[0][1].group) for _, test in tested)
    for metric in METRICS if alike and draws else ():
        each = [resampled(metric, test.true, test.predicted, draws, group=test.group) for _, test in tested]
        known = [values for values in each if values is not None]
        found[metric] = np.mean(known, axis=0) if known and len(known) == len(each) else None
    return found


def _values(tested: Sequence[tuple[Outcome, Test]], metric: str) -> list[float]:
    """Return the value of a metric for every seed; an empty list if the metric of a seed is undefined."""
    values = [getattr(test.scores, metric) for _, test in tested]
    return [] if None in values else values


def _best(
    entries: Sequence[Entry], tested: Sequence[Sequence[tuple[Outcome, Test]]], metric: str
) -> dict[str, int]:
    """Return the index of the best entry in each column."""
    candidates: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if values := _values(tested[number], metric):
            mean = fmean(values)
            candidates[entry.column].append((mean if metric == "mse" else -mean, number))
    return {column: min(each)[1] for column, each in candidates.items()}


def _against(
    metric: str, tested: tuple[Sequence[tuple[Outcome, Test]], ...], drawn: tuple[Draws, ...]
) -> PairedDifference | None:
    mine, best = (_values(each, metric) for each in tested)
    if not mine or not best:
        return None
    (_, one), (_, other) = tested[0][0], tested[1][0]
    same = np.array_equal(one.ids, other.ids) and np.array_equal(one.true, other.true)
    same = same and _same(one.group, other.group)
    both = [each.get(metric) for each in drawn]
    between = None
    if same and both[0] is not None and both[1] is not None:
        between = interval(both[0] - both[1])
    return PairedDifference(mean=fmean(mine) - fmean(best), interval=between)


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Return whether two tests are resampled by the same run groups."""
    return one is other if one is None or other is None else np.array_equal(one, other)


def _line(
    entry: Entry,
    tested: Sequence[tuple[Outcome, Test]],
    drawn: Draws,
    *,
    best: bool,
    against: PairedDifference | None,
) -> Line:
    reasons = [outcome.test(entry.digest).failed for outcome in entry.outcomes]
    failed = tuple(dict.fromkeys(reason for reason in reasons if reason is not None))
    head: dict[str, Any] = {
        "row": entry.row,
        "recipe": entry.recipe,
        "column": entry.column,
        "within": entry.within,
        "source": entry.source,
        "target": entry.target,
        "seeds": entry.seeds,
    }
    if not tested:
        ran = any(outcome.failed is None for outcome in entry.outcomes)
        return Line(**head, done=0, scores=dict.fromkeys(METRICS), failed=failed, applicable=not ran)
    outcomes = [outcome for outcome, _ in tested]
    scores: dict[str, Spread | None] = {}
    for metric in METRICS:
        values, draws = _values(tested, metric), drawn.get(metric)
        scores[metric] = _spread(values, None if draws is None else interval(draws)) if values else None
    test = tested[0][1]
    return Line(
        **head,
        done=len(tested),
        networks=test.scores.n if test.scores else 0,
        scores=scores,
        each={metric: tuple(_values(tested, metric)) for metric in METRICS},
        outcomes=tuple(outcomes),
        test=test,
        best=best,
        against=against,
        coverage=_mean([each.coverage for _, each in tested]),
        size=outcomes[0].size,
        passes=fmean(o.passes for o in outcomes),
        planned=outcomes[0].planned,
        cut=sum(o.stopped_by == "budget" for o in outcomes),
        best_epoch=fmean(o.best_epoch for o in outcomes),
        train_seconds=fmean(o.train_seconds for o in outcomes),
        cpu_seconds=_mean([o.cpu_seconds for o in outcomes]),
        step_seconds=_mean([o.step_seconds for o in outcomes]),
        seconds_to_best=_mean([o.seconds_to_best for o in outcomes]),
        peak_memory=max(o.peak_memory for o in outcomes),
        failed=failed,
    )


def _spread(values: Sequence[float], between: tuple[float, float] | None) -> Spread:
    return Spread(mean=fmean(values), std=stdev(values) if len(values) > 1 else None, interval=between)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None

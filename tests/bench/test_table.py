"""From outcomes to lines: means over seeds, intervals, the best line, and differences to it."""

import numpy as np
import pytest
from attrs import evolve

from sneframe.bench.outcome import Outcome, Test
from sneframe.bench.table import Entry, PairedDifference, Spread, lines
from sneframe.config.suite import METRICS
from sneframe.metrics import score
from sneframe.report.bootstrap import counts

TRUE = np.arange(8.0)


def outcome(seed, errors, ids=None, **more):
    predicted = TRUE + errors
    ids = np.arange(8) if ids is None else ids
    test = Test(digest="z", scores=score(TRUE, predicted), ids=ids, true=TRUE, predicted=predicted)
    return Outcome(**{"seed": seed, "tests": (test,), "size": 5, "planned": 4, "passes": 4.0, **more})


def entry(row, *outcomes, column="", seeds=2):
    return Entry(row=row, recipe=f"toy/{row}", column=column, digest="z", outcomes=outcomes, seeds=seeds)


GOOD = entry("good", outcome(0, 1.0), outcome(1, 2.0))
BAD = entry("bad", outcome(0, np.linspace(1, 5, 8)), outcome(1, 3.0))


def test_scores_are_means_over_seeds():
    """Squared errors of 1 and 4 have mean 2.5 and, with n − 1, standard deviation 3/√2."""
    line = lines([GOOD], "mse")[0]
    assert line.scores["mse"].mean == 2.5
    assert line.scores["mse"].std == pytest.approx(3 / 2**0.5)
    assert (line.done, line.seeds, line.networks) == (2, 2, 8)


def test_one_seed_has_no_standard_deviation():
    """One seed has a mean and no standard deviation, so no ± is shown."""
    assert lines([entry("one", outcome(0, 1.0), seeds=1)], "mse")[0].scores["mse"].std is None


def test_the_interval_is_of_the_mean_over_seeds():
    """The interval is that of the mean over seeds of the mean over the networks of a resample."""
    errors = np.mean([np.linspace(1, 5, 8) ** 2, np.full(8, 9.0)], axis=0)
    means = [np.mean(np.repeat(errors, times.astype(int))) for times in np.concatenate(list(counts(8, 500)))]
    line = lines([BAD], "mse", draws=500)[0]
    assert line.scores["mse"].interval == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-5)


def test_others_are_compared_with_the_best():
    """The best has the lowest error; the others have their paired difference to it."""
    good, bad = lines([GOOD, BAD], "mse", draws=500)
    assert good.best
    assert good.against is None
    assert not bad.best
    assert bad.against.mean == pytest.approx(bad.scores["mse"].mean - 2.5)
    worse = np.mean([np.linspace(1, 5, 8) ** 2, np.full(8, 9.0)], axis=0) - 2.5
    means = [np.mean(np.repeat(worse, times.astype(int))) for times in np.concatenate(list(counts(8, 500)))]
    assert bad.against.interval == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-4)
    assert bad.against.clear


@pytest.mark.parametrize(("metric", "best"), [("mse", "small"), ("tau", "ordered")])
def test_the_metric_says_which_is_the_best(metric, best):
    """By error the line with small errors is best, by τ the line that keeps the order."""
    small = entry("small", outcome(0, np.where(TRUE % 2, 1.0, -1.0) * 1.5))
    ordered = entry("ordered", outcome(0, 100.0))
    assert [line.row for line in lines([small, ordered], metric, draws=50) if line.best] == [best]


def test_columns_have_a_best_of_their_own():
    """Each column has its own best line."""
    found = lines([GOOD, entry("bad", *BAD.outcomes, column="other")], "mse", draws=50)
    assert all(line.best for line in found)


def test_other_test_networks_are_not_paired():
    """Lines with other test networks have a difference without an interval."""
    other = entry("other", outcome(0, 5.0, ids=np.arange(8) + 1), outcome(1, 5.0, ids=np.arange(8) + 1))
    against = lines([GOOD, other], "mse", draws=50)[1].against
    assert against == PairedDifference(mean=22.5, interval=None)
    assert not against.clear


def test_a_difference_around_zero_is_not_clear():
    """A difference is clear if 0 lies outside its interval."""
    assert not PairedDifference(mean=0.1, interval=(-0.1, 0.3)).clear
    assert PairedDifference(mean=0.1, interval=(0.05, 0.3)).clear


def test_a_failed_seed_leaves_the_others():
    """A failed seed leaves the scores of the other seeds."""
    line = lines([entry("half", outcome(0, 1.0), Outcome(seed=1, failed="no memory"))], "mse", draws=50)[0]
    assert line.scores["mse"].mean == 1.0
    assert (line.done, line.seeds, line.failed) == (1, 2, ("no memory",))


def test_a_row_of_failures_has_each_reason_once():
    """A row without a finished seed has no score, and each reason once."""
    reasons = (Outcome(seed=0, failed="no"), Outcome(seed=1, failed="no"), Outcome(seed=2, failed="never"))
    good, bad = lines([GOOD, entry("bad", *reasons, seeds=3)], "mse", draws=50)
    assert bad.scores == dict.fromkeys(METRICS)
    assert bad.failed == ("no", "never")
    assert bad.applicable
    assert (bad.best, bad.against) == (False, None)
    assert good.best


def test_a_refused_zoo_is_no_failure():
    """A method that cannot take a zoo is not applicable, which is no failure."""
    refused = Outcome(seed=0, tests=(Test(digest="z", failed="another architecture"),))
    line = lines([entry("tied", refused)], "mse", draws=50)[0]
    assert not line.applicable
    assert line.failed == ("another architecture",)


def test_a_seed_without_a_score_leaves_none():
    """A constant prediction has no τ: a mean over the other seeds would be of other runs."""
    constant = outcome(1, -TRUE)
    line = lines([entry("some", outcome(0, 1.0), constant)], "mse", draws=50)[0]
    assert line.scores["tau"] is None
    assert line.scores["mse"] == Spread(
        mean=(1 + 17.5) / 2, std=pytest.approx(16.5 / 2**0.5), interval=line.scores["mse"].interval
    )


def test_the_coverage_is_a_mean_over_seeds():
    """If a seed has none, neither has the line."""
    first, second = outcome(0, 1.0), outcome(1, 2.0)

    def covered(each, value):
        return evolve(each, tests=(evolve(each.tests[0], coverage=value),))

    both = entry("both", covered(first, 0.875), covered(second, 0.75))
    one = entry("one", covered(first, 0.875), second)
    assert [line.coverage for line in lines([both, one], "mse", draws=50)] == [0.8125, None]


def test_costs_are_means_and_memory_is_the_largest():
    """Times are means over seeds; memory is that of the largest seed."""
    first = outcome(0, 1.0, train_seconds=2.0, step_seconds=0.1, seconds_to_best=1.0, peak_memory=10)
    second = outcome(1, 1.0, train_seconds=4.0, step_seconds=0.3, seconds_to_best=2.0, peak_memory=30)
    line = lines([entry("costs", first, second)], "mse", draws=50)[0]
    assert (line.train_seconds, line.step_seconds, line.seconds_to_best) == (3.0, 0.2, 1.5)
    assert line.peak_memory == 30


def test_a_cut_training_is_counted():
    """A line counts the seeds that the budget ended."""
    first = outcome(0, 1.0, stopped_by="budget", passes=2.5)
    line = lines([entry("cut", first, outcome(1, 1.0))], "mse", draws=50)[0]
    assert (line.cut, line.passes, line.planned) == (1, 3.25, 4)

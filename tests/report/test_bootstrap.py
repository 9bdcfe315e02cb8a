"""The bootstrap: resamples are scored like sneframe.metrics, and intervals agree with scipy."""

import numpy as np
import pytest
from scipy import stats

from sneframe.metrics import score
from sneframe.report import bootstrap
from sneframe.report.bootstrap import counts, interval, resampled

DRAWS = 60


def values(n, *, ties):
    generator = np.random.default_rng(n)
    true = generator.standard_normal(n)
    predicted = true + generator.standard_normal(n)
    return (np.round(true), np.round(predicted)) if ties else (true, predicted)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("metric", ["mse", "r2", "tau"])
def test_a_resample_is_scored_by_the_metrics(metric, ties):
    """Each resample has the score that sneframe.metrics gives its networks."""
    true, predicted = values(12, ties=ties)
    drawn = np.concatenate(list(counts(12, DRAWS))).astype(int)
    expected = []
    for times in drawn:
        networks = np.repeat(np.arange(12), times)
        expected.append(getattr(score(true[networks], predicted[networks]), metric))
    found = resampled(metric, true, predicted, DRAWS)
    assert found == pytest.approx([np.nan if each is None else each for each in expected], nan_ok=True)


def test_labels_have_an_accuracy_and_numbers_have_none():
    """Labels have an accuracy only, and numbers have none."""
    true, predicted = np.array(["a", "b", "a", "b"]), np.array(["a", "a", "a", "b"])
    drawn = np.concatenate(list(counts(4, DRAWS)))
    assert resampled("accuracy", true, predicted, DRAWS) == pytest.approx(1 - drawn[:, 1] / 4)
    assert resampled("mse", true, predicted, DRAWS) is None
    assert resampled("accuracy", np.arange(4), np.arange(4), DRAWS) is None


def test_a_resample_has_as_many_networks():
    """A resample has as many networks as the sample; all are drawn equally often."""
    drawn = np.concatenate(list(counts(7, 2500)))
    assert drawn.shape == (2500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)


@pytest.mark.parametrize("metric", ["mse", "tau"])
def test_the_interval_is_that_of_scipy(metric):
    """The interval agrees with scipy.stats.bootstrap."""
    true, predicted = values(60, ties=False)
    found = interval(resampled(metric, true, predicted))

    def statistic(t, p):
        return np.mean((t - p) ** 2) if metric == "mse" else stats.kendalltau(t, p).statistic

    other = stats.bootstrap(
        (true, predicted),
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=3000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found == pytest.approx((other.low, other.high), rel=0.05)


def test_the_same_resamples_are_drawn_for_every_method():
    """Methods have the same resamples, so a constant difference of errors is the same in each resample."""
    true, predicted = np.zeros(9), np.arange(9.0)
    worse = np.sqrt(predicted**2 + 0.5)
    assert resampled("mse", true, worse) - resampled("mse", true, predicted) == pytest.approx(
        np.full(10_000, 0.5), abs=1e-5
    )


def test_an_interval_holds_the_middle_95_per_cent():
    """The limits are the 2.5 % and the 97.5 % quantile."""
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_undefined_resamples_are_left_out():
    """Undefined resamples are left out; if most are undefined there is no interval."""
    assert interval(np.array([1.0, 1.0, 1.0, np.nan])) == (1.0, 1.0)
    assert interval(np.array([1.0, np.nan, np.nan, np.nan])) is None


def test_a_constant_prediction_has_no_tau():
    """The τ of a constant is undefined in every resample."""
    found = resampled("tau", np.arange(6.0), np.ones(6), DRAWS)
    assert np.isnan(found).all()
    assert interval(found) is None


def test_tau_of_very_many_networks_is_not_resampled():
    """τ of more than 5000 networks has no resamples."""
    many = np.arange(bootstrap.MOST_FOR_TAU + 1.0)
    assert resampled("tau", many, many) is None


def test_resamples_are_the_same_if_not_kept(monkeypatch):
    """Blocks of resamples that are drawn again equal those that were drawn first."""
    kept = np.concatenate(list(counts(50, 40)))
    monkeypatch.setattr(bootstrap, "KEPT", 0)
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 7)
    drawn = list(counts(50, 40))
    assert [len(block) for block in drawn] == [7, 7, 7, 7, 7, 5]
    assert np.array_equal(np.concatenate(drawn), kept)


def test_run_groups_are_drawn_together():
    """Networks of one run group are drawn equally often, so a mean is weighted by the sizes of the groups."""
    true, predicted, group = np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0]), np.array(["a", "b", "b", "b"])
    drawn = np.concatenate(list(counts(2, DRAWS)))
    expected = (drawn[:, 0] * 1 + drawn[:, 1] * (4 + 9 + 16)) / (drawn[:, 0] + 3 * drawn[:, 1])
    assert resampled("mse", true, predicted, DRAWS, group=group) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["r2", "tau"])
def test_a_resample_of_groups_is_scored_by_the_metrics(metric):
    """The scores of resampled groups are those that sneframe.metrics gives their networks."""
    true, predicted = values(12, ties=True)
    group = np.arange(12) // 3
    expected = []
    for times in np.concatenate(list(counts(4, DRAWS))).astype(int):
        networks = np.repeat(np.arange(12), times[group])
        expected.append(getattr(score(true[networks], predicted[networks]), metric))
    found = resampled(metric, true, predicted, DRAWS, group=group)
    assert found == pytest.approx([np.nan if each is None else each for each in expected], nan_ok=True)


def test_groups_of_one_network_change_nothing():
    """Groups of one network each give the resamples of networks."""
    true, predicted = values(9, ties=False)
    alone = resampled("mse", true, predicted, DRAWS)
    assert resampled("mse", true, predicted, DRAWS, group=np.arange(9)) == pytest.approx(alone)

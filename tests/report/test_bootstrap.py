"""The bootstrap: the scores of every resample are those of the metrics, and its interval is that of scipy."""

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
def test_every_resample_is_scored_by_the_metrics(metric, ties):
    true, predicted = values(12, ties=ties)
    drawn = np.concatenate(list(counts(12, DRAWS))).astype(int)
    expected = []
    for times in drawn:
        networks = np.repeat(np.arange(12), times)
        expected.append(getattr(score(true[networks], predicted[networks]), metric))
    found = resampled(metric, true, predicted, DRAWS)
    assert found == pytest.approx([np.nan if each is None else each for each in expected], nan_ok=True)


def test_labels_have_an_accuracy_and_numbers_have_none():
    true, predicted = np.array(["a", "b", "a", "b"]), np.array(["a", "a", "a", "b"])
    drawn = np.concatenate(list(counts(4, DRAWS)))
    assert resampled("accuracy", true, predicted, DRAWS) == pytest.approx(1 - drawn[:, 1] / 4)
    assert resampled("mse", true, predicted, DRAWS) is None
    assert resampled("accuracy", np.arange(4), np.arange(4), DRAWS) is None


def test_a_resample_draws_as_many_networks_as_there_are():
    drawn = np.concatenate(list(counts(7, 2500)))
    assert drawn.shape == (2500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)


@pytest.mark.parametrize("metric", ["mse", "tau"])
def test_the_interval_is_that_of_scipy(metric):
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
    """So a method that is worse by the same amount on every network is worse by it in every resample."""
    true, predicted = np.zeros(9), np.arange(9.0)
    worse = np.sqrt(predicted**2 + 0.5)
    assert resampled("mse", true, worse) - resampled("mse", true, predicted) == pytest.approx(
        np.full(10_000, 0.5), abs=1e-5
    )


def test_an_interval_holds_the_middle_95_per_cent():
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_resamples_without_a_value_are_left_out_unless_they_are_most():
    assert interval(np.array([1.0, 1.0, 1.0, np.nan])) == (1.0, 1.0)
    assert interval(np.array([1.0, np.nan, np.nan, np.nan])) is None


def test_a_constant_prediction_has_no_tau_in_any_resample():
    found = resampled("tau", np.arange(6.0), np.ones(6), DRAWS)
    assert np.isnan(found).all()
    assert interval(found) is None


def test_tau_of_very_many_networks_is_not_resampled():
    many = np.arange(bootstrap.MOST_FOR_TAU + 1.0)
    assert resampled("tau", many, many) is None


def test_resamples_of_many_networks_are_not_kept_and_yet_the_same(monkeypatch):
    kept = np.concatenate(list(counts(50, 40)))
    monkeypatch.setattr(bootstrap, "KEPT", 0)
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 7)
    drawn = list(counts(50, 40))
    assert [len(block) for block in drawn] == [7, 7, 7, 7, 7, 5]
    assert np.array_equal(np.concatenate(drawn), kept)

"""Split conformal prediction, compared with numbers computed by hand and with the laws that it promises."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sneframe.errors import ConfigError
from sneframe.predict.conformal import (
    bound,
    chance,
    check_level,
    covered,
    errors,
    fewest,
    group_weights,
    label_sets,
    limits,
    percent,
    spread,
)
from sneframe.tasks import Category, Fraction, LogRegression, Regression

DRAWS = 1000
PLAIN = Regression(name="y", mean=0.0, std=1.0)  # its raw output is the predicted value


def alone(scores):
    """Each network is a run group of its own."""
    return np.arange(len(scores))


def raw(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


# -- the bound -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "level", "rank"),
    [
        (9, 0.9, 9),
        (10, 0.9, 10),  # 0.9 · 11 = 9.9
        (19, 0.9, 18),
        (19, 0.95, 19),
        (4, 0.5, 3),  # 0.5 · 5 = 2.5
        (3, 0.5, 2),
        (1, 0.5, 1),
        (99, 0.07, 7),  # as binary numbers, 0.07 · 100 is a little more than 7
        (99, 0.29, 29),
    ],
)
def test_the_bound_is_the_score_of_this_rank(n, level, rank):
    """Of n networks of different run groups, it is the ⌈level · (n + 1)⌉-th smallest score."""
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    assert bound(scores, alone(scores), level) == rank


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0.125, 1.0), (0.13, 2.0), (0.375, 2.0), (0.5, 3.0), (0.625, 3.0), (0.75, 5.0), (0.76, math.inf)],
)
def test_the_networks_of_a_run_group_share_its_weight(level, expected):
    """Three run groups have 1/4 each. One has two networks with 1/8 each, whose scores are 1 and 5."""
    scores, group = np.array([5.0, 3.0, 1.0, 2.0]), np.array(["a", "c", "a", "b"])
    assert bound(scores, group, level) == expected


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 4), st.floats(0.05, 0.95))
def test_more_checkpoints_with_the_same_scores_change_nothing(scores, times, level):
    """A run with four equal checkpoints says as much as a run with one."""
    once = np.array(scores)
    assert bound(np.tile(once, times), np.tile(alone(once), times), level) == bound(once, alone(once), level)


@pytest.mark.parametrize(("level", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_fewer_run_groups_have_no_bound(level, least):
    """With (n + 1) · level > n no score is large enough."""
    assert fewest(level) == least
    for n in range(1, least + 3):
        scores = np.ones(n)
        assert (bound(scores, alone(scores), level) == math.inf) == (n < least)
    # Many checkpoints of few runs are few run groups.
    several = np.repeat(np.arange(least - 1), 50)
    assert bound(np.ones(len(several)), several, level) == math.inf
    assert bound(np.empty(0), np.empty(0), level) == math.inf


def test_infinite_scores_come_last():
    """If one of ten networks has a class without training networks, nine others still give a bound."""
    scores = np.array([math.inf, *range(1, 20)])
    assert bound(scores, alone(scores), 0.9) == 19
    assert bound(scores, alone(scores), 0.95) == math.inf


# -- the law -------------------------------------------------------------------------------------------------


def within(hits, probability):
    """Whether the mean of hits differs from the probability by at most five standard errors."""
    return abs(np.mean(hits) - probability) <= 5 * math.sqrt(probability * (1 - probability) / len(hits))


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.integers(9, 60), st.sampled_from([0.5, 0.8, 0.9]), st.floats(0.1, 3))
def test_exchangeable_networks_are_covered_as_often_as_promised(seed, n, level, power):
    """The interval of a new network holds its true value with probability ⌈level · (n + 1)⌉ / (n + 1).

    This holds although the errors depend on the distance in another way than the spread does.
    """
    generator, hits = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        distances = generator.uniform(0, 1, n + 1)
        truth = generator.standard_normal(n + 1)
        predicted = truth + distances**power * generator.standard_t(3, n + 1)
        scores = errors(PLAIN, truth, raw(*predicted)) / spread(distances)
        most = bound(scores[:n], alone(scores[:n]), level)
        hit, _ = covered(PLAIN, truth[n:], raw(predicted[n]), most, spread(distances[n:]))
        hits.append(hit[0])
    assert within(hits, math.ceil(round(level * (n + 1), 9)) / (n + 1))


def of_runs(generator, runs):
    """Return scores and run groups. Runs with many checkpoints have small errors."""
    sizes = generator.choice([1, 8], runs)
    size = np.repeat(sizes, sizes)
    means = np.repeat(generator.uniform(0.5, 1.5, runs), sizes)
    return means * generator.uniform(0.9, 1.1, len(size)) / size, np.repeat(np.arange(runs), sizes)


def hits_of(seed, *, split, runs=20, level=0.8):
    """Return whether the bound of some runs covers one network of another run, for many draws."""
    generator, hits = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        scores, group = of_runs(generator, runs)
        new, _ = of_runs(generator, 1)
        most = bound(scores, alone(scores) if split else group, level)
        hits.append(generator.choice(new) <= most)
    return hits


def test_a_network_of_a_new_run_is_covered_as_often_as_promised():
    """Run groups have several networks, of different numbers. At least the level is promised."""
    hits = hits_of(0, split=False)
    margin = 5 * math.sqrt(0.8 * 0.2 / DRAWS)
    # More than level + 1 / (runs + 1) would be needlessly wide.
    assert 0.8 - margin <= np.mean(hits) <= 0.8 + 1 / 21 + margin


def test_networks_in_the_place_of_run_groups_break_the_promise():
    """The law above can fail: with a weight for each network, it does."""
    assert np.mean(hits_of(0, split=True)) < 0.65


# -- intervals -----------------------------------------------------------------------------------------------


def test_the_interval_is_the_prediction_and_half_the_width():
    """Without bounds of the task, nothing is clipped."""
    low, high = limits(PLAIN, raw(0.5, -3.0), np.array([2.0, 0.25]))
    np.testing.assert_allclose(low, [-1.5, -3.25])
    np.testing.assert_allclose(high, [2.5, -2.75])


@pytest.mark.parametrize(
    ("task", "value"),
    [
        (Fraction(name="accuracy", mean=0.5), math.log(9)),  # the logit of 0.9
        (Regression(name="accuracy", mean=0.5, std=2.0, within=(0, 1)), 0.2),
    ],
)
def test_an_interval_stays_in_the_bounds_of_the_task(task, value):
    """An accuracy of 0.9 ± 0.25 is at most 1."""
    low, high = limits(task, raw(value), np.array([0.25]))
    assert (low[0], high[0]) == (pytest.approx(0.65), 1.0)
    assert limits(task, raw(value), np.array([0.95]))[0] == [0.0]


def test_the_interval_of_a_learned_logarithm_begins_at_0():
    """The raw output 0 predicts 1, and an interval of half width 3 ends at 0 below and at 4 above."""
    task = LogRegression(name="p", mean=0.0, std=1.0)
    low, high = limits(task, raw(0.0), np.array([3.0]))
    assert (low.tolist(), high.tolist()) == ([0.0], [pytest.approx(4.0)])


def test_a_regressed_number_in_0_1_is_not_clipped():
    """Its task does not say that it is bounded."""
    task = Regression(name="accuracy", mean=0.9, std=0.01)
    assert limits(task, raw(0.0), np.array([0.25]))[1] == [pytest.approx(1.15)]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1))
def test_a_score_equal_to_the_bound_is_covered(true, predicted, distance):
    """Rounding does not exclude it."""
    truth, spreads = np.array([true]), spread(np.array([distance]))
    score = errors(PLAIN, truth, raw(predicted)) / spreads
    hit, width = covered(PLAIN, truth, raw(predicted), float(score[0]), spreads)
    assert hit.tolist() == [True]
    assert width[0] == pytest.approx(2 * abs(true - predicted), rel=1e-6, abs=1e-8)


# -- prediction sets -----------------------------------------------------------------------------------------

ANIMALS = Category(name="animal", classes=("cat", "dog", "eel"), frequencies=(0.5, 0.3, 0.2))
PROBABILITIES = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.05, 0.9, 0.05]], dtype=torch.float64)


def test_the_score_of_a_category_is_1_minus_the_probability_of_the_true_class():
    """A class that no training network has cannot be covered."""
    found = errors(ANIMALS, np.array(["cat", "eel", "fox"], dtype=object), PROBABILITIES.log())
    np.testing.assert_allclose(found, [0.3, 0.75, math.inf])


def test_a_set_has_the_classes_whose_scores_are_not_above_the_bound():
    """With the bound 0.65, a class needs a probability of 0.35."""
    inside = label_sets(ANIMALS, PROBABILITIES.log(), 0.6500001)
    assert inside.tolist() == [[True, False, False], [True, True, False], [False, True, False]]


def test_no_set_is_empty():
    """The predicted class is in the set even if its probability is too small."""
    inside = label_sets(ANIMALS, PROBABILITIES.log(), 0.2)
    assert inside.tolist() == [[True, False, False], [True, False, False], [False, True, False]]


def test_a_set_of_a_category_covers_its_true_label():
    """The width is the number of labels."""
    truth = np.array(["dog", "dog", "fox"], dtype=object)
    hits, widths = covered(ANIMALS, truth, PROBABILITIES.log(), 0.6500001, np.ones(3))
    assert (hits.tolist(), widths.tolist()) == ([False, True, False], [1, 2, 1])


# -- what stands around the numbers --------------------------------------------------------------------------


def test_run_groups_have_equal_weights():
    """A run group of three networks and one of a single network."""
    found = group_weights(np.array(["a", "b", "a", "a"]))
    np.testing.assert_allclose(found, [1 / 6, 1 / 2, 1 / 6, 1 / 6])


@pytest.mark.parametrize(("calibrated", "tested"), [(9, 12), (60, 40), (400, 400)])
def test_the_limits_of_chance_hold_95_percent_of_simulated_runs(calibrated, tested):
    """The scores of a run are uniform, and its coverage is counted."""
    generator = np.random.default_rng(0)
    low, high = chance(calibrated, tested, 0.9)
    scores = generator.uniform(size=(2000, calibrated))
    most = np.array([bound(each, alone(each), 0.9) for each in scores])
    coverage = (generator.uniform(size=(2000, tested)) <= most[:, None]).mean(1)
    inside = np.mean((low <= coverage) & (coverage <= high))
    assert inside >= 0.94
    assert min(np.mean(coverage < low), np.mean(coverage > high)) <= 0.03
    assert (low > 0) & (np.mean(coverage <= low) + np.mean(coverage >= high) >= 0.04)


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, math.nan, "0.9", True, None])
def test_a_level_lies_between_0_and_1(level):
    """Anything else is refused in one line."""
    with pytest.raises(ConfigError, match=r"^level must be a number between 0 and 1, such as 0\.9, but got "):
        check_level(level)


def test_a_level_is_written_in_percent():
    """Without digits that only rounding brings."""
    assert [percent(level) for level in (0.9, 0.975, 0.07, 0.58)] == ["90 %", "97.5 %", "7 %", "58 %"]

"""The cross-validation chooses what is known to be right, and says the errors that it found."""

import numpy as np
import pytest
import torch

from sneframe.adaptation.adjustments import CORRECTIONS, Encoded, Fitted, Nothing
from sneframe.adaptation.choice import choose, folds
from sneframe.errors import PartError
from sneframe.tasks import Regression, Tasks

TASKS = Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
SHIFT = CORRECTIONS[1]


def networks_of(predicted, true, group=None):
    """Return networks whose embeddings are the values that the run predicts."""
    embedding = torch.as_tensor(predicted, dtype=torch.float32)[:, None]
    group = np.arange(len(true)) if group is None else np.asarray(group)
    return Encoded(embedding=embedding, truth={"a": np.asarray(true, np.float64)}, group=group)


@pytest.mark.parametrize(
    ("function", "right"),
    [
        (lambda value: value, "nothing"),
        (lambda value: value + 2, "shift"),
        (lambda value: 0.3 * value + 2, "affine"),
        (lambda value: np.where(value < 2, 0.2 * value, 4 + 0.1 * value), "monotone"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_right_adjustment_is_chosen(function, right, seed, identity):
    """The truth is a function of the predicted value, with noise a tenth as large as its spread."""
    generator = np.random.default_rng(seed)
    predicted = generator.uniform(-3, 7, 30)
    true = function(predicted) + generator.normal(0, 0.1, 30)
    assert choose(CORRECTIONS, identity(1), TASKS, networks_of(predicted, true)).chosen.name == right


def test_the_error_of_doing_nothing_is_that_of_the_run(identity):
    """Nothing is fitted, so it is the squared error: (1 + 4 + 9 + 0) / 4."""
    networks = networks_of([0, 0, 0, 0], [1, 2, -3, 0])
    assert choose([Nothing()], identity(1), TASKS, networks).tried[0].mse == 3.5


def test_each_network_is_predicted_from_the_others(identity):
    """Hand-computed: with errors 0, 3 and 6, the shifts from the other two are 4.5, 3 and 1.5."""
    outcome = choose([SHIFT], identity(1), TASKS, networks_of([0, 0, 0], [0, 3, 6]))
    assert outcome.predicted["a"].tolist() == [4.5, 3.0, 1.5]
    assert outcome.tried[0].mse == (4.5**2 + 0 + 4.5**2) / 3
    assert outcome.folds == 3


def test_the_networks_of_a_run_group_are_left_out_together(identity):
    """The two networks of group 0 are predicted from the others alone."""
    outcome = choose([SHIFT], identity(1), TASKS, networks_of([0] * 4, [5, 7, 1, 3], group=[0, 0, 1, 2]))
    assert outcome.predicted["a"].tolist() == [2.0, 2.0, 5.0, 13 / 3]


def test_the_standard_error_is_that_of_the_mean(identity):
    """Hand-computed: doing nothing leaves the squared errors 1, 9 and 4."""
    nothing = choose([Nothing()], identity(1), TASKS, networks_of([0, 0, 0], [1, -3, 2])).tried[0]
    assert nothing.mse == pytest.approx(14 / 3)
    assert nothing.standard_error == pytest.approx(np.std([1, 9, 4], ddof=1) / 3**0.5)


def test_copies_of_a_run_group_count_once(identity):
    """Each network twice, in its group, gives the same mean and the same standard error as once."""
    generator = np.random.default_rng(0)
    predicted, noise = generator.uniform(0, 1, 8), generator.normal(0, 1, 8)
    once = choose(CORRECTIONS[:2], identity(1), TASKS, networks_of(predicted, predicted + noise))
    twice = choose(
        CORRECTIONS[:2],
        identity(1),
        TASKS,
        networks_of(np.repeat(predicted, 2), np.repeat(predicted + noise, 2), np.repeat(np.arange(8), 2)),
    )
    for one, two in zip(once.tried, twice.tried, strict=True):
        assert (one.mse, one.standard_error) == pytest.approx((two.mse, two.standard_error))


def test_a_simpler_adjustment_wins_within_one_standard_error(identity):
    """The affine fit is better by less than its standard error, so the shift is kept."""
    generator = np.random.default_rng(1)
    predicted = generator.uniform(0, 1, 12)
    true = 1.05 * predicted + 2 + generator.normal(0, 0.1, 12)
    outcome = choose(CORRECTIONS, identity(1), TASKS, networks_of(predicted, true))
    errors = {each.name: each for each in outcome.tried}
    best = min(outcome.tried, key=lambda each: each.mse)
    assert best.name == "affine"
    assert best.mse < errors["shift"].mse <= best.mse + best.standard_error < errors["nothing"].mse
    assert outcome.chosen.name == "shift"


def test_values_that_are_not_finite_are_never_chosen(identity):
    """An adjustment that predicts infinity is left out; if all do, this is an error."""

    class Infinite(Nothing):
        name = "infinite"

        def fit(self, head, tasks, networks):
            broken = identity(1)
            torch.nn.init.constant_(broken.linear.bias, float("inf"))
            return Fitted(head=broken, tasks=tasks)

    networks = networks_of([0, 0, 0], [1, 1, 1])
    outcome = choose([Nothing(), Infinite()], identity(1), TASKS, networks)
    assert [each.name for each in outcome.tried] == ["nothing"]
    with pytest.raises(PartError, match="not finite"):
        choose([Infinite()], identity(1), TASKS, networks)


@pytest.mark.parametrize(("groups", "expected"), [(3, 3), (10, 10), (11, 10), (40, 10)])
def test_there_are_ten_folds_at_most(groups, expected):
    """Up to ten run groups are a fold each, and no group is divided."""
    group = np.repeat(np.arange(groups), 2)
    found = folds(group)
    assert len(np.unique(found)) == expected
    assert (found[::2] == found[1::2]).all()

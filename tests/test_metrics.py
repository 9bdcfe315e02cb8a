"""Metrics, calculated by hand and by other libraries. An undefined metric is None, never 0."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from sneframe.errors import ZooError
from sneframe.metrics import score
from sneframe.tasks import Regression


def test_by_hand():
    """Three values, calculated by hand."""
    found = score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    assert found.mse == pytest.approx(2 / 3)
    assert found.r2 == pytest.approx(0.0)
    assert found.tau == pytest.approx(1 / 3)
    assert found.n == 3


def test_ties_count_as_tau_b_counts_them():
    """Five pairs agree, none disagrees, and one is a tie of true values: 5 / √(5 · 6)."""
    found = score(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.tau == pytest.approx(5 / 30**0.5)


@given(values=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=20))
def test_r2_is_that_of_scikit_learn(values):
    """R² equals that of scikit-learn."""
    true, predicted = np.array(values).T
    assume(np.var(true) > 1e-9)
    assert score(true, predicted).r2 == pytest.approx(r2_score(true, predicted))


def test_a_constant_prediction_has_no_tau():
    """Equal predictions have no rank correlation."""
    assert score(np.array([1.0, 2.0]), np.array([1.0, 1.0])).tau is None


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_a_constant_truth_has_no_r2(value):
    """Rounding gives three times 0.1 a variance of 2e-34, which counts as 0."""
    assert score(np.array([value] * 3), np.array([1.0, 2.0, 3.0])).r2 is None


def test_a_property_of_one_value_is_refused():
    """With equal values there is nothing to learn."""
    with pytest.raises(ZooError, match="the same value, 3, in all 2 training networks"):
        Regression.fit("depth", np.array([3.0, 3.0]))


def test_predictions_are_in_the_units_of_the_property():
    """Targets are standardised, and predictions are converted back."""
    task = Regression.fit("f", np.array([1.0, 5.0]))
    assert (task.mean, task.std) == (3.0, 2.0)
    value = torch.tensor([[1.0], [-0.5]])
    assert task.predict(value).tolist() == [5.0, 2.0]
    assert task.targets(np.array([5.0, 4.0])).tolist() == [[1.0], [0.5]]
    assert task.loss(value, torch.tensor([[1.0], [0.5]])).tolist() == [0.0, 1.0]


def test_a_property_far_from_zero_keeps_its_digits():
    """Targets are standardised in float64: a float32 near 1.7e9 is a multiple of 128."""
    true = 1.7e9 + np.array([-29.0, 29.0])
    task = Regression.fit("finished", true)
    assert task.targets(true).tolist() == [[-1.0], [1.0]]
    assert task.predict(torch.tensor([[-1.0], [0.5]])).tolist() == [1.7e9 - 29.0, 1.7e9 + 14.5]

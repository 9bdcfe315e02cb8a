"""What each adjustment fits, compared with hand-computed numbers and with laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sneframe.adaptation.adjustments import Affine, Labelled, Monotone, Nothing, Shift
from sneframe.tasks import Regression, Tasks

CORRECTED = (Shift, Affine, Monotone)
VALUES = st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=12)


def pairs_of(values):
    return (np.array(column, np.float64) for column in zip(*values, strict=True))


def error(adjustment, predicted, true):
    return float(np.mean((adjustment().correction(predicted, true)(predicted) - true) ** 2))


def test_the_shift_is_the_mean_error():
    """The errors are 1, 2 and 6."""
    correction = Shift().correction(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 8.0]))
    assert correction(np.array([10.0])).tolist() == [13.0]


def test_the_straight_line_is_that_of_least_squares():
    """numpy's polynomial fit is the oracle."""
    predicted, true = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 1.5, 3.0, 4.0])
    found = Affine().correction(predicted, true)(predicted)
    assert np.allclose(found, np.polyval(np.polyfit(predicted, true, 1), predicted))


def test_a_line_that_would_fall_is_flat():
    """The best line that does not fall through falling points is their mean."""
    correction = Affine().correction(np.array([0.0, 1.0, 2.0]), np.array([5.0, 3.0, 1.0]))
    assert correction(np.array([-9.0, 9.0])).tolist() == [3.0, 3.0]


def test_equal_predictions_are_shifted():
    """No line can be fitted to one point."""
    correction = Affine().correction(np.array([2.0, 2.0]), np.array([5.0, 7.0]))
    assert correction(np.array([2.0, 3.0])).tolist() == [6.0, 7.0]


def test_monotone_pools_what_falls():
    """Hand-computed: of 1, 3, 2, 4 the middle two become 2.5; outside of the points the value stays."""
    correction = Monotone().correction(np.arange(4.0), np.array([1.0, 3.0, 2.0, 4.0]))
    assert correction(np.array([-7, 0, 1, 2, 3, 0.5, 9])).tolist() == [1, 1, 2.5, 2.5, 4, 1.75, 4]


@pytest.mark.parametrize("adjustment", CORRECTED)
@given(values=VALUES)
def test_a_correction_keeps_the_order(adjustment, values):
    """Whatever the labelled networks are, a larger prediction never becomes the smaller one."""
    predicted, true = pairs_of(values)
    found = adjustment().correction(predicted, true)(np.linspace(-200, 200, 50))
    assert (np.diff(found) >= -1e-9 * max(1, np.abs(found).max())).all()


@given(values=VALUES)
def test_more_freedom_fits_the_labelled_networks_better(values):
    """Each of the three contains the one before, so its error on the labelled networks is not larger."""
    predicted, true = pairs_of(values)
    if np.ptp(predicted) < 1e-3:
        return
    errors = [error(adjustment, predicted, true) for adjustment in CORRECTED]
    assert errors[0] >= errors[1] - 1e-6 * max(1, errors[0])
    assert errors[1] >= errors[2] - 1e-6 * max(1, errors[1])


def test_each_property_has_its_own_correction(identity):
    """One property is off by 1, the other one by −2."""
    tasks = Tasks(each=[Regression(name=name, mean=0.0, std=1.0) for name in ("a", "b")])
    embedding = torch.tensor([[0.0, 0.0], [1.0, 5.0], [2.0, 3.0]])
    truth = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([-2.0, 3.0, 1.0])}
    networks = Labelled(embedding=embedding, truth=truth, group=np.arange(3))
    fitted = Shift().fit(identity(2), tasks, networks)
    found = fitted.predict(torch.tensor([[10.0, 10.0]]))
    assert {name: values.tolist() for name, values in found.items()} == {"a": [11.0], "b": [8.0]}


def test_nothing_changes_nothing(identity):
    """The head and the tasks are the same objects."""
    head, tasks = identity(1), Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
    networks = Labelled(embedding=torch.zeros(3, 1), truth={"a": np.ones(3)}, group=np.arange(3))
    fitted = Nothing().fit(head, tasks, networks)
    assert fitted.head is head
    assert fitted.tasks is tasks

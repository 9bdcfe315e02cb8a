"""A correction follows its knots, keeps the order of values, and survives JSON."""

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sneframe.correction import Correction
from sneframe.tasks import Fraction, Regression, Tasks

NUMBERS = st.floats(-1e3, 1e3, allow_nan=False)


@st.composite
def corrections(draw):
    count = draw(st.integers(1, 6))
    x = np.cumsum(draw(st.lists(st.floats(0.01, 10), min_size=count, max_size=count)))
    y = np.cumsum(draw(st.lists(st.floats(0, 10), min_size=count, max_size=count)))
    return Correction(x=x + draw(NUMBERS), y=y + draw(NUMBERS), slope=draw(st.floats(0, 3)))


def test_between_knots_it_is_a_straight_line():
    """Hand-computed: half-way between the knots (0, 1) and (2, 5) the value is 3."""
    correction = Correction(x=(0, 2, 3), y=(1, 5, 5), slope=0)
    assert correction(np.array([0, 1, 2, 2.5])).tolist() == [1, 3, 5, 5]


def test_outside_of_the_knots_it_has_its_slope():
    """Two below the first knot and one above the last one, with slope ½."""
    assert Correction(x=(0, 1), y=(10, 20), slope=0.5)(np.array([-2, 2])).tolist() == [9, 20.5]


def test_a_shift_adds_a_number():
    assert Correction.shift(-2)(np.array([-5, 0, 7])).tolist() == [-7, -2, 5]


def test_an_affine_correction_is_a_straight_line():
    assert Correction.affine(0.5, 1)(np.array([-4, 0, 6])).tolist() == [-1, 1, 4]


@given(corrections(), st.lists(NUMBERS, min_size=2, max_size=20))
def test_it_keeps_the_order(correction, values):
    """Sorted values stay sorted, up to rounding."""
    found = correction(np.sort(values))
    assert (np.diff(found) >= -1e-9 * np.abs(found).max()).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x": (0, 0)}, "order"),
        ({"x": (1, 0)}, "order"),
        ({"y": (1, 0)}, "order"),
        ({"slope": -1}, "order"),
        ({"x": (0,)}, "as many"),
        ({"x": (), "y": ()}, "at least one"),
        ({"y": (0, float("nan"))}, "finite"),
        ({"slope": float("inf")}, "finite"),
    ],
)
def test_a_function_that_falls_is_refused(changed, said):
    """Knots in disorder, a falling function, and numbers that are none."""
    with pytest.raises(ValueError, match=said):
        Correction(**{"x": (0, 1), "y": (0, 1), "slope": 0, **changed})


@given(corrections())
def test_tasks_keep_it_in_json(correction):
    """Reading gives what was written."""
    tasks = Tasks(
        each=[
            Regression(name="a", mean=0.5, std=2.0, correction=correction),
            Fraction(name="b", mean=0.25, correction=correction),
            Regression(name="c", mean=0.0, std=1.0),
        ]
    )
    assert Tasks.from_json(tasks.to_json()) == tasks


def test_a_regression_is_corrected_in_its_unit_and_then_clipped():
    """The raw output 1 stands for 5 + 2 = 7, which a slope of ½ makes 3.5; 9 is clipped."""
    task = Regression(name="a", mean=5.0, std=2.0, within=(0, 4), correction=Correction.affine(0.5, 0.0))
    assert task.predict(torch.tensor([[1.0], [2.0]])).tolist() == [3.5, 4.0]


def test_a_fraction_is_corrected_after_the_sigmoid_and_then_clipped():
    """The logit 0 stands for 0.5."""
    task = Fraction(name="a", mean=0.5, correction=Correction.shift(-0.25))
    assert task.predict(torch.tensor([[0.0], [-9.0]])).tolist() == [0.25, 0.0]


def test_scores_are_those_of_corrected_values():
    """A shift by 1 makes these predictions exact."""
    task = Regression(name="a", mean=0.0, std=1.0)
    value, truth = torch.tensor([[0.0], [2.0]]), np.array([1.0, 3.0])
    assert task.score(truth, value).mse == 1
    assert attrs.evolve(task, correction=Correction.shift(1)).score(truth, value).mse == 0

"""Tasks: the type of a property decides loss and metrics; numbers by hand."""

import json
import math

import numpy as np
import pytest
import torch
from attrs import evolve

from sneframe.correction import Correction
from sneframe.errors import ZooError
from sneframe.metrics import score, score_classes
from sneframe.tasks import Category, Fraction, Regression, Tasks, labels, make_task
from sneframe.zoo.column import Column


def column(*values):
    return Column.of("p", list(values))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((0.1, 0.9), Fraction),
        ((0.0, 1.0), Fraction),
        ((-0.1, 0.9), Regression),
        ((0.2, 1.1), Regression),
        ((1e-5, 3e-4), Regression),
        ((1, 0), Regression),
        (("mnist", "digits"), Category),
        ((True, False), Category),
    ],
)
def test_the_type_of_a_property_decides_its_task(values, kind):
    """Texts and bools are categories, floats in [0, 1] fractions, other numbers are regressed."""
    assert type(make_task("p", column(*values))) is kind


@pytest.mark.parametrize(
    ("values", "kind", "problem"),
    [
        (("a", "b"), "regression", "'p' holds strings, so zoo.task must be 'category', but got"),
        ((True, False), "fraction", "'p' holds bools"),
        ((0.5, 2.0), "fraction", r"has values in \[0.5, 2\], but a fraction must be in \[0, 1\]"),
        ((0.5, 0.5), "auto", "the same value, 0.5, in all 2 training networks"),
        (("a", "a"), "auto", "the same value, 'a', in all 2 training networks"),
        ((0.0, 0.5), "log", "'p' has the value 0, which has no logarithm; set zoo.task = 'regression', or"),
        ((0.5, 0.5), "log", "the same value, 0.5, in all 2 training networks"),
        (tuple(range(101)), "category", "101 different values .* 100 at most"),
    ],
)
def test_values_that_a_kind_cannot_have_are_refused(values, kind, problem):
    """The error says what is wrong with the values."""
    with pytest.raises(ZooError, match=problem):
        make_task("p", column(*values), kind=kind)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            ("a", "b", "c", "a", "b"),
            "'p' is text, and 3 of 5 values are distinct, more than half; .* set zoo.task = category",
        ),
        (
            ("0.5", "0.5", "0.7", "0.7", "n.a."),
            "4 of 5 values are numbers, .*'0.5', .*not, such as 'n.a.'",
        ),
        (("91%", "91%", "7%", "7%"), "4 of 4 values are numbers, such as '91%', stored as text"),
        (("0,91", "0,91", "1,234", "1,234"), "4 of 4 values are numbers, such as '0,91'"),
        ((*["failed"] * 9, "0.5"), "1 of 10 values are numbers"),
    ],
)
def test_a_text_that_is_no_category_is_not_trained(values, problem):
    """Numbers stored as text, and texts that differ in most networks, need zoo.task = category."""
    with pytest.raises(ZooError, match=problem):
        make_task("p", column(*values))
    assert type(make_task("p", column(*values), kind="category")) is Category


@pytest.mark.parametrize(
    "values",
    [("a", "b"), ("a", "b", "a", "b", "c", "c"), ("007", "012", "007", "012"), ("3x3", "5x5", "3x3")],
)
def test_names_and_codes_are_categories(values):
    """A few repeated values are classes, whether they look like numbers or not."""
    assert type(make_task("p", column(*values))) is Category


def test_a_number_can_be_a_category():
    """With zoo.task = category, numbers become labels."""
    task = make_task("p", column(3, 10, 3), kind="category")
    assert task.classes == ("10", "3")
    assert labels(column(3.0, 2.5)).tolist() == ["3", "2.5"]


def test_a_fraction_is_learned_by_cross_entropy_less_its_least():
    """At logit 0 and target 1/4 the loss is ln 2 − H(1/4); a met target costs nothing."""
    task = Fraction(name="p", mean=0.5)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    value = torch.tensor([[0.0], [math.log(1 / 3)], [0.0]])
    loss = task.loss(value, torch.tensor([[0.25], [0.25], [1.0]]))
    assert loss.tolist() == pytest.approx([math.log(2) - entropy, 0.0, math.log(2)], abs=1e-6)


def test_a_fraction_is_scored_as_a_fraction():
    """Scores are computed from fractions, not from logits."""
    task = Fraction(name="p", mean=0.75)
    assert task.predict(torch.tensor([[0.0]])).tolist() == [0.5]
    assert task.score(np.array([0.75, 0.25]), torch.zeros(2, 1)).mse == pytest.approx(1 / 16)
    assert task.predict(task.constant().expand(1, 1)).tolist() == pytest.approx([0.75])


def test_a_fitted_fraction_is_clipped():
    """A fitted head regresses a fraction, and its predictions are clipped to [0, 1]."""
    task = make_task("p", column(0.0, 1.0), fitted=True)
    assert task.predict(torch.tensor([[-3.0], [0.0], [3.0]])).tolist() == [0.0, 0.5, 1.0]


def test_a_logarithm_is_learned_and_the_value_is_predicted():
    """0.01 and 1 are the standardised logarithms −1 and 1; the raw output 0 predicts their geometric mean."""
    task = make_task("p", column(0.01, 1.0), kind="log")
    assert task.targets(np.array([0.01, 1.0, 0.1])).ravel().tolist() == pytest.approx([-1, 1, 0], abs=1e-12)
    assert task.loss(torch.tensor([[0.5]]), torch.tensor([[-1.0]])).tolist() == [2.25]
    predicted = task.predict(torch.tensor([[-1.0], [0.0], [1.0], [2.0]]))
    assert predicted.tolist() == pytest.approx([0.01, 0.1, 1.0, 10.0])
    assert task.score(np.array([0.2]), torch.zeros(1, 1)).mse == pytest.approx(0.01)
    assert task.predict(task.constant().expand(1, 1)).tolist() == pytest.approx([0.1])


def test_a_predicted_logarithm_is_never_infinite():
    """A raw output that is far off still predicts a finite, positive number."""
    predicted = make_task("p", column(0.01, 1.0), kind="log").predict(torch.tensor([[1e9], [-1e9]]))
    assert np.isfinite(predicted).all()
    assert (predicted > 0).all()


def test_a_corrected_logarithm_is_not_negative():
    """A correction by a straight line through (1, 0) and (2, 1) would predict −0.9 for 0.1."""
    task = evolve(
        make_task("p", column(0.01, 1.0), kind="log"), correction=Correction(x=(1, 2), y=(0, 1), slope=1.0)
    )
    assert task.predict(torch.tensor([[0.0], [2.0]])).tolist() == pytest.approx([0.0, 9.0])


def test_a_value_without_logarithm_in_another_part_of_the_split_is_refused():
    """Training networks are positive, and a validation network is 0."""
    task = make_task("p", column(0.01, 1.0), kind="log")
    with pytest.raises(
        ZooError, match=r"the value 0, which has no logarithm; set zoo.task = 'regression', or"
    ):
        task.targets(np.array([0.5, 0.0]))


def test_tasks_return_from_json():
    """A task of each kind is the same after it was stored."""
    numbers = column(0.1, 0.9, 0.5)
    made = [make_task("p", numbers, kind=kind) for kind in ("regression", "fraction", "log", "category")]
    tasks = Tasks(each=made)
    assert Tasks.from_json(json.loads(json.dumps(tasks.to_json()))) == tasks


def test_categories_by_hand():
    """With probabilities ½, ½ the Brier score is ½ and the loss ln 2; an unknown class costs 1 more."""
    task = Category.fit("p", np.array(["b", "a", "b", "b"], dtype=object))
    assert (task.classes, task.frequencies) == (("a", "b"), (0.25, 0.75))
    assert task.targets(np.array(["b", "c"], dtype=object)).tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert task.loss(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).item() == pytest.approx(math.log(2))
    assert task.predict(torch.tensor([[0.0, 2.0], [1.0, 0.0]])).tolist() == ["b", "a"]
    assert task.score(np.array(["a"], dtype=object), torch.zeros(1, 2)).mse == pytest.approx(0.5)
    assert task.score(np.array(["c"], dtype=object), torch.zeros(1, 2)).mse == pytest.approx(1.5)
    assert task.score(np.array(["c"], dtype=object), torch.zeros(1, 2)).accuracy == 0


@pytest.mark.parametrize("fitted", [False, True])
def test_the_constant_of_a_category_is_its_frequencies(fitted):
    """The baseline predicts the frequencies of the classes."""
    task = Category(name="p", classes=("a", "b"), frequencies=(0.25, 0.75), fitted=fitted)
    assert task.probabilities(task.constant().expand(1, 2)).tolist()[0] == pytest.approx([0.25, 0.75])


def test_outputs_of_a_fitted_head_become_probabilities():
    """The outputs are clipped to [0, 1] and divided by their sum."""
    task = Category(name="p", classes=("a", "b"), frequencies=(0.5, 0.5), fitted=True)
    found = task.probabilities(torch.tensor([[-0.2, 0.4], [-1.0, -2.0], [3.0, 1.0]]))
    assert found.tolist() == [pytest.approx(row, abs=1e-8) for row in ([0.0, 1.0], [1.0, 0.0], [0.5, 0.5])]


def test_the_balanced_accuracy_is_the_mean_over_classes():
    """Each class counts alike, whatever its size."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    found = score_classes(np.array([0, 0, 0, 1]), probabilities)
    assert (found.accuracy, found.balanced_accuracy) == (0.75, 0.5)
    assert (found.tau, found.r2) == (None, None)


def test_the_mass_of_ties_and_of_the_floor():
    """Three of six pairs are tied; 0.1 and 0.11 lie in the lowest 2 % of the range."""
    assert score(np.array([0.1, 0.1, 0.1, 0.9]), np.arange(4.0)).ties == 0.5
    assert score(np.array([0.1, 0.11, 0.9, 0.5]), np.arange(4.0)).floor == 0.5


def test_each_property_has_columns_of_its_own():
    """Two properties share the raw output, and their losses are averaged."""
    tasks = Tasks(
        each=[
            Regression(name="x", mean=1.0, std=2.0),
            Category(name="c", classes=("a", "b"), frequencies=(0.5, 0.5)),
        ]
    )
    columns = {"x": column(3.0, -1.0), "c": column("b", "a")}
    targets = torch.from_numpy(tasks.targets(columns)).float()
    assert targets.tolist() == [[1.0, 0.0, 1.0], [-1.0, 1.0, 0.0]]
    value = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert tasks.loss(value, targets).tolist() == pytest.approx(
        [(1 + math.log(2)) / 2, (4 + math.log(2)) / 2]
    )
    assert Tasks.from_json(tasks.to_json()) == tasks


def test_soft_labels_may_be_mixed():
    """The loss of mixed labels is the mixture of the losses."""
    task = Category(name="p", classes=("a", "b"), frequencies=(0.5, 0.5))
    value = torch.tensor([[0.3, -0.7]])
    one, other = (task.loss(value, torch.tensor([row])) for row in ([1.0, 0.0], [0.0, 1.0]))
    mixed = task.loss(value, torch.tensor([[0.25, 0.75]]))
    assert mixed.item() == pytest.approx(0.25 * one.item() + 0.75 * other.item(), rel=1e-6)

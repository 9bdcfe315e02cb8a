"""``stats/ridge``: the penalty with the best leave-one-out error, equal to scikit-learn, fitted again."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Library
from sneframe_stats import Ridge

import sneframe
from sneframe.errors import PartError
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Spec
from sneframe.run_folder.checkpoint import load_model
from sneframe.testing import toy_zoo

generator = torch.Generator().manual_seed(0)
# The features have very different sizes, and one is constant.
X = torch.randn(40, 6, generator=generator) * torch.tensor([1.0, 100.0, 1e-3, 1.0, 5.0, 0.0]) + 7
NOISE = torch.randn(40, 2, generator=generator)
Y = torch.stack([X[:, 0] + X[:, 1] / 100, X[:, 4]], dim=1) + torch.tensor([0.1, 30.0]) * NOISE
GRID = np.geomspace(1e-3, 1e5, 25)


def build(values=2, **options):
    spec = Spec(carrier=Embedding, width=6, architectures=(), values=values)
    return Ridge(Ridge.Config(**options), spec)


def fitted(values=2, **options):
    head = build(values, **options)
    head.fit(X, Y[:, :values])
    return head


def standardised():
    values = X.double().numpy()
    std = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(std > 0, std, 1)


def left_out(penalty, column):
    """Return the mean squared error over networks, each predicted by a Ridge fitted to the others."""
    inputs, targets = standardised(), Y[:, column].double().numpy()
    errors = []
    for network in range(len(inputs)):
        others = np.arange(len(inputs)) != network
        model = Library(alpha=penalty).fit(inputs[others], targets[others])
        errors.append((model.predict(inputs[network][None])[0] - targets[network]) ** 2)
    return np.mean(errors)


@pytest.mark.parametrize("column", [0, 1])
def test_the_penalty_has_the_best_leave_one_out_error(column):
    """It is the penalty that a loop over left-out networks prefers."""
    errors = [left_out(penalty, column) for penalty in GRID]
    assert fitted().penalty[column] == pytest.approx(GRID[np.argmin(errors)])


def test_each_value_has_its_own_penalty():
    """A noisy value gets a larger penalty than a clean one."""
    small, large = fitted().penalty
    assert small < large / 10


@pytest.mark.parametrize("column", [0, 1])
def test_predictions_equal_those_of_sklearn(column):
    """scikit-learn's Ridge with that penalty predicts the same numbers."""
    head = fitted()
    expected = Library(alpha=head.penalty[column]).fit(standardised(), Y[:, column].double().numpy())
    np.testing.assert_allclose(head(X.double())[:, column], expected.predict(standardised()), rtol=1e-9)


def test_rescaled_features_change_nothing():
    """Features are standardised, so their unit does not matter."""
    other = build()
    other.fit(X * torch.tensor([10.0, 1e-3, 1.0, 3.0, 1.0, 1.0]), Y)
    scaled = other(X * torch.tensor([10.0, 1e-3, 1.0, 3.0, 1.0, 1.0]))
    torch.testing.assert_close(scaled, fitted()(X), rtol=1e-4, atol=1e-4)


def test_one_value_gives_one_column():
    """Predictions have the shape (B, 1)."""
    assert fitted(values=1)(X[:5]).shape == (5, 1)


def test_more_features_than_networks_are_fitted():
    """The predictions are finite."""
    inputs = torch.randn(12, 300, generator=generator)
    head = Ridge(Ridge.Config(), Spec(carrier=Embedding, width=300, architectures=(), values=1))
    head.fit(inputs, inputs[:, :1])
    assert head(inputs).isfinite().all()


def test_the_state_is_enough_to_fit_again():
    """The state dict holds embeddings and targets, and fitting to them gives the same predictions."""
    head = fitted()
    state = head.state_dict()
    assert set(state) == {"embeddings", "targets"}
    again = build()
    again.fit(state["embeddings"], state["targets"])
    torch.testing.assert_close(again(X), head(X), rtol=0, atol=0)


def test_a_stored_model_predicts_the_same(tmp_path):
    """A model read from a run folder repeats the predictions of the run."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60, hidden=((4, 4), (3,)))
    result = sneframe.run(
        sneframe.recipe("stats/ridge", f"zoo.path={zoo}", "zoo.property=scale"),
        tmp_path / "run",
        report=False,
    )
    model, tasks, _ = load_model(result.folder / "best.safetensors")
    rows = [line.split(",") for line in (result.folder / "predictions.csv").read_text().splitlines()]
    column, test = rows[0].index("predicted"), [row for row in rows[1:] if "test" in row]
    batch = sneframe.open_zoo(zoo).load().select([int(row[0]) for row in test])
    predicted = tasks.main.predict(model(batch).value)
    np.testing.assert_allclose(predicted, [float(row[column]) for row in test], rtol=1e-5)


def test_targets_of_another_shape_are_refused():
    """The error gives both shapes."""
    with pytest.raises(PartError, match=r"must be fitted to targets of shape \(40, 2\), but got \(40, 1\)"):
        build().fit(X, Y[:, :1])


def test_a_single_network_is_refused():
    """There is nothing to fit to when it is left out."""
    with pytest.raises(PartError, match="needs at least two training networks, to leave one out, but got 1"):
        build().fit(X[:1], Y[:1])


def test_predicting_before_fitting_is_refused():
    """The error names the head."""
    with pytest.raises(PartError, match="'stats/ridge' cannot predict before it is fitted"):
        build()(X)


def test_a_grid_with_exchanged_ends_is_refused():
    """The smallest penalty must be at most the largest."""
    with pytest.raises(PartError, match=r"the option 'smallest' \(10\) must not exceed 'largest' \(1\)"):
        build(smallest=10.0, largest=1.0)


@pytest.mark.parametrize("options", [{"smallest": 0.0}, {"largest": float("inf")}, {"penalties": 0}])
def test_impossible_options_are_refused(options):
    """The error names the option."""
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' must be"):
        Ridge.Config(**options)

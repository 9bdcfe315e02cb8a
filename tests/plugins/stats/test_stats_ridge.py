"""``stats/ridge``: scikit-learn's Ridge at the penalty that leaving one out prefers, fitted again from what it keeps."""

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
# Features of very different size, and one that is constant.
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
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def left_out(penalty, column):
    """Return the mean squared error on each network in turn, of a Ridge that was fitted to the others."""
    inputs, targets = standardised(), Y[:, column].double().numpy()
    errors = []
    for network in range(len(inputs)):
        others = np.arange(len(inputs)) != network
        model = Library(alpha=penalty).fit(inputs[others], targets[others])
        errors.append((model.predict(inputs[network][None])[0] - targets[network]) ** 2)
    return np.mean(errors)


@pytest.mark.parametrize("column", [0, 1])
def test_the_penalty_is_the_best_of_the_grid_for_a_network_that_is_left_out(column):
    errors = [left_out(penalty, column) for penalty in GRID]
    assert fitted().penalty[column] == pytest.approx(GRID[np.argmin(errors)])


def test_each_value_has_a_penalty_of_its_own():
    small, large = fitted().penalty
    assert small < large / 10


@pytest.mark.parametrize("column", [0, 1])
def test_it_predicts_as_the_library_does_at_that_penalty(column):
    head = fitted()
    expected = Library(alpha=head.penalty[column]).fit(standardised(), Y[:, column].double().numpy())
    np.testing.assert_allclose(head(X.double())[:, column], expected.predict(standardised()), rtol=1e-9)


def test_the_unit_of_a_feature_does_not_matter():
    other = build()
    other.fit(X * torch.tensor([10.0, 1e-3, 1.0, 3.0, 1.0, 1.0]), Y)
    scaled = other(X * torch.tensor([10.0, 1e-3, 1.0, 3.0, 1.0, 1.0]))
    torch.testing.assert_close(scaled, fitted()(X), rtol=1e-4, atol=1e-4)


def test_one_value_is_a_column():
    assert fitted(values=1)(X[:5]).shape == (5, 1)


def test_more_features_than_networks_are_fitted():
    inputs = torch.randn(12, 300, generator=generator)
    head = Ridge(Ridge.Config(), Spec(carrier=Embedding, width=300, architectures=(), values=1))
    head.fit(inputs, inputs[:, :1])
    assert head(inputs).isfinite().all()


def test_what_is_kept_is_enough_to_fit_again():
    head = fitted()
    state = head.state_dict()
    assert set(state) == {"embeddings", "targets"}
    again = build()
    again.fit(state["embeddings"], state["targets"])
    torch.testing.assert_close(again(X), head(X), rtol=0, atol=0)


def test_a_model_read_back_from_disk_predicts_the_same(tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60, hidden=((4, 4), (3,)))
    result = sneframe.run(
        sneframe.recipe("stats/ridge", f"zoo.path={zoo}", "zoo.property=scale"),
        tmp_path / "run",
        report=False,
    )
    model, tasks, _ = load_model(result.folder / "best.safetensors")
    rows = [line.split(",") for line in (result.folder / "predictions.csv").read_text().splitlines()]
    place, test = rows[0].index("predicted"), [row for row in rows[1:] if "test" in row]
    batch = sneframe.open_zoo(zoo).load().select([int(row[0]) for row in test])
    predicted = tasks.main.predict(model(batch).value)
    np.testing.assert_allclose(predicted, [float(row[place]) for row in test], rtol=1e-5)


def test_targets_of_another_shape_are_refused():
    with pytest.raises(PartError, match=r"is to be fitted to targets \(40, 2\), got \(40, 1\)"):
        build().fit(X, Y[:, :1])


def test_one_network_is_refused():
    with pytest.raises(PartError, match="leaves one network out, so it needs two to fit, got 1"):
        build().fit(X[:1], Y[:1])


def test_predicting_before_fitting_is_refused():
    with pytest.raises(PartError, match="'stats/ridge' predicts after it was fitted"):
        build()(X)


def test_a_grid_upside_down_is_refused():
    with pytest.raises(
        PartError, match=r"smallest must not be above largest, got smallest = 10 and largest = 1"
    ):
        build(smallest=10.0, largest=1.0)


@pytest.mark.parametrize("options", [{"smallest": 0.0}, {"largest": float("inf")}, {"penalties": 0}])
def test_impossible_options_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' must be"):
        Ridge.Config(**options)

"""``stats/boosting``: equal to scikit-learn, one regressor per value, fitted again from its state."""

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sneframe_stats import Boosting

from sneframe.errors import PartError
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Spec

generator = torch.Generator().manual_seed(0)
X = torch.randn(80, 3, generator=generator)
Y = torch.stack([X[:, 0] - X[:, 1].square(), X[:, 2]], dim=1)


def build(values=2, **options):
    spec = Spec(carrier=Embedding, width=3, architectures=(), values=values)
    return Boosting(Boosting.Config(**{"trees": 20, **options}), spec)


def fitted(values=2, **options):
    head = build(values, **options)
    head.fit(X, Y[:, :values])
    return head


def test_predictions_equal_those_of_sklearn():
    """With the same settings, scikit-learn's regressor predicts the same numbers."""
    expected = HistGradientBoostingRegressor(
        max_iter=20, learning_rate=0.05, max_features=0.5, early_stopping=False, random_state=0
    )
    expected.fit(X.double().numpy(), Y[:, 1].double().numpy())
    np.testing.assert_allclose(
        fitted()(X)[:, 1].numpy(), expected.predict(X.double().numpy()), rtol=1e-6, atol=1e-6
    )


def test_each_value_is_fitted_separately():
    """A second value changes nothing about the first."""
    head = build(values=1)
    head.fit(X, Y[:, :1])
    torch.testing.assert_close(head(X)[:, 0], fitted()(X)[:, 0], rtol=0, atol=0)


def test_it_fits_the_training_networks():
    """With enough trees the error is under a tenth of the variance."""
    head = fitted(trees=200, min_leaf=5)
    assert (head(X) - Y).square().mean() < 0.1 * Y.var(dim=0).mean()


def test_the_state_is_enough_to_fit_again():
    """The state dict holds embeddings and targets, and fitting to them gives the same predictions."""
    head = fitted()
    state = head.state_dict()
    assert set(state) == {"embeddings", "targets"}
    again = build()
    again.fit(state["embeddings"], state["targets"])
    torch.testing.assert_close(again(X), head(X), rtol=0, atol=0)


def test_the_seed_decides_which_features_are_drawn():
    """Another seed gives other predictions."""
    assert not torch.equal(fitted(seed=1)(X), fitted(seed=0)(X))


def test_training_never_stops_early(monkeypatch):
    """Above 10 000 rows scikit-learn would by default hold out a tenth, and stop early by it."""

    head = build(values=1, trees=2)
    inputs = torch.randn(10_001, 3, generator=generator)
    head.fit(inputs, inputs[:, :1])
    assert head.regressors[0].validation_score_.size == 0


def test_predictions_keep_type_and_shape():
    """Predictions have the type of the embeddings, and one column for each value."""
    predicted = fitted()(X[:5].double())
    assert predicted.shape == (5, 2)
    assert predicted.dtype == torch.float64


@pytest.mark.parametrize(("networks", "constant"), [(39, True), (40, False)])
def test_too_few_networks_for_a_split_give_a_warning(caplog, networks, constant):
    """The head then predicts a constant, and says what to lower."""
    head = build(values=1)
    head.fit(X[:networks], Y[:networks, :1])
    assert (head(X).unique().numel() == 1) is constant
    said = [record.getMessage() for record in caplog.records]
    assert said == constant * [
        "head 'stats/boosting' predicts a constant: two leaves with head.min_leaf = 20 need 40 training "
        "networks, but got 39; lower head.min_leaf to 19 or less"
    ]


def test_targets_of_another_shape_are_refused():
    """The error gives both shapes."""
    with pytest.raises(PartError, match=r"must be fitted to targets of shape \(80, 2\), but got \(80, 1\)"):
        build().fit(X, Y[:, :1])


def test_predicting_before_fitting_is_refused():
    """The error names the head."""
    with pytest.raises(PartError, match="'stats/boosting' cannot predict before it is fitted"):
        build()(X)


@pytest.mark.parametrize(
    "options",
    [
        {"trees": 0},
        {"lr": 0.0},
        {"lr": math.inf},
        {"leaves": 1},
        {"features": 0.0},
        {"l2": -1.0},
        {"l2": math.inf},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_impossible_options_are_refused(options):
    """The error names the option."""
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' must be"):
        Boosting.Config(**options)

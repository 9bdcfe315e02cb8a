"""What each adjustment fits, compared with hand-computed numbers and with laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sneframe
from sneframe.adaptation.adjustments import (
    Corrected,
    Encoded,
    Nothing,
    affine,
    embedded,
    monotone,
    shift,
)
from sneframe.adaptation.refit import FineTune, RefitHead, adjustments_for
from sneframe.batch import join
from sneframe.compose import recipe, use
from sneframe.model import Model, build_model
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Spec
from sneframe.tasks import Regression, Tasks
from sneframe.testing import mlp, toy_zoo
from sneframe.zoo import open_zoo

CORRECTIONS = (shift, affine, monotone)
VALUES = st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=12)


def pairs_of(values):
    return (np.array(column, np.float64) for column in zip(*values, strict=True))


def encoded(embedding, true=()):
    """Return networks with embeddings and the true values of the property ``a``."""
    values = torch.as_tensor(np.asarray(embedding), dtype=torch.float32)
    return Encoded(embedding=values, truth={"a": np.asarray(true)}, group=np.arange(len(values)))


def error(correction, predicted, true):
    return float(np.mean((correction(predicted, true)(predicted) - true) ** 2))


def test_the_shift_is_the_mean_error():
    """The errors are 1, 2 and 6."""
    correction = shift(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 8.0]))
    assert correction(np.array([10.0])).tolist() == [13.0]


def test_the_straight_line_is_that_of_least_squares():
    """numpy's polynomial fit is the oracle."""
    predicted, true = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 1.5, 3.0, 4.0])
    found = affine(predicted, true)(predicted)
    assert np.allclose(found, np.polyval(np.polyfit(predicted, true, 1), predicted))


def test_a_line_that_would_fall_is_flat():
    """The best line that does not fall through falling points is their mean."""
    correction = affine(np.array([0.0, 1.0, 2.0]), np.array([5.0, 3.0, 1.0]))
    assert correction(np.array([-9.0, 9.0])).tolist() == [3.0, 3.0]


def test_equal_predictions_are_shifted():
    """No line can be fitted to one point."""
    correction = affine(np.array([2.0, 2.0]), np.array([5.0, 7.0]))
    assert correction(np.array([2.0, 3.0])).tolist() == [6.0, 7.0]


def test_monotone_pools_what_falls():
    """Hand-computed: of 1, 3, 2, 4 the middle two become 2.5; outside of the points the value stays."""
    correction = monotone(np.arange(4.0), np.array([1.0, 3.0, 2.0, 4.0]))
    assert correction(np.array([-7, 0, 1, 2, 3, 0.5, 9])).tolist() == [1, 1, 2.5, 2.5, 4, 1.75, 4]


@pytest.mark.parametrize("correction", CORRECTIONS)
@given(values=VALUES)
def test_a_correction_keeps_the_order(correction, values):
    """Whatever the labelled networks are, a larger prediction never becomes the smaller one."""
    predicted, true = pairs_of(values)
    found = correction(predicted, true)(np.linspace(-200, 200, 50))
    assert (np.diff(found) >= -1e-9 * max(1, np.abs(found).max())).all()


@given(values=VALUES)
def test_more_freedom_fits_the_labelled_networks_better(values):
    """Each of the three contains the one before, so its error on the labelled networks is not larger."""
    predicted, true = pairs_of(values)
    if np.ptp(predicted) < 1e-3:
        return
    errors = [error(correction, predicted, true) for correction in CORRECTIONS]
    assert errors[0] >= errors[1] - 1e-6 * max(1, errors[0])
    assert errors[1] >= errors[2] - 1e-6 * max(1, errors[1])


def test_each_property_has_its_own_correction(identity):
    """One property is off by 1, the other one by −2."""
    tasks = Tasks(each=[Regression(name=name, mean=0.0, std=1.0) for name in ("a", "b")])
    embedding = torch.tensor([[0.0, 0.0], [1.0, 5.0], [2.0, 3.0]])
    truth = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([-2.0, 3.0, 1.0])}
    networks = Encoded(embedding=embedding, truth=truth, group=np.arange(3))
    fitted = Corrected(name="shift", correction=shift).fit(identity(2), tasks, networks)
    found = fitted.predict(encoded([[10.0, 10.0]]))
    assert {name: values.tolist() for name, values in found.items()} == {"a": [11.0], "b": [8.0]}


def test_nothing_changes_nothing(identity):
    """The head and the tasks are the same objects."""
    head, tasks = identity(1), Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
    networks = Encoded(embedding=torch.zeros(3, 1), truth={"a": np.ones(3)}, group=np.arange(3))
    fitted = Nothing().fit(head, tasks, networks)
    assert fitted.head is head
    assert fitted.tasks is tasks


def test_a_trained_head_is_a_ridge_regression_to_its_old_weights(identity):
    """For a linear head and squared error the minimum has a closed form."""
    generator = np.random.default_rng(0)
    embedding, true = generator.normal(size=(12, 3)), generator.normal(size=12) + 2
    tasks = Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
    head = identity(3)
    head.linear = torch.nn.Linear(3, 1)
    old = head.linear.weight.detach().double().numpy()[0]
    fitted = RefitHead().fit(head, tasks, encoded(embedding, true))
    # Without the bias, which is free, both sides are centred.
    inputs, rest = embedding - embedding.mean(0), true - true.mean()
    change = np.linalg.solve(inputs.T @ inputs + np.eye(3), inputs.T @ (rest - inputs @ old))
    assert np.allclose(fitted.head.linear.weight.detach().numpy()[0], old + change, atol=1e-3)
    assert np.allclose(fitted.predict(encoded(embedding))["a"].mean(), true.mean(), atol=1e-3)
    assert np.array_equal(head.linear.weight.detach().double().numpy()[0], old)


def test_a_fitted_head_sees_its_training_networks_and_copies_of_the_encoded():
    """Of twenty training networks a fifth is four: two labelled networks are copied twice."""
    spec = Spec(carrier=Embedding, width=1, architectures=(mlp(1, 1),), values=1)
    choice = use("stats/mean")
    head = choice.part(choice.config, spec)
    head.finish(torch.zeros(20, 1), torch.zeros(20, 1))
    tasks = Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
    fitted = RefitHead().fit(head, tasks, encoded([[1.0], [1.0]], [6.0, 6.0]))
    assert fitted.predict(encoded([[0.0]]))["a"] == pytest.approx([6 * 4 / 24])
    assert head(torch.zeros(1, 1)).item() == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An untrained model with an encoder that gradients train, and 40 networks."""
    zoo = open_zoo(toy_zoo(tmp_path_factory.mktemp("tune") / "zoo.zarr", networks=40))
    batch = zoo.load()
    config = recipe("sne/message", "layer_encoder.width=8")
    torch.manual_seed(0)
    model = build_model(config, batch.architectures)
    model.encoder.normalise.fit(batch.blocks())
    return model.eval(), batch, zoo.column("scale")


def tuned_on(trained, rows):
    model, batch, scale = trained
    some = batch.select(rows)
    return Encoded(embedding=embedded(model.encoder, some), truth={"a": scale[rows]}, group=rows, batch=some)


def test_with_few_networks_only_lines_are_fitted(trained, identity):
    """Isotonic regression and the head need ten run groups; all weights need thirty, and an encoder."""
    model, few = trained[0], ["nothing", "shift", "affine"]
    names = {groups: [each.name for each in adjustments_for(model, groups)] for groups in (3, 9, 10, 29, 30)}
    assert names[3] == names[9] == few
    assert names[10] == names[29] == [*few, "monotone", "head"]
    assert names[30] == [*few, "monotone", "head", "all weights"]
    fixed = Model(torch.nn.Identity(), identity(1))
    assert [each.name for each in adjustments_for(fixed, 30)] == names[10]


def test_training_all_weights_learns_and_leaves_the_run_as_it_is(trained):
    """The error of the labelled networks falls, and neither encoder nor head of the run changes."""
    model, tasks = trained[0], Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    networks = tuned_on(trained, np.arange(40))
    old = Nothing().fit(model.head, tasks, networks).predict(networks)["a"]
    tuned = FineTune(model.encoder).fit(model.head, tasks, networks)
    new = tuned.predict(networks)["a"]
    truth = networks.truth["a"]
    assert ((new - truth) ** 2).mean() < 0.5 * ((old - truth) ** 2).mean()
    assert tuned.encoder is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_training_all_weights_twice_gives_the_same(trained):
    """Nothing depends on the random state of torch, and this state is kept."""
    model, tasks = trained[0], Tasks(each=[Regression(name="a", mean=0.0, std=1.0)])
    networks, found = tuned_on(trained, np.arange(35)), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected = torch.rand(1, generator=torch.Generator().manual_seed(seed))
        found.append(FineTune(model.encoder).fit(model.head, tasks, networks).predict(networks)["a"])
        assert torch.rand(1) == expected
    assert np.array_equal(*found)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e21])
def test_a_network_with_unusable_weights_has_no_embedding(value):
    """Its row is not finite although its weights were cut, so ``adapt`` refuses it as ``predict`` does."""
    architecture = mlp(1, 4, 1)
    weights = torch.randn(5, architecture.num_weights, generator=torch.Generator().manual_seed(0))
    encoder = sneframe.encoder("sne/message", join({architecture: weights}, {architecture: range(5)}))
    weights[2, 0] = value
    found = embedded(encoder, join({architecture: weights}, {architecture: range(5)}))
    assert found.isfinite().all(1).tolist() == [True, True, False, True, True]

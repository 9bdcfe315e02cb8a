"""The average of the weights over the steps of a training, with which a model is validated and saved."""

import signal

import pytest
import torch
from torch import nn

import sneframe
from sneframe.errors import ConfigError, Interrupted
from sneframe.run_folder.tensor_files import read_tensors
from sneframe.train import evaluate, loop
from sneframe.train.weight_average import WeightAverage

SMALL = (
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.points=2",
    "aggregator.heads=2",
    "train.batch_size=8",
    "train.epochs=2",
)


def config_for(zoo, *words):
    return sneframe.recipe("sne", f"zoo.path={zoo}", *SMALL, *words)


def one_weight(value):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(value)
    return model


def set_weight(model, value):
    with torch.no_grad():
        model.weight.fill_(value)


def test_the_average_is_that_of_the_formula():
    """The average keeps 1/10, then 2/11, and later ``decay`` of itself; these numbers are made by hand."""
    model = one_weight(0.0)
    average = WeightAverage(model, 0.5)
    for step, value, expected in ((0, 1.0, 0.9), (1, 2.0, 1.8), (100, 1.0, 1.4)):
        set_weight(model, value)
        average.update(step)
        with average.applied():
            assert model.weight.item() == pytest.approx(expected, rel=1e-6)


def test_the_model_gets_its_own_weights_back():
    """After the average was applied, the model has its own weights, also if an error was raised."""
    model = one_weight(0.0)
    average = WeightAverage(model, 0.5)
    set_weight(model, 1.0)
    average.update(0)
    with pytest.raises(ValueError, match="no score"), average.applied():
        raise ValueError("no score")
    assert model.weight.item() == 1.0


def test_frozen_weights_are_not_averaged():
    """Only trainable weights have an average, so a plugin may change a frozen one."""
    model = nn.Sequential(one_weight(0.0), one_weight(0.0))
    model[0].requires_grad_(requires_grad=False)
    assert list(WeightAverage(model, 0.5).tensors()) == ["average.1.weight"]


def test_without_decay_the_average_is_the_model():
    """A decay of 0 averages nothing and saves nothing."""
    model = one_weight(1.0)
    average = WeightAverage(model, 0.0)
    average.update(0)
    set_weight(model, 2.0)
    with average.applied():
        assert model.weight.item() == 2.0
    assert not average.tensors()


def test_a_run_saves_and_scores_the_average(toy_zoo_path, tmp_path, monkeypatch):
    """The best model is the average over the steps, computed here by the formula in plain numbers."""
    real, seen, scored = loop.train_step, [], []

    def recorded(values, positions, number):
        model = values.objective.model
        if number == 0:
            seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        real(values, positions, number)
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})

    def predict(model, *rest, **options):
        scored.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return predicting(model, *rest, **options)

    predicting = evaluate.predict
    monkeypatch.setattr(loop, "train_step", recorded)
    monkeypatch.setattr(evaluate, "predict", predict)
    config = config_for(toy_zoo_path, "train.ema_decay=0.3", "train.epochs=1", "train.batch_size=4")
    sneframe.run(config, tmp_path / "run", report=False)
    saved, _ = read_tensors(tmp_path / "run" / "best.safetensors")
    assert len(seen) > 5  # so the decay has reached 0.3
    for name, first in seen[0].items():
        average = first.double()
        for step, weights in enumerate(seen[1:]):
            decay = min(0.3, (1 + step) / (10 + step))
            average = decay * average + (1 - decay) * weights[name].double()
        torch.testing.assert_close(saved[name].double(), average, rtol=1e-5, atol=1e-7)
        assert torch.equal(scored[0][name], saved[name])


def test_an_average_of_one_step_changes_nothing(toy_zoo_path, tmp_path):
    """With a tiny decay the average is the last step, so all numbers are those of a run without average."""
    plain = sneframe.run(config_for(toy_zoo_path), tmp_path / "plain", report=False)
    tiny = sneframe.run(config_for(toy_zoo_path, "train.ema_decay=1e-12"), tmp_path / "tiny", report=False)
    assert {**tiny.metrics, "seconds": None} == {**plain.metrics, "seconds": None}


@pytest.mark.parametrize("step", [2, 4])
def test_an_interrupted_run_keeps_its_average(toy_zoo_path, tmp_path, step, monkeypatch):
    """A run that Ctrl-C stopped gives the same model and average bit for bit when it is resumed."""
    config, real = config_for(toy_zoo_path, "train.ema_decay=0.9"), loop.train_step
    whole = sneframe.run(config, tmp_path / "whole", report=False)

    def interrupted(values, positions, number):
        real(values, positions, number)
        if number == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(Interrupted):
        sneframe.run(config, tmp_path / "run", report=False)
    monkeypatch.setattr(loop, "train_step", real)
    resumed = sneframe.run(config, tmp_path / "run", resume=True, report=False)
    assert {**resumed.metrics, "seconds": None} == {**whole.metrics, "seconds": None}
    for name in ("best.safetensors", "last.safetensors"):
        expected, found = (read_tensors(tmp_path / each / name)[0] for each in ("whole", "run"))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize("value", ["1", "-0.1", "high"])
def test_a_decay_is_at_least_0_and_below_1(value):
    """Other decays are refused by the name of the option."""
    with pytest.raises(ConfigError, match="ema_decay"):
        sneframe.recipe("sne", f"train.ema_decay={value}")

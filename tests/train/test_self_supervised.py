"""An encoder that a loss alone trains, and a head that is fitted to its embeddings afterwards."""

import csv
import json
import signal

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sneframe
from sneframe.errors import Interrupted, PartError, RunError
from sneframe.run_folder import checkpoint, tensor_files
from sneframe.train import loop
from sneframe.zoo import open_zoo

SMALL = (
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.blocks=1",
    "layer_encoder.latent=4",
    "invariance.width=8",
    "invariance.heads=2",
    "invariance.blocks=1",
    "train.batch_size=8",
    "device=cpu",
)


def config_for(zoo, *words):
    return sneframe.recipe("sane", f"zoo.path={zoo}", *SMALL, "train.epochs=3", *words)


def records(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def predictions(folder):
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [int(row["id"]) for row in rows], np.array([float(row["predicted"]) for row in rows])


@pytest.fixture(scope="module")
def finished(toy_zoo_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return sneframe.run(config_for(toy_zoo_path), folder)


def test_the_head_is_a_ridge_on_frozen_embeddings(finished, toy_zoo_path):
    """The predictions are those of scikit-learn's ridge on the embeddings of the training networks."""
    model, tasks, _ = checkpoint.load_model(finished.folder / "best.safetensors")
    zoo = open_zoo(toy_zoo_path)
    ids, predicted = predictions(finished.folder)
    training = [network for network in range(len(zoo)) if network not in ids]
    with torch.no_grad():
        embeddings = model.encoder(zoo.load()).double().numpy()
    targets = (zoo.column("scale")[training] - tasks.main.mean) / tasks.main.std
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-3, 1e5, 25)))
    ridge.fit(embeddings[training], targets)
    expected = ridge.predict(embeddings[ids]) * tasks.main.std + tasks.main.mean
    assert predicted == pytest.approx(expected, abs=1e-3)


def test_no_property_is_read_in_the_training(zoo_of, tmp_path):
    """With other values of the property the encoder is the same, and the predictions are not."""
    zoo = zoo_of(noise=lambda scale: np.random.default_rng(3).standard_normal(len(scale)))
    runs = [
        sneframe.run(config_for(zoo, f"zoo.property={name}"), tmp_path / name, report=False)
        for name in ("scale", "noise")
    ]
    one, other = (tensor_files.read_tensors(run.folder / "best.safetensors")[0] for run in runs)
    for name, tensor in one.items():
        if not name.startswith("head."):
            assert torch.equal(tensor, other[name]), name
    assert predictions(runs[0].folder)[1].tolist() != predictions(runs[1].folder)[1].tolist()


def test_the_validation_loss_picks_the_epoch(finished):
    """The history has the loss of the validation networks instead of scores, and the lowest is the best."""
    history = records(finished.folder)
    losses = [record["val"].pop("loss") for record in history]
    assert all(record["val"] == {} for record in history)
    assert all(record["train"]["task"] is None for record in history)
    best = losses.index(min(losses))
    assert finished.metrics["best_epoch"] == best + 1
    assert checkpoint.load_model(finished.folder / "best.safetensors")[2]["epoch"] == best + 1


def test_validation_losses_of_two_epochs_can_be_compared(toy_zoo_path, tmp_path):
    """Without training steps that change anything, all epochs have the same validation loss."""
    run = sneframe.run(config_for(toy_zoo_path, "train.lr=1e-30"), tmp_path / "run", report=False)
    assert len({record["val"]["loss"] for record in records(run.folder)}) == 1


def test_the_report_draws_the_losses(finished):
    """The report has the curves of the loss, and says how the head was made."""
    text = finished.report.read_text(encoding="utf-8")
    assert "Validation chose the epoch, by the invariance loss" in text
    assert "The head was fitted afterwards" in text
    assert "the validation loss from" in text


@pytest.mark.parametrize("step", [5, 11])
def test_an_interrupted_run_goes_on_bit_for_bit(finished, toy_zoo_path, tmp_path, step, monkeypatch):
    """Encoder, decoder, head and metrics are those of a run that was not interrupted."""
    real = loop.train_step

    def interrupted(loop, positions, number):
        real(loop, positions, number)
        if number == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "train_step", interrupted)
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        sneframe.run(config_for(toy_zoo_path), folder, report=False)
    monkeypatch.setattr(loop, "train_step", real)
    resumed = sneframe.run(config_for(toy_zoo_path), folder, resume=True, report=False)
    assert {**resumed.metrics, "seconds": None} == {**finished.metrics, "seconds": None}
    expected, _ = tensor_files.read_tensors(finished.folder / "best.safetensors")
    found, _ = tensor_files.read_tensors(folder / "best.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_a_finished_run_can_be_resumed_to_the_same_end(finished, toy_zoo_path):
    """Resuming a finished run fits the same head again."""
    before = {**finished.metrics, "seconds": None}
    again = sneframe.run(config_for(toy_zoo_path), finished.folder, resume=True, report=False)
    assert {**again.metrics, "seconds": None} == before


def test_the_model_of_an_unfinished_run_is_refused(toy_zoo_path, tmp_path, monkeypatch):
    """Before the head is fitted, the saved model predicts nothing."""

    def stopped(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("sneframe.train.run.finish", stopped)
    with pytest.raises(ZeroDivisionError):
        sneframe.run(config_for(toy_zoo_path), tmp_path / "run", report=False)
    with pytest.raises(RunError, match="head 'stats/ridge' is not fitted yet, because the run is not"):
        checkpoint.load_model(tmp_path / "run" / "best.safetensors")


def test_the_decoder_is_saved_with_the_model(finished):
    """The loss of the best epoch comes back from the file, without the model of that file being changed."""
    path = finished.folder / "best.safetensors"
    model, _, _ = checkpoint.load_model(path)
    loss = checkpoint.load_invariance(path, model)
    tensors, _ = tensor_files.read_tensors(path)
    assert not loss.training
    assert torch.equal(loss.decoder.weights.weight, tensors["invariance.decoder.weights.weight"])


def test_an_average_covers_the_decoder(toy_zoo_path, tmp_path):
    """With ``train.ema_decay`` the saved decoder belongs to the saved encoder: both are averages."""
    runs = [
        sneframe.run(
            config_for(toy_zoo_path, f"train.ema_decay={decay}"), tmp_path / str(decay), report=False
        )
        for decay in (0.0, 0.9)
    ]
    plain, average = (tensor_files.read_tensors(run.folder / "best.safetensors")[0] for run in runs)
    for name in ("encoder.layer_encoder.embed.weight", "invariance.decoder.weights.weight"):
        assert not torch.equal(plain[name], average[name])


def test_boosting_reads_the_embeddings_too(toy_zoo_path, tmp_path):
    """Any fitted head may follow."""
    words = ("head.part=stats/boosting", "head.trees=3", "head.min_leaf=3")
    run = sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    assert run.metrics["test"]["n"] == 6


def test_a_category_is_read_from_embeddings(zoo_of, tmp_path):
    """Ridge regression to zeros and ones gives a class for each network."""
    zoo = zoo_of(large=lambda scale: np.where(scale > np.median(scale), "large", "small"))
    run = sneframe.run(config_for(zoo, "zoo.property=large"), tmp_path / "run", report=False)
    assert 0 <= run.metrics["test"]["accuracy"] <= 1


def test_an_augmentation_may_precede_the_loss(toy_zoo_path, tmp_path):
    """There are training steps, so augmentations apply."""
    words = ('augmentation=[{part="augmentation/noise", std=0.1}]', "train.epochs=1")
    run = sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    assert run.metrics["epochs"] == 1


def test_a_loss_on_embeddings_trains_any_encoder(toy_zoo_path, tmp_path):
    """A published method is trained by the contrastive loss alone, and read by ridge regression."""
    words = ("invariance.part=invariance/contrastive", "train.task_weight=0", "head.part=stats/ridge")
    small = ("layer_encoder.width=8", "layer_encoder.heads=2", "layer_encoder.points=2", "aggregator.heads=2")
    config = sneframe.recipe(
        "sne", f"zoo.path={toy_zoo_path}", *words, *small, "train.epochs=2", "train.batch_size=8"
    )
    run = sneframe.run(config, tmp_path / "run", report=False)
    assert all("loss" in record["val"] for record in records(run.folder))
    assert run.metrics["best_epoch"] in (1, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("train.task_weight=1",),
            r"head 'stats/ridge' is fitted to finished embeddings .* cannot be trained",
        ),
        (("invariance.part=none",), r"head 'stats/ridge' is fitted to finished embeddings"),
        (("invariance.part=invariance/logit",), r"'invariance/logit' compares values of the head, and"),
        (("train.invariance_every=1",), r"train\.invariance_every measures values of the head during"),
    ],
)
def test_what_cannot_be_trained_is_refused(toy_zoo_path, tmp_path, words, said):
    """Before anything is trained, one line says what is wrong, and no folder is left."""
    config = sneframe.recipe("sane", f"zoo.path={toy_zoo_path}", *words)
    with pytest.raises(PartError, match=said) as caught:
        sneframe.run(config, tmp_path / "run", report=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_fitted_method_has_nothing_that_a_loss_could_train(toy_zoo_path, tmp_path):
    """StatNN has no weights in front of its head."""
    words = ("invariance.part=invariance/embedding", "train.task_weight=0", f"zoo.path={toy_zoo_path}")
    with pytest.raises(PartError, match="'invariance/embedding' is a loss to train with, and head"):
        sneframe.run(sneframe.recipe("stats", *words), tmp_path / "run", report=False)


def test_a_model_whose_head_is_not_fitted_gives_no_number(toy_zoo_path):
    """Its values are NaN, so that they cannot be taken for predictions."""
    from sneframe.model import build_model

    zoo = open_zoo(toy_zoo_path)
    model, networks = build_model(config_for(toy_zoo_path), zoo.architectures), zoo.load()
    model.encoder.normalise.fit([networks])
    output = model(networks)
    assert bool(output.value.isnan().all())
    assert bool(output.embedding.isfinite().all())

"""A run: its files, what its numbers depend on, how it is resumed, and how it fails."""

import csv
import json
import os
import signal
import subprocess
import sys
import tomllib
import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.stats import kendalltau
from sklearn.metrics import mean_squared_error, r2_score

import sneframe
from sneframe import atomic, plugins
from sneframe.config.structure import structure
from sneframe.errors import ConfigError, Interrupted, MachineError, PartError, RunError, ZooError
from sneframe.run_folder import checkpoint, tensor_files
from sneframe.testing import toy_zoo
from sneframe.zoo import open_zoo

SMALL = (
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.points=2",
    "aggregator.heads=2",
    "train.batch_size=8",
)


def config_for(zoo, *words, recipe="sne"):
    return sneframe.recipe(recipe, f"zoo.path={zoo}", *(SMALL if recipe == "sne" else ()), *words)


def tensors(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.fixture(scope="module")
def finished(toy_zoo_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return sneframe.run(config_for(toy_zoo_path, "train.epochs=3"), folder)


def test_a_run_leaves_its_files(finished):
    """A finished run leaves exactly these files."""
    left = {path.name for path in finished.folder.iterdir()}
    assert left == {
        "config.toml",
        "environment.json",
        "history.jsonl",
        "training.json",
        "calibration.json",
        "predictions.csv",
        "embeddings.safetensors",
        "best.safetensors",
        "last.safetensors",
        "metrics.json",
        "report.html",
    }


@pytest.mark.parametrize("part", ["val", "test"])
def test_the_metrics_are_those_of_the_predictions(finished, part):
    """Other libraries compute the same numbers from predictions.csv."""
    with (finished.folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == part]
    true, predicted = (np.array([float(row[name]) for row in rows]) for name in ("true", "predicted"))
    found = json.loads((finished.folder / "metrics.json").read_text())[part]
    assert found["n"] == len(rows) == 6
    assert found["mse"] == pytest.approx(mean_squared_error(true, predicted))
    assert found["r2"] == pytest.approx(r2_score(true, predicted))
    assert found["tau"] == pytest.approx(kendalltau(true, predicted).statistic)


def test_the_true_values_are_the_zoos(finished, toy_zoo_path):
    """The true values in predictions.csv are those of the zoo."""
    scale = open_zoo(toy_zoo_path).column("scale")
    with (finished.folder / "predictions.csv").open() as file:
        for row in csv.DictReader(file):
            assert float(row["true"]) == scale[int(row["id"])]


def test_no_network_is_in_two_splits(toy_zoo_path):
    """The three splits are disjoint and hold every network."""
    from sneframe.progress import Reporter
    from sneframe.train.data import load_data

    split = load_data(config_for(toy_zoo_path).zoo, Reporter()).split
    together = np.concatenate([split.train, split.val, split.test])
    assert sorted(together) == list(range(40))


def test_a_run_can_be_repeated_from_its_config(finished, tmp_path):
    """The written configuration gives the same metrics and weights again."""
    data = tomllib.loads((finished.folder / "config.toml").read_text())
    config = structure(data, plugins.part)
    again = sneframe.run(config, tmp_path / "again", report=False)
    assert {**again.metrics, "seconds": None} == {**finished.metrics, "seconds": None}
    assert all(
        torch.equal(tensor, tensors(again.folder / "best.safetensors")[name])
        for name, tensor in tensors(finished.folder / "best.safetensors").items()
    )


def test_another_seed_gives_other_numbers(finished, toy_zoo_path, tmp_path):
    """Another seed gives another test error."""
    other = sneframe.run(
        config_for(toy_zoo_path, "train.epochs=3", "seed=1"), tmp_path / "other", report=False
    )
    assert other.metrics["test"]["mse"] != finished.metrics["test"]["mse"]


@pytest.mark.parametrize("recipe", ["sne", "stats"])
def test_a_saved_model_predicts_what_the_run_predicted(toy_zoo_path, tmp_path, recipe):
    """best.safetensors predicts the values of predictions.csv."""
    run = sneframe.run(
        config_for(toy_zoo_path, "train.epochs=2", recipe=recipe), tmp_path / "run", report=False
    )
    model, tasks, _ = checkpoint.load_model(run.folder / "best.safetensors")
    with (run.folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    batch = open_zoo(toy_zoo_path).load().select([int(row["id"]) for row in rows])
    with torch.no_grad():
        predicted = tasks.main.predict(model(batch).value)
    assert predicted == pytest.approx([float(row["predicted"]) for row in rows], abs=1e-5)


@pytest.mark.parametrize("recipe", ["stats", "stats/mlp"])
def test_a_property_far_from_zero_is_scored_like_one_near_it(zoo_of, tmp_path, recipe):
    """Times since 1970 are learned as well as small numbers, although float32 cannot tell them apart."""
    zoo = zoo_of(late=lambda scale: 1.7e9 + 64.0 * scale)
    near, far = (
        sneframe.run(
            config_for(zoo, f"zoo.property={name}", "train.epochs=2", recipe=recipe),
            tmp_path / name,
            report=False,
        ).metrics["test"]
        for name in ("scale", "late")
    )
    assert far["r2"] == pytest.approx(near["r2"], abs=1e-5)
    assert far["mse"] == pytest.approx(64.0**2 * near["mse"], rel=1e-5)


def test_a_head_fitted_by_another_version_warns(toy_zoo_path, tmp_path):
    """A head that another version of scikit-learn fitted is read with a warning."""
    words = ("head.trees=2",)
    path = (
        sneframe.run(config_for(toy_zoo_path, *words, recipe="stats"), tmp_path / "run", report=False).folder
        / "best.safetensors"
    )
    found, header = tensor_files.read_tensors(path)
    tensor_files.write_tensors(path, found, {**header, "scikit-learn": "1.0"})
    with pytest.warns(
        UserWarning, match=r"head 'stats/boosting' was fitted by scikit-learn 1\.0 and is fitted again"
    ):
        checkpoint.load_model(path)


def test_a_trained_head_ignores_the_version(finished, tmp_path):
    """A model whose head is trained is read without a warning, whatever version is recorded."""
    found, header = tensor_files.read_tensors(finished.folder / "best.safetensors")
    tensor_files.write_tensors(tmp_path / "model", found, {**header, "scikit-learn": "1.0"})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model, _, _ = checkpoint.load_model(tmp_path / "model")
    assert said == []
    assert model.head.trained


# -- resuming ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [5, 8, 11])
def test_an_interrupted_run_goes_on_bit_for_bit(finished, toy_zoo_path, tmp_path, step, monkeypatch):
    """A run that Ctrl-C stopped within an epoch or at its end gives the same numbers bit for bit."""
    from sneframe.train import loop

    real = loop.train_step

    def interrupted(loop, positions, number):
        real(loop, positions, number)
        if number == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "train_step", interrupted)
    config, folder = config_for(toy_zoo_path, "train.epochs=3"), tmp_path / "run"
    with pytest.raises(Interrupted, match="sneframe run --resume"):
        sneframe.run(config, folder, report=False)
    monkeypatch.setattr(loop, "train_step", real)
    resumed = sneframe.run(config, folder, resume=True, report=False)
    assert {**resumed.metrics, "seconds": None} == {**finished.metrics, "seconds": None}
    for name in ("best.safetensors", "last.safetensors"):
        expected = tensors(finished.folder / name)
        assert all(torch.equal(tensor, expected[key]) for key, tensor in tensors(folder / name).items())

    def records(path):
        return [
            {**json.loads(line), "seconds": 0} for line in (path / "history.jsonl").read_text().splitlines()
        ]

    assert records(folder) == records(finished.folder)
    calibrations = [(each / "calibration.json").read_bytes() for each in (folder, finished.folder)]
    assert calibrations[0] == calibrations[1]


def test_a_finished_run_can_be_resumed_to_the_same_end(finished, toy_zoo_path):
    """Resuming a finished run gives the same scores."""
    again = sneframe.run(
        config_for(toy_zoo_path, "train.epochs=3"), finished.folder, resume=True, report=False
    )
    assert again.metrics["test"] == finished.metrics["test"]


def test_a_folder_in_use_is_not_written_to(finished, toy_zoo_path):
    """A folder that is not empty is refused."""
    with pytest.raises(RunError, match="exists and is not empty"):
        sneframe.run(config_for(toy_zoo_path), finished.folder, report=False)


def test_a_run_of_another_configuration_is_not_resumed(finished, toy_zoo_path):
    """A run cannot be resumed with another configuration."""
    with pytest.raises(RunError, match="another configuration"):
        sneframe.run(config_for(toy_zoo_path, "train.epochs=4"), finished.folder, resume=True, report=False)


def test_there_must_be_a_run_to_resume(toy_zoo_path, tmp_path):
    """Resuming a folder without a run is an error."""
    with pytest.raises(RunError, match="no run to resume"):
        sneframe.run(config_for(toy_zoo_path), tmp_path / "nothing", resume=True, report=False)


def test_resuming_needs_the_folder_of_the_run(toy_zoo_path):
    """Resuming without a folder is an error that names the argument."""
    with pytest.raises(RunError, match=r"^resume=True needs the argument 'out': the folder of the run"):
        sneframe.run(config_for(toy_zoo_path), resume=True, report=False)


def test_a_damaged_state_is_named(toy_zoo_path, tmp_path):
    """The error names a damaged last.safetensors."""
    config = config_for(toy_zoo_path, "train.epochs=1")
    folder = sneframe.run(config, tmp_path / "run", report=False).folder
    (folder / "last.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"last\.safetensors: damaged"):
        sneframe.run(config, folder, resume=True, report=False)


def test_patience_stops_the_training(toy_zoo_path, tmp_path):
    """Training stops when the validation score has not improved for `patience` epochs."""
    words = ("train.epochs=50", "train.patience=2", "train.lr=1e-12", "train.schedule=constant")
    run = sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    assert run.metrics["epochs"] < 50
    assert run.metrics["epochs"] == run.metrics["best_epoch"] + 2


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["zoo.property=scales"], ZooError, "did you mean 'scale'"),
        (
            ["zoo.property=label"],
            ZooError,
            "'label' has the same value, 'label 0', in all 40 networks",
        ),
        (["zoo.property=kind"], ZooError, "the same value, 0,"),
        (["zoo.where=scale > 100"], ZooError, "none of the 40 networks matches"),
        (["zoo.where=scales > 1"], ZooError, "scales"),
        (["zoo.split=published"], ZooError, "published"),
        (["zoo.sizes=[100, 5, 5]"], ZooError, "40"),
        (["zoo.sizes=[0.5, 0.5, 0.0]"], ZooError, "three positive"),
        (["zoo.sizes=[1.5, 10, 10]"], ConfigError, "zoo.sizes must be"),
        (["device=cuda"], ConfigError, "no CUDA device"),
        (["head.part=sne/pad-chunk"], ConfigError, "cannot be the head"),
        (["tokenizer.part=stats/statistics"], PartError, "takes ChunkTokens, but got StatTokens"),
        (["invariance.part=invariance/none"], ConfigError, "invariance/none"),
        (["layer_encoder.heads=3"], PartError, "heads must divide width"),
        (
            ["train.lr=1e30", "train.clip=1e30", "train.schedule=constant", "train.epochs=4"],
            RunError,
            "training loss is",
        ),
        (  # the only step leaves weights with which no validation network can be scored
            ["train.lr=1e18", "train.schedule=constant", "train.epochs=1", "train.batch_size=64"],
            RunError,
            "validation MSE is .* in epoch 1; try a lower train.lr",
        ),
    ],
)
def test_bad_input_is_one_line(toy_zoo_path, tmp_path, words, error, said):
    """Each mistake is one line that says what is wrong."""
    if "device=cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has the device that the test expects to be missing")
    with pytest.raises(error, match=said) as caught:
        sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    assert "\n" not in str(caught.value)


def test_dwsnet_refuses_a_mixed_zoo(tmp_path):
    """A method for one architecture refuses a zoo of two."""
    zoo = toy_zoo(tmp_path / "mixed.zarr", hidden=((4, 4), (3, 3)), networks=20)
    with pytest.raises(PartError, match="one layout, but the zoo has 2 layouts"):
        sneframe.run(config_for(zoo, recipe="dwsnet"), tmp_path / "run", report=False)


@pytest.mark.parametrize("invariance", ["invariance/logit", "none"])
def test_a_fitted_head_needs_an_untrained_encoder(toy_zoo_path, tmp_path, invariance):
    """A fitted head after parts that need gradients is refused, and no folder is left."""
    config = config_for(toy_zoo_path, "head.part=stats/boosting", f"invariance.part={invariance}")
    with pytest.raises(
        PartError, match="so layer_encoder 'sne/chunk-set' and aggregator 'sne/layer-set' cannot"
    ):
        sneframe.run(config, tmp_path / "run", report=False)
    assert not (tmp_path / "run").exists()


def test_an_invariance_loss_needs_a_trained_head(toy_zoo_path, tmp_path):
    """An invariance loss with a fitted head is refused, and no folder is left."""
    config = config_for(toy_zoo_path, "invariance.part=invariance/logit", recipe="stats")
    with pytest.raises(
        PartError, match="'invariance/logit' is a loss to train with, and head 'stats/boosting'"
    ):
        sneframe.run(config, tmp_path / "run", report=False)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line_and_keeps_the_last_state(finished, toy_zoo_path, tmp_path, monkeypatch):
    """A full disk is an error of one line, and the state before it can be resumed."""
    from sneframe.train import loop

    real, steps = loop.train_step, 4

    def killed(loop, positions, number):
        if number == steps:
            raise ZeroDivisionError
        real(loop, positions, number)

    config, folder = config_for(toy_zoo_path, "train.epochs=3"), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", killed)
        with pytest.raises(ZeroDivisionError):
            sneframe.run(config, folder, report=False)
    last = folder / "last.safetensors"
    before, smaller = last.read_bytes(), (folder / "best.safetensors").stat().st_size
    assert smaller < len(before)

    code = (
        "import resource, signal, sys; from sneframe.cli import main; import sneframe.train.run\n"
        "limit = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "main(sys.argv[2:])"
    )
    words = [str((smaller + len(before)) // 2), "run", "--resume", str(folder), "--quiet", "--no-report"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot write {last}: ")
    assert len(done.stderr.splitlines()) == 1
    assert len((folder / "history.jsonl").read_text().splitlines()) == 2
    assert last.read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]

    resumed = sneframe.run(config, folder, resume=True, report=False)
    assert {**resumed.metrics, "seconds": None} == {**finished.metrics, "seconds": None}


def test_a_full_disk_leaves_the_earlier_file(tmp_path, monkeypatch):
    """A failed write leaves the earlier file as it was, and no temporary file."""
    path = tmp_path / "file"
    atomic.write_text(path, "before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="No space left on device"):
        atomic.write_text(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]

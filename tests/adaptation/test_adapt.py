"""A run is adapted to another zoo, and the result is a run like any other."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import sneframe
from sneframe.adaptation import folder as adapted_folder
from sneframe.compose import recipe
from sneframe.errors import ConfigError, MachineError, RunError, ZooError
from sneframe.report import write_report
from sneframe.run_folder.adapted import read_adaptation
from sneframe.run_folder.checkpoint import load_model
from sneframe.run_folder.load import read_folder
from sneframe.zoo import open_zoo


@pytest.fixture
def tripled(zoo_of):
    """A zoo whose property is three times the one that the run has learned, plus one."""
    return zoo_of(scale=lambda scale: 3 * scale + 1)


@pytest.fixture
def adapted(parent, tripled, tmp_path):
    return sneframe.adapt(parent, tripled, networks=12, out=tmp_path / "adapted", report=False)


def test_the_error_falls(adapted):
    """Values that are three times as large are off by far before, and less than the mean is after."""
    metrics = adapted.metrics
    assert metrics["before"]["scale"]["mse"] > 2 * metrics["baseline"]["test"]["mse"]
    assert metrics["test"]["mse"] < metrics["baseline"]["test"]["mse"]
    assert metrics["test"]["n"] == metrics["before"]["scale"]["n"] == 48
    assert metrics["val"]["n"] == metrics["baseline"]["val"]["n"] == 12


def test_a_line_keeps_the_order(parent, tripled, tmp_path):
    """With six networks only straight lines are fitted, and these change no rank."""
    metrics = sneframe.adapt(parent, tripled, networks=6, out=tmp_path / "six", report=False).metrics
    assert metrics["test"]["tau"] == metrics["before"]["scale"]["tau"]
    assert metrics["test"]["mse"] < metrics["before"]["scale"]["mse"]


def test_predict_gives_corrected_values(adapted, parent, tripled):
    """The predictions of the new run are those of the old one after the stored correction."""
    batch = open_zoo(tripled).load()
    weights = batch.networks[0].parameters()
    network = {name: values[0] for name, values in weights.items()}
    before = sneframe.load(parent).predict(network).values["scale"]
    after = sneframe.load(adapted.folder).predict(network).values["scale"]
    correction = load_model(adapted.folder / "best.safetensors")[1].main.correction
    assert after == correction(np.array([before]))[0]
    assert after != before


def test_embeddings_stay(adapted, parent, tripled):
    """The encoder is that of the run."""
    zoo = open_zoo(tripled)
    assert np.array_equal(sneframe.load(adapted.folder).embed(zoo), sneframe.load(parent).embed(zoo))


def test_the_folder_says_what_was_done(adapted, parent, trained_on, tripled):
    """The run that it came from, the labelled networks, the adjustments and the choice."""
    found = read_adaptation(adapted.folder)
    assert found.parent.path == str(parent)
    assert found.parent.zoo == open_zoo(trained_on).digest
    assert found.adjustments[0].name == "nothing"
    assert found.chosen in [each.name for each in found.adjustments]
    assert len(found.networks) == 12
    assert found.folds == 10
    run = read_folder(adapted.folder)
    assert run.environment.zoo.digest == open_zoo(tripled).digest
    assert not set(run.predictions[0].ids.tolist()) & {each.id for each in found.networks}


def test_the_scores_are_those_of_the_predictions(adapted):
    """The errors in metrics.json can be computed from predictions.csv, also the cross-validated one."""
    rows = [line.split(",") for line in (adapted.folder / "predictions.csv").read_text().splitlines()[1:]]
    for part in ("val", "test"):
        errors = [(float(row[5]) - float(row[6])) ** 2 for row in rows if row[1] == part]
        assert adapted.metrics[part]["mse"] == pytest.approx(np.mean(errors))
    chosen = next(
        each for each in read_adaptation(adapted.folder).adjustments
        if each.name == read_adaptation(adapted.folder).chosen
    )  # fmt: skip
    assert chosen.mse == pytest.approx(adapted.metrics["val"]["mse"])


def test_the_labels_of_test_networks_change_nothing_but_scores(parent, zoo_of, tmp_path, adapted):
    """With other values of the test networks, the model is the same to the bit."""
    labelled = {each.id for each in read_adaptation(adapted.folder).networks}
    (other := tmp_path / "other").mkdir()
    moved = lambda scale: np.array(  # noqa: E731  # one expression, used once
        [3 * value + 1 + (number not in labelled) for number, value in enumerate(scale)]
    )
    shutil.rmtree(tmp_path / "second.zarr")
    again = sneframe.adapt(parent, zoo_of(scale=moved), networks=12, out=other / "adapted", report=False)
    first, second = (load_file(each.folder / "best.safetensors") for each in (adapted, again))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert load_model(again.folder / "best.safetensors")[1] == load_model(
        adapted.folder / "best.safetensors"
    )[1]  # fmt: skip
    assert again.metrics["test"]["mse"] != adapted.metrics["test"]["mse"]


def test_the_report_can_be_drawn(adapted):
    """The page says that the run was adapted, to how many networks, and how."""
    page = write_report(adapted.folder).read_text()
    assert "12 labelled networks" in page
    assert "cross-validat" in page


def test_networks_of_the_new_zoo_are_not_doubted(adapted, tripled):
    """The new run knows the networks to which it was adapted."""
    weights = open_zoo(tripled).load().networks[0].parameters()
    prediction = sneframe.load(adapted.folder).predict({name: each[0] for name, each in weights.items()})
    assert prediction.doubts == ()


def test_several_properties_are_adapted(trained_on, tmp_path, zoo_of):
    """Each property has its own correction, and scores before and after."""
    first = zoo_of(seed=0, networks=80, other=lambda scale: -scale)
    config = recipe(
        "stats/ridge", f"zoo.path={first}", "zoo.property=scale", 'zoo.also=["other"]', "device=cpu"
    )
    run = sneframe.run(config, tmp_path / "both", report=False).folder
    shutil.rmtree(first)
    second = zoo_of(scale=lambda scale: scale + 5, other=lambda scale: 100 - scale)
    metrics = sneframe.adapt(run, second, out=tmp_path / "new", report=False).metrics
    assert metrics["before"].keys() == {"scale", "other"}
    assert metrics["test"]["mse"] < metrics["before"]["scale"]["mse"]
    assert metrics["also"]["other"]["test"]["mse"] < metrics["before"]["other"]["mse"]


def refusal(error, run, zoo, tmp_path, **options):
    """Return the message with which adapting is refused. Nothing is written."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error) as raised:
        sneframe.adapt(run, zoo, **{"out": tmp_path / "adapted", **options})
    assert sorted(tmp_path.iterdir()) == before
    return str(raised.value)


@pytest.mark.parametrize("networks", [2, 1, 0, -5])
def test_fewer_than_three_networks_are_refused(parent, tripled, tmp_path, networks):
    said = refusal(ConfigError, parent, tripled, tmp_path, networks=networks)
    assert said == f"a run is adapted to at least 3 labelled networks, but got {networks}"


def test_networks_that_training_had_are_refused(parent, trained_on, tmp_path):
    """Of the zoo of the run only the test networks are left: 18, which are too few for 18 and a test."""
    said = refusal(ZooError, parent, trained_on, tmp_path, networks=18)
    assert "without 102 networks of run groups that the training had" in said
    said = refusal(ZooError, parent, trained_on, tmp_path, labelled="row < 40")
    assert "cannot be adapted to networks that its training had" in said


def test_a_copy_of_the_training_zoo_is_recognised(parent, zoo_of, tmp_path):
    """The same networks in another zoo, with other values, are still those of the training."""
    copy = zoo_of(seed=0, networks=120, scale=lambda scale: 2 * scale)
    said = refusal(ZooError, parent, copy, tmp_path, labelled="scale > 0")
    assert "but 102 of the 120 networks" in said


def test_an_unknown_property_is_refused(parent, tmp_path, zoo_of):
    """The zoo has no column of that name."""
    zoo = zoo_of()
    manifest = json.loads((zoo / "zarr.json").read_text())
    assert "scale" in json.dumps(manifest)
    config = recipe("stats/ridge", f"zoo.path={zoo}", "device=cpu")
    assert config.zoo.property is None
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(parent, other / "run")
    _rename(other / "run" / "best.safetensors", "scale", "depth")
    said = refusal(ZooError, other / "run", zoo, tmp_path)
    assert "depth" in said
    assert "scale" in said


def _rename(path, old, new):
    """Rename a property in a saved model."""
    from sneframe.run_folder.tensor_files import read_tensors, write_tensors

    tensors, header = read_tensors(path)
    write_tensors(path, tensors, json.loads(json.dumps(header).replace(f'"{old}"', f'"{new}"')))


def test_a_zoo_without_labels_is_refused(parent, zoo_of, tmp_path):
    """All values are missing."""
    zoo = zoo_of(scale=lambda scale: np.full(len(scale), np.nan))
    said = refusal(ZooError, parent, zoo, tmp_path)
    assert "60 without 'scale'" in said


def test_text_is_refused(parent, zoo_of, tmp_path):
    zoo = zoo_of(scale=lambda scale: [f"v{value}" for value in scale])
    said = refusal(ZooError, parent, zoo, tmp_path)
    assert "the run predicts 'scale' as a number, but here it holds strings" in said


def test_values_out_of_reach_are_refused(trained_on, zoo_of, tmp_path):
    """A run that predicts fractions cannot learn percentages."""
    first = zoo_of(seed=0, networks=80, scale=lambda scale: scale / 2)
    run = sneframe.run(
        recipe("stats/ridge", f"zoo.path={first}", "device=cpu"), tmp_path / "run", report=False
    ).folder
    shutil.rmtree(first)
    said = refusal(ZooError, run, zoo_of(scale=lambda scale: 50 * scale), tmp_path)
    assert "predicts 'scale' in [0, 1], but here the values are in [" in said


def test_a_category_is_refused(zoo_of, tmp_path):
    zoo = zoo_of(kind=lambda scale: np.where(scale > 1.2, "large", "small").tolist())
    config = recipe("stats/ridge", f"zoo.path={zoo}", "zoo.property=kind", "device=cpu")
    run = sneframe.run(config, tmp_path / "run", report=False).folder
    assert "only predicted numbers can be adapted" in refusal(RunError, run, zoo, tmp_path)


def test_an_adapted_run_is_not_adapted_or_resumed(adapted, parent, tripled, tmp_path):
    """The message names the run to adapt instead."""
    said = refusal(RunError, adapted.folder, tripled, tmp_path, out=tmp_path / "again")
    assert str(parent) in said
    config = load_config(adapted.folder)
    with pytest.raises(RunError, match="has no training to resume"):
        sneframe.run(config, adapted.folder, resume=True)


def load_config(folder):
    from sneframe.compose import compose

    return compose(None, folder / "config.toml", {})


def test_a_run_that_is_not_finished_is_refused(parent, tripled, tmp_path):
    shutil.copytree(parent, tmp_path / "half")
    (tmp_path / "half" / "metrics.json").unlink()
    assert "is the run finished?" in refusal(RunError, tmp_path / "half", tripled, tmp_path)


def test_an_existing_folder_is_kept(parent, tripled, tmp_path):
    (tmp_path / "adapted").mkdir()
    assert "exists; name another folder" in refusal(RunError, parent, tripled, tmp_path)


@pytest.mark.parametrize("last", ["training.json", "adapted.json", "metrics.json"])
def test_a_failure_half_way_leaves_nothing(parent, tripled, tmp_path, monkeypatch, last):
    """If a file cannot be written, there is no folder, and no temporary one."""
    write = adapted_folder.write_json

    def fail(path, value, **options):
        if path.name == last:
            raise MachineError("the disk is full")
        write(path, value, **options)

    monkeypatch.setattr(adapted_folder, "write_json", fail)
    assert "disk is full" in refusal(MachineError, parent, tripled, tmp_path)


def test_a_killed_command_leaves_no_folder(parent, tripled, tmp_path):
    """A process that dies while it writes leaves no folder at the target, and the next one succeeds."""
    import subprocess
    import sys

    code = (
        "import os, sneframe\n"
        "from sneframe.adaptation import folder\n"
        "folder.write_predictions = lambda *_: os._exit(9)\n"
        f"sneframe.adapt({str(parent)!r}, {str(tripled)!r}, out={str(tmp_path / 'new')!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert not (tmp_path / "new").exists()
    sneframe.adapt(parent, tripled, out=tmp_path / "new", report=False)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("new")] == ["new"]


def test_the_same_seed_gives_the_same_run(adapted, parent, tripled, tmp_path):
    again = sneframe.adapt(parent, tripled, networks=12, out=tmp_path / "again", report=False)
    for name in ("predictions.csv", "adapted.json", "training.json", "best.safetensors"):
        assert (again.folder / name).read_bytes() == (adapted.folder / name).read_bytes()


def test_a_trained_head_can_be_adapted(trained_on, zoo_of, tmp_path):
    """The same for a head that gradients train."""
    config = recipe(
        "sne/message", f"zoo.path={trained_on}", "zoo.property=scale", "device=cpu", "train.epochs=3"
    )
    run = sneframe.run(config, tmp_path / "run", report=False).folder
    zoo = zoo_of(scale=lambda scale: scale + 7)
    metrics = sneframe.adapt(run, zoo, out=tmp_path / "new", report=False).metrics
    assert metrics["test"]["mse"] < 0.1 * metrics["before"]["scale"]["mse"]
    assert torch.tensor(metrics["test"]["n"]) == 50

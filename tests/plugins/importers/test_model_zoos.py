"""The model zoos of Schürholt et al., as folders of Ray Tune and as one pickled file, in small copies."""

import json
import os
import pickle
import sys
import zipfile
from types import ModuleType

import pytest
import torch
from stored import tensors
from torch import nn

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.symmetry import verify


class CNNSmall(nn.Module):
    """The smaller CNN: three convolutions, flattened, two linear layers; 2464 weights on grey images."""

    def __init__(self):
        super().__init__()
        layers = [
            nn.Conv2d(1, 8, 5),
            nn.MaxPool2d(2),
            nn.Tanh(),
            nn.Conv2d(8, 6, 5),
            nn.MaxPool2d(2),
            nn.Tanh(),
        ]
        layers += [
            nn.Conv2d(6, 4, 2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(36, 20),
            nn.Tanh(),
            nn.Linear(20, 10),
        ]
        self.module_list = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.module_list:
            x = layer(x)
        return x


def trial(folder, states, *, wide=False, nlin="tanh", seed=1):
    folder.mkdir(parents=True)
    params = {
        "model::nlin": nlin,
        "optim::lr": 0.01,
        "model::type": "CNN",
        "seed": seed,
        "training::epochs": 50,
    }
    (folder / "params.json").write_text(json.dumps(params | {"scheduler": None}))
    lines = [
        {"training_iteration": e, "test_acc": e / 10, "train_loss": 1.0 / e, "config": params}
        for e in range(1, max(states) + 1)
    ]
    (folder / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for epoch, state in states.items():
        checkpoint = folder / (f"checkpoint_{epoch:06d}" if wide else f"checkpoint_{epoch}")
        checkpoint.mkdir()
        torch.save(state, checkpoint / "checkpoints")
        torch.save({"state": {}}, checkpoint / "optimizer")
    return folder


@pytest.fixture
def states():
    torch.manual_seed(0)
    return {epoch: CNNSmall().state_dict() for epoch in (0, 1, 2)}


# -- folders ------------------------------------------------------------------------------------------------


def test_checkpoints_have_the_metrics_of_their_epoch(tmp_path, states, imported):
    """Each checkpoint has the settings of its trial and the metrics of its epoch."""
    source = tmp_path / "tune_zoo_mnist"
    trial(source / "NN_tune_trainable_a", states)
    trial(source / "NN_tune_trainable_b", {1: states[1]}, wide=True, nlin="relu", seed=2)
    zoo, skipped = imported("model-zoos", source)
    assert skipped == {}
    assert zoo.column("epoch").tolist() == [0, 1, 2, 1]
    assert zoo.column("final").tolist() == [False, False, True, True]
    assert zoo.typed_column("test_acc").objects() == [None, 0.1, 0.2, 0.1]
    assert zoo.column("nlin").tolist() == ["tanh"] * 3 + ["relu"]
    assert zoo.column("seed").tolist() == [1, 1, 1, 2]
    assert zoo.group.tolist() == ["NN_tune_trainable_a"] * 3 + ["NN_tune_trainable_b"]
    for position, epoch in enumerate([0, 1, 2, 1]):
        stored = tensors(zoo, position)
        assert all(torch.equal(stored[name], value) for name, value in states[epoch].items())


def test_the_symmetry_is_that_of_the_network(tmp_path, states, imported):
    """The groups are verified on the published CNN."""
    trial(tmp_path / "zoo" / "a", {1: states[1]})
    zoo, _ = imported("model-zoos", tmp_path / "zoo")
    found = zoo.architectures[0]
    assert found.num_weights == 2464
    assert found == Architecture.from_state_dict(
        CNNSmall().state_dict(), activation="tanh", flatten="channels_first"
    )
    assert len(found.groups) == 4
    assert verify(CNNSmall(), found, torch.randn(2, 1, 28, 28)).error <= 1e-10


def test_epochs_can_be_selected(tmp_path, states, imported):
    """The option epochs selects checkpoints."""
    trial(tmp_path / "zoo" / "a", states)
    zoo, _ = imported("model-zoos", tmp_path / "zoo", epochs=(2,))
    assert zoo.column("epoch").tolist() == [2]


def weightclip(folder, states, *, epochs=4):
    """Write a trial as WeightCLIP's trainer does: epochs count from 0, there is no training_iteration."""
    folder.mkdir(parents=True)
    params = {"seed": 7, "lr": 0.003, "batch_size": 128, "best_test_acc": 9.0}
    params |= {"model::type": "CNN3", "model::nlin": "gelu", "model::o_dim": 10}
    (folder / "params.json").write_text(json.dumps(params))
    with (folder / "result.json").open("w") as file:
        for epoch in range(epochs):
            line = {
                "epoch": epoch,
                "train_loss": 1.0,
                "test_acc": float("nan") if epoch == 1 else 10.0 * epoch,
            }
            file.write(json.dumps(line) + "\n")
    for epoch, state in states.items():
        (folder / f"checkpoint_{epoch:06d}").mkdir()
        torch.save(state, folder / f"checkpoint_{epoch:06d}" / "checkpoints")


def test_epochs_of_weightclip_count_from_zero(tmp_path, states, imported):
    """Each of WeightCLIP's checkpoints has the accuracy of the line with its own epoch."""
    weightclip(tmp_path / "zoo" / "NN_tune_trainable_seed=7", {1: states[0], 2: states[1], 3: states[2]})
    zoo, skipped = imported("model-zoos", tmp_path / "zoo")
    assert skipped == {}
    assert zoo.column("epoch").tolist() == [1, 2, 3]
    assert zoo.typed_column("test_acc").objects() == [None, 20.0, 30.0]
    assert zoo.column("lr").tolist() == [0.003] * 3
    assert zoo.column("seed").tolist() == [7] * 3
    assert "best_test_acc" not in zoo.properties
    assert len(zoo.architectures[0].groups) == 4


def test_vit_model_zoo_has_config_json(tmp_path, states, imported):
    """ViTModelZoo's settings are in config.json, its networks are no chains, and iterations count from 0."""
    run = tmp_path / "dataset" / "finetuning" / "pretrained" / "model_1"
    (run / "checkpoint_000002").mkdir(parents=True)
    config = {
        "model::type": "vit_s_16",
        "model::nlin": "gelu",
        "model::head::nlin": "relu",
        "model::head::seed": 42,
        "optim::lr": 0.001,
        "seed": 5,
    }
    (run / "config.json").write_text(json.dumps(config))
    lines = [{"training_iteration": e, "test_acc": e / 10, "val_acc": e / 20} for e in range(4)]
    (run / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    torch.save(
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).state_dict(), run / "checkpoint_000002/checkpoints"
    )
    (tmp_path / "dataset" / "config.json").write_text("{}")  # describes the zoo, and is no trial
    with pytest.warns(UserWarning, match="every axis is taken as fixed"):
        zoo, skipped = imported("model-zoos", tmp_path / "dataset")
    assert skipped == {}
    assert zoo.column("test_acc").tolist() == [0.2]
    assert zoo.column("val_acc").tolist() == [0.1]
    assert zoo.column("nlin").tolist() == ["gelu"]
    assert zoo.column("head.nlin").tolist() == ["relu"]
    assert zoo.column("seed").tolist() == [5]
    assert zoo.group.tolist() == ["finetuning/pretrained/model_1"]
    assert zoo.architectures[0].groups == ()


def test_params_json_is_preferred_to_config_json(tmp_path, states, imported):
    """A trial with both files has the settings of params.json, once."""
    made = trial(tmp_path / "zoo" / "a", {1: states[1]})
    (made / "config.json").write_text('{"seed": 99}')
    zoo, _ = imported("model-zoos", tmp_path / "zoo")
    assert zoo.column("seed").tolist() == [1]


@pytest.mark.parametrize("value", ["x", None, 1.5, True, [1]])
def test_an_epoch_must_be_a_whole_number(tmp_path, states, imported, value):
    """A line whose epoch is no whole number skips the trial with the reason."""
    trial(tmp_path / "zoo" / "good", {1: states[1]})
    made = trial(tmp_path / "zoo" / "bad", {1: states[1]})
    (made / "result.json").write_text(json.dumps({"epoch": value}))
    _, skipped = imported("model-zoos", tmp_path / "zoo")
    assert skipped["bad"] == f"result.json, line 1: 'epoch' must be an int, but got {value!r}"


def test_damaged_trials_are_skipped(tmp_path, states, imported):
    """Damaged trials and checkpoints are skipped with the reason."""
    source = tmp_path / "zoo"
    good = trial(source / "a", states)
    (good / "checkpoint_1" / "checkpoints").write_bytes(b"")
    (trial(source / "b", states) / "params.json").write_text("{")
    (trial(source / "c", states) / "result.json").write_text('{"training_iteration": 1}\n[]\n')
    (source / "d").mkdir()
    (source / "d" / "params.json").write_text("{}")
    zoo, skipped = imported("model-zoos", source)
    assert zoo.column("epoch").tolist() == [0, 2]
    assert skipped == {
        "b": "params.json: not JSON",
        "c": "result.json, line 2: not a JSON object",
        "d": "the trial has no checkpoint_N/checkpoints",
        "a/checkpoint_1/checkpoints": "the file is empty",
    }


def test_a_folder_without_trials_is_an_error(tmp_path, imported):
    """A folder without trials raises ZooError."""
    (tmp_path / "zoo").mkdir()
    with pytest.raises(ZooError, match="the folder has no trial"):
        imported("model-zoos", tmp_path / "zoo")


# -- one pickled file ---------------------------------------------------------------------------------------


@pytest.fixture
def authors():
    """Provide the authors' module while files are written."""
    module = ModuleType("model_definitions_dataset")
    exec("class ModelDatasetBase:\n    pass\n", module.__dict__)
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def dataset(authors, data, properties, **more):
    made = authors.ModelDatasetBase()
    made.__dict__ |= {"data": data, "properties": properties, "epoch_lst": [1], "transforms": None, **more}
    return made


@pytest.fixture
def packed(authors, tmp_path):
    torch.manual_seed(0)
    states = {
        name: [CNNSmall().state_dict() for _ in range(n)]
        for name, n in (("trainset", 3), ("valset", 1), ("testset", 2))
    }
    content = {
        name: dataset(
            authors,
            each,
            {"test_acc": [0.1 * i for i in range(len(each))], "model::nlin": ["tanh"] * len(each)},
            paths=[f"run-{name}-{i // 2}" for i in range(len(each))],
        )
        for name, each in states.items()
    }
    torch.save(content, tmp_path / "dataset.pt")
    del sys.modules["model_definitions_dataset"]
    return tmp_path / "dataset.pt", states


def test_the_three_sets_are_read_without_their_class(packed, imported):
    """dataset.pt is read without the authors' module, with its published split."""
    source, states = packed
    zoo, skipped = imported("model-zoos-pt", source)
    assert skipped == {}
    assert zoo.split("published").tolist() == [0, 0, 0, 1, 2, 2]
    assert zoo.column("test_acc").tolist() == pytest.approx([0, 0.1, 0.2, 0, 0, 0.1])
    assert zoo.group.tolist()[:3] == ["run-trainset-0", "run-trainset-0", "run-trainset-1"]
    for position, state in enumerate([*states["trainset"], *states["valset"], *states["testset"]]):
        stored = tensors(zoo, position)
        assert all(torch.equal(stored[name], value) for name, value in state.items())
    assert "model_definitions_dataset" not in sys.modules


INDEX = {
    "layer": ["conv2d", "conv2d_1", "dense"],
    "idx_start": [0, 80, 99999],  # wrong, as in the published files
    "idx_length": [8 * 9 + 8, 4 * 8 * 9 + 4, 10 * 4 + 10],
    "kernel_no": [8, 4, 10],
    "kernel_size": [3, 3, 1],
    "channels_in": [1, 8, 4],
}


def flat(authors, tmp_path, width, name="dataset.pt"):
    weights = torch.randn(3, width)
    content = {"trainset": dataset(authors, weights, {"test_acc": [0.1, 0.2, 0.3]})}
    torch.save(content, tmp_path / name)
    return weights


def test_flat_vectors_are_divided_by_lengths(authors, tmp_path, imported):
    """Flat vectors are divided by the lengths in the index, not by its wrong starts."""
    weights = flat(authors, tmp_path, sum(INDEX["idx_length"]))
    (tmp_path / "index_dict.json").write_text(json.dumps(INDEX))
    zoo, skipped = imported("model-zoos-pt", tmp_path / "dataset.pt")
    assert skipped == {}
    stored = tensors(zoo, 1)
    assert {name: tuple(value.shape) for name, value in stored.items()} == {
        "conv2d.weight": (8, 1, 3, 3),
        "conv2d.bias": (8,),
        "conv2d_1.weight": (4, 8, 3, 3),
        "conv2d_1.bias": (4,),
        "dense.weight": (10, 4),
        "dense.bias": (10,),
    }
    assert torch.equal(torch.cat([value.flatten() for value in stored.values()]), weights[1])


def test_flat_vectors_that_do_not_fit_are_skipped(authors, tmp_path, imported):
    """Flat vectors without an index, or of the wrong size, are skipped with the reason."""
    flat(authors, tmp_path, 100)
    with pytest.raises(ZooError, match=r"trainset\[0\]: .* index_dict\.json is needed"):
        imported("model-zoos-pt", tmp_path / "dataset.pt")
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    with pytest.raises(ZooError, match=r"has 100 weights, but the index lists 422"):
        imported("model-zoos-pt", tmp_path / "dataset.pt", index=tmp_path / "index.json")


@pytest.mark.parametrize(
    "change", [{"idx_length": [1, 2, 3]}, {"kernel_no": [8]}, {"layer": None}, {"kernel_no": ["x"] * 3}]
)
def test_a_damaged_index_is_one_line(authors, tmp_path, imported, change):
    """A damaged index raises one line with its path."""
    flat(authors, tmp_path, 10)
    (tmp_path / "index_dict.json").write_text(json.dumps(INDEX | change))
    with pytest.raises(ZooError, match=r"index_dict\.json: not an index of layers"):
        imported("model-zoos-pt", tmp_path / "dataset.pt")


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_pickled_code_is_not_run(tmp_path, imported):
    """Code in a pickled file is not run."""
    torch.save({"trainset": Bomb(str(tmp_path / "owned"))}, tmp_path / "dataset.pt")
    with pytest.raises(ZooError, match="trainset has no weights; its attributes are none"):
        imported("model-zoos-pt", tmp_path / "dataset.pt")
    assert not (tmp_path / "owned").exists()


def test_other_files_are_refused(tmp_path, imported):
    """Files of other formats, damaged files and missing files raise one line."""
    torch.save({"a": 1}, tmp_path / "dataset.pt")
    with pytest.raises(ZooError, match="holds none of trainset, valset, testset"):
        imported("model-zoos-pt", tmp_path / "dataset.pt")
    (tmp_path / "dataset.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(ZooError, match="damaged archive"):
        imported("model-zoos-pt", tmp_path / "dataset.pt")
    with pytest.raises(ZooError, match="No such file"):
        imported("model-zoos-pt", tmp_path / "gone.pt")
    with zipfile.ZipFile(tmp_path / "dataset.pt", "w") as archive:
        archive.writestr("../data.pkl", b"N.")
    with pytest.raises(ZooError, match="holds none of trainset"):
        imported("model-zoos-pt", tmp_path / "dataset.pt")

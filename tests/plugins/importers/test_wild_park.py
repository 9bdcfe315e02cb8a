"""The CNN Wild Park, in a small copy, as a folder and as a zip archive."""

import json
import sys
import zipfile
from types import ModuleType

import pytest
import torch
from sneframe_importers.wild_park import ListedLayers, ParkCNN
from stored import tensors
from torch import nn

from sneframe.errors import ZooError
from sneframe.symmetry import verify


@pytest.fixture
def cnn_config():
    """The class that the checkpoints name, while they are written."""
    module = ModuleType("create_random_cnns")
    exec(
        "class CNNConfig:\n    def __init__(self, **settings):\n        self.__dict__.update(settings)\n",
        module.__dict__,
    )
    sys.modules[module.__name__] = module
    yield module.CNNConfig
    sys.modules.pop(module.__name__, None)


def state_of(channels, kernels, classes=10):
    torch.manual_seed(sum(channels))
    inputs = (1, *channels[:-1])
    state = {}
    for number, (a, b, k) in enumerate(zip(inputs, channels, kernels, strict=True)):
        layer = nn.Conv2d(a, b, k)
        state |= {
            f"layers.{number}.weight": layer.weight.detach(),
            f"layers.{number}.bias": layer.bias.detach(),
        }
    fc = nn.Linear(channels[-1], classes)
    return {**state, "fc.weight": fc.weight.detach(), "fc.bias": fc.bias.detach()}


NETWORKS = {
    "a": {"channels": (8, 8), "kernels": (3, 5), "activation": ["relu", "tanh"], "residual": [-1, -1]},
    "b": {"channels": (4, 6, 6), "kernels": (7, 3, 3), "activation": ["gelu"] * 3, "residual": [-1, -1, 1]},
    "c": {"channels": (5, 4), "kernels": (3, 3), "activation": "leaky_relu", "residual": -1},
}


def checkpoint(cnn_config, settings, step, **more):
    state = state_of(settings["channels"], settings["kernels"])
    config = cnn_config(
        n_layers=len(settings["channels"]),
        n_classes=10,
        channels=list(settings["channels"]),
        kernel_size=list(settings["kernels"]),
        stride=[1] * len(settings["channels"]),
        padding=[1] * len(settings["channels"]),
        residual=settings["residual"],
        activation=settings["activation"],
    )
    content = {"model": state, "optimizer": {"state": {}}, "config": config, "iteration": step}
    return state, content | {"last_result": {"test/acc": step / 1000}} | more


@pytest.fixture
def park(tmp_path, cnn_config):
    root = tmp_path / "cifar10_zooV2"
    states = {}
    for trial, settings in NETWORKS.items():
        for step in (10, 20):
            name = f"{trial}/checkpoint_{step:06d}/checkpoint.pt"
            state, content = checkpoint(cnn_config, settings, step)
            (root / name).parent.mkdir(parents=True)
            torch.save(content, root / name)
            states[name] = state
    return root, states


def zipped(root, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*.pt")):
            archive.write(file, file.relative_to(root.parent))
        archive.writestr("__MACOSX/._checkpoint.pt", b"x")
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_networks_and_settings_are_read_without_the_class(park, imported, tmp_path, packed):
    """Checkpoints of a folder or an archive are read without the authors' class."""
    root, states = park
    sys.modules.pop("create_random_cnns")
    source = zipped(root, tmp_path / "cnn_wild_park.zip") if packed else root
    zoo, skipped = imported("wild-park", source)
    assert skipped == {}
    assert "create_random_cnns" not in sys.modules
    prefix = "cifar10_zooV2/" if packed else ""
    assert zoo.column("source").tolist() == [prefix + name for name in states]
    assert zoo.group.tolist() == [f"{prefix}{trial}" for trial in "aabbcc"]
    assert zoo.column("step").tolist() == [10, 20] * 3
    assert zoo.column("test_accuracy").tolist() == [0.01, 0.02] * 3
    assert zoo.column("n_layers").tolist() == [2, 2, 3, 3, 2, 2]
    for position, state in enumerate(states.values()):
        stored = tensors(zoo, position)
        assert stored.keys() == state.keys()
        assert all(torch.equal(stored[name], value) for name, value in state.items())


def test_layers_that_are_added_share_their_neurons(park, imported):
    """ListedLayers with a residual connection share a neuron group, verified on the module."""
    root, _ = park
    zoo, _ = imported("wild-park", root)
    architectures = {zoo.column("source")[i][0]: zoo.select([i]).architectures[0] for i in range(6)}
    assert {trial: len(found.groups) for trial, found in architectures.items()} == {"a": 2, "b": 2, "c": 2}
    assert [layer.activation for layer in architectures["a"].layers if layer.kind == "conv2d"] == [
        "relu",
        "tanh",
    ]
    for trial, settings in NETWORKS.items():
        count = len(settings["channels"])
        names = (
            [settings["activation"]] * count
            if isinstance(settings["activation"], str)
            else settings["activation"]
        )
        residuals = [settings["residual"]] * count if settings["residual"] == -1 else settings["residual"]
        layers = ListedLayers(activations=tuple(names), residuals=tuple(residuals))
        module = ParkCNN(layers, state_of(settings["channels"], settings["kernels"]))
        assert verify(module, architectures[trial], torch.randn(1, 1, 16, 16)).error <= 1e-10


def test_the_published_splits_are_stored(park, imported, tmp_path):
    """Listed checkpoints are imported with their part; a missing file is skipped."""
    root, states = park
    names = list(states)
    listed = {
        "train": {
            "path": [f"/data/park/{names[1]}", f"/data/park/{names[3]}"],
            "score": [0.4, 0.5],
            "step": [20, 20],
        },
        "test": {
            "path": [f"/data/park/{names[5]}", "/data/park/z/checkpoint_000020/checkpoint.pt"],
            "score": [0.6, 0.1],
        },
    }
    (tmp_path / "splits.json").write_text(json.dumps(listed))
    zoo, skipped = imported("wild-park", root, split=tmp_path / "splits.json")
    assert zoo.column("source").tolist() == [names[1], names[3], names[5]]
    assert zoo.split("published").tolist() == [0, 0, 2]
    assert list(skipped.values()) == ["leads out of " + str(root)]


def test_scores_of_the_splits_replace_missing_results(cnn_config, imported, tmp_path):
    """If a checkpoint has no result, its accuracy is the score from the splits."""
    _, content = checkpoint(cnn_config, NETWORKS["a"], 10, last_result=None)
    file = tmp_path / "park" / "a" / "checkpoint_1" / "checkpoint.pt"
    file.parent.mkdir(parents=True)
    torch.save(content, file)
    (tmp_path / "s.json").write_text(
        json.dumps({"val": {"path": ["a/checkpoint_1/checkpoint.pt"], "score": [0.25]}})
    )
    zoo, _ = imported("wild-park", tmp_path / "park", split=tmp_path / "s.json")
    assert zoo.column("test_accuracy").tolist() == [0.25]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": None}, "no state dict under 'model'"),
        ({"config": None}, "the config does not give the number of layers"),
        (
            {"config": {"n_layers": 3, "activation": ["relu"] * 3}},
            "the config says 3 layers, but the state dict does not have 'layers.2.bias'",
        ),
        ({"config": {"n_layers": 2, "activation": ["relu", "swishy"]}}, "activation 'swishy'"),
        ({"config": {"n_layers": 2, "activation": "relu", "residual": [-1, 1]}}, "adds layer 1"),
        ({"config": {"n_layers": 2, "activation": ["relu"]}}, "2 layers, but has 1 activations"),
        ({"config": {"n_layers": -1, "activation": "relu"}}, "-1 layers, but has 0 activations"),
        ({"last_result": {"test/acc": "high"}}, "the test accuracy is not a number"),
    ],
)
def test_a_damaged_checkpoint_is_skipped(park, cnn_config, imported, change, said):
    """Checkpoints with wrong content are skipped with the reason."""
    root, _ = park
    _, content = checkpoint(cnn_config, NETWORKS["a"], 10, **change)
    torch.save(content, root / "a" / "checkpoint_000010" / "checkpoint.pt")
    zoo, skipped = imported("wild-park", root)
    assert len(zoo) == 5
    assert said in skipped["a/checkpoint_000010/checkpoint.pt"]


def test_residuals_of_other_widths_are_skipped(park, cnn_config, imported):
    """A residual connection between different widths makes the checkpoint unusable."""
    root, _ = park
    settings = {**NETWORKS["b"], "residual": [-1, 0, -1]}
    _, content = checkpoint(cnn_config, settings, 10)
    torch.save(content, root / "b" / "checkpoint_000010" / "checkpoint.pt")
    _, skipped = imported("wild-park", root)
    assert "fails on the example input" in skipped["b/checkpoint_000010/checkpoint.pt"]


def test_an_entry_that_grows_is_skipped(park, imported, tmp_path):
    """An archive entry that would grow beyond any plausible size is skipped."""
    root, _ = park
    path = zipped(root, tmp_path / "park.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cifar10_zooV2/z/checkpoint_000010/checkpoint.pt", b"\0" * (1 << 27))
    zoo, skipped = imported("wild-park", path)
    assert len(zoo) == 6
    assert "would grow to 134217728 bytes" in skipped["cifar10_zooV2/z/checkpoint_000010/checkpoint.pt"]


def test_archive_names_never_leave_the_archive(park, imported, tmp_path):
    """Names with .. in an archive are only names; nothing is written to the disk."""
    root, _ = park
    path = tmp_path / "park.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(
            root / "a" / "checkpoint_000010" / "checkpoint.pt", "../../evil/checkpoint_1/checkpoint.pt"
        )
    before = sorted(tmp_path.rglob("*"))
    zoo, _ = imported("wild-park", path)
    assert zoo.column("source").tolist() == ["../../evil/checkpoint_1/checkpoint.pt"]
    assert not (tmp_path.parent.parent / "evil").exists()
    made = {
        item
        for item in set(tmp_path.rglob("*")) - set(before)
        if tmp_path / "zoo.zarr" not in (item, *item.parents)
    }
    assert made == set()


def test_other_sources_are_errors(tmp_path, imported):
    """A folder without checkpoints and a damaged archive raise ZooError."""
    (tmp_path / "a").mkdir()
    with pytest.raises(ZooError, match="there is no checkpoint"):
        imported("wild-park", tmp_path / "a")
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ZooError, match="neither a folder nor a zip archive"):
        imported("wild-park", tmp_path / "a.zip")


@pytest.mark.parametrize(
    "content",
    ["{", "{}", '{"training": {"path": [], "score": []}}', '{"train": {"path": ["a"], "score": []}}'],
)
def test_damaged_splits_are_one_line(park, imported, tmp_path, content):
    """Damaged splits raise one line with the path."""
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(ZooError, match=r"s\.json: "):
        imported("wild-park", park[0], split=tmp_path / "s.json")

"""INRs of DWSNets and of NFN, in small copies of their folders."""

import json
from itertools import pairwise

import pytest
import torch
from stored import tensors
from torch import nn

from sneframe.errors import ZooError


def mlp(names, widths):
    """Return a state dict of linear layers with these names."""
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return {
        f"{name}.{last}": getattr(layer, last).detach().clone()
        for name, layer in zip(names, layers, strict=True)
        for last in ("weight", "bias")
    }


def seq(*widths):
    return mlp([f"seq.{i}" for i in range(len(widths) - 1)], widths)


def siren(*widths):
    hidden = len(widths) - 2
    return mlp([f"net.{i}.linear" for i in range(hidden)] + [f"net.{hidden}"], widths)


def same(zoo, states):
    assert sorted(zoo.column("source").tolist()) == sorted(states)
    for position, source in enumerate(zoo.column("source").tolist()):
        stored = tensors(zoo, position)
        assert stored.keys() == states[source].keys()
        assert all(torch.equal(stored[name], value) for name, value in states[source].items())


def saved(folder, states, more=lambda name: {}):
    for name, state in states.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save({**state, **more(name)}, folder / name)
    return folder


# -- DWSNets ------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    names = [
        f"mnist-inrs/mnist_png_{part}_{label}_{number}/checkpoints/model_final.pth"
        for number, (part, label) in enumerate(
            [("training", 7), ("training", 3), ("testing", 7), ("testing", 0)]
        )
    ]
    states = {name: seq(2, 32, 32, 1) for name in names}
    return saved(tmp_path / "dws", states), states


def test_folders_give_label_and_part(images, imported):
    """Label, image and part come from the names of the folders."""
    source, states = images
    zoo, skipped = imported("dws-inr", source)
    assert skipped == {}
    same(zoo, states)
    of = dict(
        zip(
            zoo.column("image").tolist(),
            zip(zoo.column("label"), zoo.split("published"), strict=True),
            strict=True,
        )
    )
    assert of == {"train-0": (7, 0), "train-1": (3, 0), "test-2": (7, 2), "test-3": (0, 2)}
    architecture = zoo.architectures[0]
    assert [group.actions for group in architecture.groups] == [("permute", "sign")] * 2
    assert architecture.layers[0].activation == "sine"


def test_a_json_list_gives_label_and_part(images, imported, tmp_path):
    """Label and part come from the JSON file, whose paths may begin elsewhere."""
    source, states = images
    names = list(states)
    root = "/home/someone/dataset/"
    listed = {
        "train": {"path": [root + names[0]], "label": ["7"]},
        "val": {"path": [root + names[1]], "label": [3]},
        "test": {"path": [root + names[2]], "label": [7]},
    }
    (tmp_path / "splits.json").write_text(json.dumps(listed))
    zoo, skipped = imported("dws-inr", source, split=tmp_path / "splits.json")
    assert skipped == {}
    assert zoo.column("source").tolist() == names[:3]
    assert zoo.split("published").tolist() == [0, 1, 2]
    assert zoo.column("label").tolist() == [7, 3, 7]


def test_sine_waves_have_amplitude_and_frequency(tmp_path, imported):
    """The coefficients in a file become amplitude and frequency."""
    states = {f"model_{i}.pth": seq(1, 32, 32, 1) for i in range(3)}
    points = torch.linspace(-3, 3, 5)
    source = saved(
        tmp_path / "sine",
        states,
        lambda name: {"coef": [float(name[6]), 2.5], "x": points, "y": points.sin()},
    )
    listed = {
        "train": ["sine/model_0.pth"],
        "val": ["sine/model_1.pth"],
        "test": ["sine/model_2.pth", "sine/gone.pth"],
    }
    (tmp_path / "ssl_splits.json").write_text(json.dumps(listed))
    zoo, skipped = imported("dws-inr", source, split=tmp_path / "ssl_splits.json")
    same(zoo, states)
    assert zoo.column("amplitude").tolist() == [0, 1, 2]
    assert zoo.column("frequency").tolist() == [2.5] * 3
    assert skipped == {"sine/gone.pth": "no such file"}


def test_fashion_has_its_label_in_the_file(tmp_path, imported):
    """Labels of Fashion-MNIST come from the files, parts from the folders."""
    states = {"train/model_1.pth": seq(2, 32, 32, 1), "test/model_2.pth": seq(2, 32, 32, 1)}
    source = saved(tmp_path / "fmnist_inrs", states, lambda name: {"label": torch.tensor(int(name[-5]))})
    zoo, _ = imported("dws-inr", source)
    assert dict(zip(zoo.column("source"), zoo.column("label"), strict=True)) == {
        "train/model_1.pth": 1,
        "test/model_2.pth": 2,
    }
    assert zoo.split("published").tolist() == [2, 0]


def test_files_of_other_networks_are_skipped(images, imported):
    """Other state dicts and wrong coefficients are skipped with the reason."""
    source, _ = images
    torch.save({"layer.weight": torch.zeros(2, 2)}, source / "a.pth")
    torch.save({**seq(1, 2, 1), "coef": [1.0]}, source / "b.pth")
    _, skipped = imported("dws-inr", source)
    assert list(skipped) == ["a.pth", "b.pth"]
    assert "no seq.0.weight" in skipped["a.pth"]
    assert "'coef' is not two numbers" in skipped["b.pth"]


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"train": {"label": []}}', '{"training set": ["a"]}', '{"train": 3}']
)
def test_a_damaged_json_list_is_one_line(images, imported, tmp_path, content):
    """A damaged JSON list raises one line with the name of the file."""
    source, _ = images
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(ZooError, match=r"splits\.json: "):
        imported("dws-inr", source, split=tmp_path / "splits.json")


def test_a_listed_path_does_not_leave_the_folder(images, imported, tmp_path):
    """Paths in the JSON list cannot lead out of the folder."""
    source, _ = images
    torch.save(seq(2, 2, 1), tmp_path / "secret.pth")
    names = ["../secret.pth", str(tmp_path / "secret.pth"), "mnist-inrs/../../secret.pth"]
    (tmp_path / "splits.json").write_text(json.dumps({"train": names}))
    with pytest.raises(ZooError, match="leads out of"):
        imported("dws-inr", source, split=tmp_path / "splits.json")


# -- NFN ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sirens(tmp_path):
    names = [
        "randinit_smaller_3s/net12.pth",
        "randinit_smaller_aug0_3s/net12.pth",
        "randinit_smaller_aug11_3s/net12.pth",
        "randinit_smaller_0s/net45001.pth",
        "randinit_smaller_9s/net50000.pth",
    ]
    states = {name: siren(2, 32, 32, 1) for name in names}
    return saved(tmp_path / "siren_mnist_wts", states), states


def test_views_of_an_image_are_one_group(sirens, imported):
    """All views of an image are in one group and one part."""
    source, states = sirens
    zoo, skipped = imported("nfn-siren", source)
    assert skipped == {}
    same(zoo, states)
    of = {name: at for at, name in enumerate(zoo.column("source").tolist())}
    order = [of[name] for name in states]
    assert zoo.column("label")[order].tolist() == [3, 3, 3, 0, 9]
    assert zoo.column("image")[order].tolist() == zoo.group[order].tolist() == [12, 12, 12, 45001, 50000]
    assert zoo.column("view")[order].tolist() == [0, 0, 11, 0, 0]
    assert zoo.split("published")[order].tolist() == [0, 0, 0, 1, 2]


def test_views_and_parts_can_be_configured(sirens, imported):
    """Views can be excluded, and the borders of the parts are options."""
    source, _ = sirens
    zoo, _ = imported("nfn-siren", source, views=False, train=45_002, val=60_000)
    of = dict(zip(zoo.column("image").tolist(), zoo.split("published").tolist(), strict=True))
    assert of == {12: 0, 45001: 0, 50000: 1}


def test_files_that_are_no_siren_are_skipped(sirens, imported):
    """Other state dicts, and folders without a label, are skipped with the reason."""
    source, _ = sirens
    torch.save(seq(2, 3, 1), source / "randinit_smaller_3s" / "net1.pth")
    (source / "elsewhere").mkdir()
    torch.save(siren(2, 3, 1), source / "elsewhere" / "net2.pth")
    _, skipped = imported("nfn-siren", source)
    assert set(skipped) == {"randinit_smaller_3s/net1.pth", "elsewhere/net2.pth"}
    assert "not a SIREN of NFN" in skipped["randinit_smaller_3s/net1.pth"]
    assert "the name of its folder has no label" in skipped["elsewhere/net2.pth"]


@pytest.mark.parametrize("name", ["dws-inr", "nfn-siren"])
def test_a_folder_without_inrs_is_an_error(tmp_path, imported, name):
    """An empty or missing folder raises ZooError."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZooError, match="the folder has no file"):
        imported(name, tmp_path / "empty")
    with pytest.raises(ZooError, match="there is no such folder"):
        imported(name, tmp_path / "gone")


def test_the_symmetry_of_a_published_format_is_stated(images, imported):
    """The importer states that these networks are chains of sine layers."""
    source, _ = images
    zoo, _ = imported("dws-inr", source)
    assert zoo.symmetry == {"stated": 4}
    assert [group.actions for group in zoo.architectures[0].groups] == [("permute", "sign")] * 2

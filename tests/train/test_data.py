"""The data of a run: blocks of training networks, and weights that do or do not fit the device."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console

import sneframe
from sneframe import batch as batch_module
from sneframe import devices
from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config.schema import ZooConfig
from sneframe.progress import Reporter
from sneframe.testing import toy_zoo
from sneframe.train import data
from sneframe.zoo import create

META = torch.device("meta")  # as an example of a device that is not the host


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Return a zoo of 20 networks of 33 weights and 20 of 46."""
    return toy_zoo(tmp_path_factory.mktemp("zoo") / "toy.zarr", hidden=((4, 4), (5, 5)), networks=20)


def load(path):
    return data.load_data(ZooConfig(path=str(path)), Reporter())


@pytest.mark.parametrize(("size", "largest"), [(100, 3), (1, 1)])
def test_training_blocks_hold_each_network_once(mixed, monkeypatch, size, largest):
    """Blocks hold each training network once, and each block has a bounded size."""
    monkeypatch.setattr(batch_module, "BLOCK", size)
    loaded = load(mixed)
    blocks = list(loaded.training_blocks())
    assert max(len(block) for block in blocks) == largest
    assert all(len(block.networks) == 1 for block in blocks)
    assert sum(block.networks[0].weights.numel() > size for block in blocks) == (
        0 if largest > 1 else len(blocks)
    )
    found = np.concatenate([block.ids for block in blocks])
    assert sorted(found) == sorted(loaded.batch.ids[loaded.split.train])


def test_training_architectures_have_training_networks(mixed):
    """An architecture that only test networks have is not a training architecture."""
    loaded = load(mixed)
    first, second = loaded.batch.architectures
    assert loaded.training_architectures() == (first, second)
    train = np.flatnonzero(loaded.batch.entry == 1)
    split = data.Split(train=train, val=loaded.split.val, test=loaded.split.test)
    only = data.Data(zoo=loaded.zoo, columns=loaded.columns, batch=loaded.batch, split=split)
    assert only.training_architectures() == (second,)


def test_a_run_copies_no_more_than_a_batch_or_a_block(toy_zoo_path, tmp_path, monkeypatch):
    """A run never copies more networks at once than a step of seven or a block of eight has."""
    taken, select = [], Batch.select

    def watched(batch, positions):
        taken.append(len(positions))
        return select(batch, positions)

    monkeypatch.setattr(Batch, "select", watched)
    monkeypatch.setattr(batch_module, "BLOCK", 100)
    words = ("train.epochs=1", "train.batch_size=8", f"zoo.path={toy_zoo_path}")
    sneframe.run(sneframe.recipe("stats/mlp", *words), tmp_path / "run", report=False)
    assert max(taken) == 8


def test_weights_that_fit_move_to_the_device(mixed, monkeypatch):
    """Weights that fit are moved to the device as a whole."""
    monkeypatch.setattr(devices, "fits", lambda size, device: size <= 4 * 20 * (33 + 46))
    moved = load(mixed).to(META)
    assert moved.batch.device == META
    assert moved.select(np.array([3, 1])).device == META


def test_weights_that_do_not_fit_move_by_selection(mixed, monkeypatch):
    """Weights that do not fit stay on the host, and each selection is moved."""
    monkeypatch.setattr(devices, "fits", lambda size, device: size < 4 * 20 * (33 + 46))
    moved = load(mixed).to(META)
    assert moved.batch.device == torch.device("cpu")
    selected = moved.select(np.array([3, 1]))
    assert selected.device == META
    assert selected.ids.tolist() == [3, 1]


def test_half_of_a_gpu_stays_free(monkeypatch):
    """Weights are moved only if half of the GPU's memory stays free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 400))
    cuda = torch.device("cuda", 0)
    assert [devices.fits(size, cuda) for size in (50, 51)] == [True, False]
    assert devices.fits(10**15, torch.device("cpu"))


def test_an_unused_stored_split_is_named(tmp_path):
    """A run that draws a random split names the splits that the zoo stores."""
    architecture = Architecture.from_state_dict({"0.weight": torch.ones(2, 3)})
    with create(tmp_path / "split.zarr", name="split") as made:
        made.append(architecture, {"0.weight": torch.randn(20, 2, 3)}, {"y": np.arange(20.0)})
        made.split("table", np.arange(20) % 3)
    for split, said in (("random", "zoo.split=NAME uses a split that the zoo stores: table"), ("table", "")):
        lines = io.StringIO()
        config = ZooConfig(path=str(tmp_path / "split.zarr"), property="y", split=split)
        data.load_data(config, Reporter(Console(file=lines)))
        assert said in lines.getvalue()
        assert ("random" in lines.getvalue()) == (split == "random")

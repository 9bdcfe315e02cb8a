"""A finished run on a toy zoo of two architectures, and files to ask it about."""

import pytest
import torch
from torch import nn

import sneframe
from sneframe.compose import recipe
from sneframe.testing import toy_zoo


@pytest.fixture(scope="session")
def zoo_path(tmp_path_factory):
    return toy_zoo(tmp_path_factory.mktemp("ask") / "two.zarr", networks=60, hidden=((4, 4), (6,)))


@pytest.fixture(scope="session")
def finished(zoo_path, tmp_path_factory):
    config = recipe(
        "sne",
        "train.epochs=2",
        f"zoo.path={zoo_path}",
        "zoo.property=scale",
        'zoo.also=["label"]',
        "device=cpu",
    )
    return sneframe.run(config, tmp_path_factory.mktemp("runs") / "run", report=False).folder


@pytest.fixture
def network():
    """A module with the names and shapes of the larger architecture of the zoo."""
    torch.manual_seed(0)
    return nn.ModuleDict({"0": nn.Linear(1, 4), "1": nn.Linear(4, 4), "2": nn.Linear(4, 1)})


@pytest.fixture
def file(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "net.pt")
    return tmp_path / "net.pt"

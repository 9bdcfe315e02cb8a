"""Installed libraries build modules by name, without downloads."""

import importlib
import sys

import pytest
import torch
from torch import nn

from sneframe.architecture import Architecture
from sneframe.errors import ConfigError, FileError
from sneframe.files.module_factory import Factory

TIMM = """
import socket
from torch import nn
made = []

def list_models(): return ["resnet18", "resnet34", "downloads", "breaks"]

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.fc = nn.Linear(4, 8), nn.Linear(8, num_classes)
    def forward(self, x):
        return self.fc(self.body(x).relu())

def create_model(name, pretrained, num_classes=1000):
    assert not pretrained
    made.append((name, num_classes))
    if name == "downloads":
        socket.getaddrinfo("weights.example", 443)
    if name == "breaks":
        raise TypeError("not\\nbuilt")
    return Net(num_classes)
"""
MODELS = """
from timm import Net
made = []
def list_models(): return ["resnet18", "fasterrcnn"]
def resnet18(*, weights="DEFAULT", num_classes=1000): return Net(num_classes)
def fasterrcnn(*, weights="DEFAULT", weights_backbone="DEFAULT", num_classes=1000):
    assert weights_backbone is None
    return Net(num_classes)
def get_model_builder(name): return globals()[name]
def get_model(name, **options):
    assert options["weights"] is None
    made.append((name, options.get("num_classes")))
    return globals()[name](**options)
"""


@pytest.fixture
def timm(tmp_path, monkeypatch):
    """Install stand-ins for timm and torchvision, and return the first."""
    (tmp_path / "timm.py").write_text(TIMM)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("from torchvision import models")
    (tmp_path / "torchvision" / "models.py").write_text(MODELS)
    for name in ("timm", "torchvision", "torchvision.models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("timm")
    for name in ("timm", "torchvision", "torchvision.models"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("word", ["timm:resnet18", "torchvision:resnet18", "torchvision:fasterrcnn"])
def test_the_classifier_of_the_file_gives_the_classes(timm, word):
    """The number of classes is that of the file, whatever the network before had."""
    factory = Factory(word)
    for number in (1000, 10, 10, 3, 1000):
        state = timm.Net(number).state_dict()
        expected = Architecture.from_module(timm.Net(number))
        found = factory.architecture({f"model.{name}": value for name, value in state.items()}, {})
        assert found.symmetry == "verified"
        assert [g.actions for g in found.groups] == [g.actions for g in expected.groups]
        assert found.parameters == expected.parameters


def test_a_name_of_timm_may_have_a_tag(timm):
    """The tag of pretrained weights belongs to the name."""
    Factory("timm:resnet18.a1_in1k").architecture(timm.Net(7).state_dict(), {})
    assert timm.made == [("resnet18.a1_in1k", 1000), ("resnet18.a1_in1k", 7)]


def test_the_property_gives_the_classes_as_a_last_resort(timm):
    """Where the sizes do not agree on a number of classes, the property num_classes is used."""
    state = {**timm.Net(5).state_dict(), "body.bias": torch.zeros(9)}
    with pytest.raises(FileError, match=r"'body\.bias' has shape \(9,\) in the file, and \(8,\) in Net"):
        Factory("timm:resnet18").architecture(state, {"num_classes": 5})
    assert timm.made == [("resnet18", 1000), ("resnet18", 5)]


def test_a_file_of_another_network_is_refused(timm):
    """A file that no number of classes fits is refused, and the next file is read."""
    factory = Factory("timm:resnet18")
    with pytest.raises(FileError, match=r"the file lacks 'body\.weight', which Net has"):
        factory.architecture(nn.Linear(4, 3).state_dict(), {})
    assert factory.architecture(timm.Net(2).state_dict(), {}).num_weights == 8 * 5 + 2 * 9


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("timm:resnet81", r"timm:resnet81: timm has no model 'resnet81', did you mean 'resnet18'\?"),
        ("timm:hf-hub:someone/model", "timm has no model 'hf-hub:someone/model'"),
        ("torchvision:resnet", r"torchvision has no model 'resnet', did you mean 'resnet18'\?"),
        ("timm", "timm has no model ''"),
        ("timm:", "must be given as package.module:function"),
    ],
)
def test_an_unknown_name_gives_choices(timm, word, said):
    """A name that the library does not know is refused with similar names."""
    with pytest.raises(ConfigError, match=said):
        Factory(word)


def test_a_missing_library_says_what_to_install(monkeypatch):
    """A library that is not installed is one line with the command that installs it."""
    monkeypatch.setattr("sneframe.files.module_libraries.find_spec", lambda name: None)
    for word in ("timm:resnet18", "torchvision:resnet18", "transformers"):
        name = word.partition(":")[0]
        with pytest.raises(ConfigError, match=f"^{word}: {name} is not installed; pip install {name}$"):
            Factory(word)


def test_a_broken_library_is_one_line(timm, tmp_path, monkeypatch):
    """A library that cannot be imported is one line."""
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')")
    monkeypatch.delitem(sys.modules, "timm")
    importlib.invalidate_caches()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        with pytest.raises(
            ConfigError, match="timm:x: timm cannot be imported: RuntimeError: operator torchv"
        ):
            Factory("timm:x")
    finally:
        sys.dont_write_bytecode = before


def test_a_library_is_not_taken_from_the_current_folder(tmp_path, monkeypatch):
    """A file timm.py in the current folder is not the library."""
    (tmp_path / "timm.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ConfigError, match="timm"):
        Factory("timm:resnet18")


def test_a_library_may_not_download(timm):
    """A connection that a library tries to open is refused, and named with the host."""
    with (
        pytest.warns(UserWarning, match=r"timm:downloads: tried to open a network connection to weights\.ex"),
        pytest.raises(ConfigError, match=r"timm:downloads: ConnectionRefused: the connection to weights\.ex"),
    ):
        Factory("timm:downloads").architecture(timm.Net(2).state_dict(), {})


def test_an_error_of_a_library_is_one_line(timm):
    """An error in a library is one line that names the module factory."""
    with pytest.raises(ConfigError, match=r"^timm:breaks: TypeError: not built$"):
        Factory("timm:breaks").architecture(timm.Net(2).state_dict(), {})

"""Files that name classes of other projects: nothing of them is imported, called or built."""

import io
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType

import pytest
import torch
from torch import nn

from sneframe.errors import FileError
from sneframe.files import Stub, read_stubbed


@pytest.fixture
def foreign():
    """A module that exists while files are written, and not when they are read."""
    module = ModuleType("create_random_cnns")
    exec(  # classes must belong to that module to be pickled
        "class CNNConfig:\n"
        "    def __init__(self, n, **more): self.n_layers = n; self.__dict__.update(more)\n"
        "class Table(dict): pass\n"
        "class Row(list): pass\n",
        module.__dict__,
    )
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def test_tensors_and_plain_values_are_what_was_saved(tmp_path):
    """Tensors and plain values are read as they were saved."""
    value = {
        "w": torch.arange(12.0).reshape(3, 4).t(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "i": torch.tensor([1, 2]),
        "scalar": torch.tensor(3.0),
        "none": torch.zeros(0, 3),
        "p": nn.Parameter(torch.ones(2)),
        "plain": [1, 2.5, "x", None, True, (1, 2)],
        "ordered": OrderedDict(a=1),
    }
    torch.save(value, tmp_path / "a.pt")
    found = read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")
    assert found["plain"] == value["plain"]
    assert found["ordered"] == value["ordered"]
    for name in ("w", "half", "i", "scalar", "none", "p"):
        assert found[name].shape == tuple(value[name].shape)
        read = found[name].read()
        assert torch.equal(read, value[name])
        assert read.dtype == value[name].dtype


def test_an_object_becomes_a_stub_with_its_attributes(foreign, tmp_path):
    """An object becomes a stub that holds its attributes."""
    config = foreign.CNNConfig(2, channels=[4, 8], inner=foreign.CNNConfig(1))
    torch.save({"config": config, "table": foreign.Table(a=1), "row": foreign.Row([1, 2])}, tmp_path / "a.pt")
    del sys.modules["create_random_cnns"]
    found = read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")
    assert isinstance(found["config"], Stub)
    assert found["config"].origin == "create_random_cnns.CNNConfig"
    assert found["config"].attributes()["channels"] == [4, 8]
    assert found["config"].attributes()["inner"].attributes() == {"n_layers": 1}
    assert found["table"].items == {"a": 1}
    assert found["row"].values == [1, 2]
    assert "create_random_cnns" not in sys.modules


class Bomb:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def archive(path, content, more=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", content)
        for name, data in more:
            file.writestr(name, data)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_bomb_becomes_a_stub(tmp_path, protocol):
    """A system call in a pickle becomes a stub and is not called."""
    marker = str(tmp_path / "owned")
    archive(tmp_path / "a.pt", pickle.dumps({"x": Bomb(os.mkdir, marker)}, protocol))
    found = read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")["x"]
    assert found.origin.endswith(".mkdir")
    assert found.args == (marker,)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "call",
    [(eval, "1+1"), (getattr, Bomb, "call"), (__import__, "this"), (pickle.loads, b"N.")],
    ids=["eval", "getattr", "import", "loads"],
)
def test_no_name_is_resolved(tmp_path, call):
    """Reading a file imports none of the modules that it names."""
    archive(tmp_path / "a.pt", pickle.dumps(Bomb(*call)))
    found = read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")
    assert isinstance(found, Stub) or issubclass(found, Stub)  # getattr names a class in a class


def test_a_name_with_dots_is_not_followed(tmp_path):
    """A dotted name in a pickle is not looked up."""
    # STACK_GLOBAL with a qualified name reaches attributes of attributes in an ordinary unpickler.
    content = b"\x80\x04\x8c\x02os\x8c\x0bpath.os.sys\x93."
    archive(tmp_path / "a.pt", content)
    assert read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt").origin == "os.path.os.sys"


def edited(path, edit):
    """Pickle a tensor of 4 weights, edit the pickle, and store it with its storage."""
    whole = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, whole)
    with zipfile.ZipFile(whole) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, edit(content) if name.endswith("data.pkl") else content)


def test_a_tensor_that_is_larger_than_its_storage_is_refused(tmp_path):
    """A tensor with more elements than its storage is refused."""
    edited(tmp_path / "a.pt", lambda content: content.replace(b"K\x04\x85", b"J\x00\xca\x9a\x3b\x85"))
    found = read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")["w"]
    assert found.shape == (10**9,)
    with pytest.raises(FileError, match="into its storage of 4 elements"):
        found.read()


def test_a_tensor_that_leaves_its_storage_is_refused(tmp_path):
    """A tensor whose offset or strides leave its storage is refused."""
    edited(tmp_path / "a.pt", lambda content: content.replace(b"K\x01\x85", b"K\x09\x85"))  # its stride
    with pytest.raises(FileError, match="does not fit into its storage"):
        read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")["w"].read()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02(lp0",
        b"garbage",
        b"\x80\x02]q\x00K\x01b.",
        b"\x80\x02Q.",
        b"cos\nsystem\n(S'x'\ni.",
    ],
)
def test_a_damaged_pickle_is_one_line(tmp_path, content):
    """A damaged pickle gives one line."""
    archive(tmp_path / "a.pt", content)
    with pytest.raises(FileError, match=r"a\.pt: damaged"):
        read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")


def test_what_is_no_archive_is_refused(tmp_path):
    """A file that is no archive of torch.save is refused."""
    (tmp_path / "a.pt").write_bytes(b"hello")
    with pytest.raises(FileError, match="damaged archive"):
        read_stubbed(tmp_path / "a.pt", tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as file:
        file.writestr("x", "y")
    with pytest.raises(FileError, match=r"data\.pkl is missing"):
        read_stubbed(tmp_path / "b.pt", tmp_path / "b.pt")
    with pytest.raises(FileError, match="No such file"):
        read_stubbed(tmp_path / "gone.pt", tmp_path / "gone.pt")

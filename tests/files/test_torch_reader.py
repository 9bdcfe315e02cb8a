"""Every format of torch.save: objects beside the weights, the layouts of trainers, and hostile files."""

import argparse
import functools
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import types
import zipfile
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from sneframe.errors import FileError
from sneframe.files import read_state_dict
from sneframe.files.reader import Candidate
from sneframe.files.torch_reader import TorchReader

LEGACY = {"_use_new_zipfile_serialization": False}
BOTH = {"zip": torch.save, "stream": functools.partial(torch.save, **LEGACY)}


@pytest.fixture
def state():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()


def same(found, state):
    assert list(found.tensors) == list(state)
    for name, value in state.items():
        assert torch.equal(found.tensors[name], value)
        assert found.tensors[name].dtype == value.dtype


# -- the format of torch before 0.1.10 ------------------------------------------------------------------


class Key:
    """Pickled as a persistent id."""

    def __init__(self, key):
        self.key = key


class KeyPickler(pickle.Pickler):
    def persistent_id(self, value):
        return str(value.key) if isinstance(value, Key) else None


def tar_members(state, beside=(), parts=(), lie=0):
    """Return the members of such an archive, in which each tensor has a storage of its own."""
    storages, tensors = io.BytesIO(), io.BytesIO()
    pickle.dump(len(state), storages, 2)
    pickle.dump(len(state), tensors, 2)
    value = OrderedDict(beside)
    for number, (name, tensor) in enumerate(state.items()):
        pickle.dump((number, "cpu", torch.FloatStorage), storages, 2)
        storages.write(struct.pack("<q", tensor.numel() + lie) + tensor.numpy().tobytes())
        pickle.dump((100 + number, number, torch.FloatTensor), tensors, 2)
        tensors.write(struct.pack("<i4x", tensor.dim()))
        tensors.write(struct.pack(f"<{2 * tensor.dim()}q", *tensor.shape, *tensor.stride()))
        tensors.write(struct.pack("<q", 0))
        value[name] = Key(100 + number)
    pickle.dump(list(parts), storages, 2)
    content = io.BytesIO()
    KeyPickler(content, 2).dump(value)
    return {"pickle": content, "tensors": tensors, "storages": storages}


def write_tar(path, members):
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, content in {"sys_info": io.BytesIO(pickle.dumps({}, 2)), **members}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.getvalue())
            content.seek(0)
            archive.addfile(info, content)


def save_tar(value, path):
    write_tar(path, tar_members(value))


def test_an_archive_of_the_oldest_torch_is_read(state, tmp_path):
    """The tar archives of torch before 0.1.10 give the names, order and values that were saved."""
    write_tar(tmp_path / "a.pth", tar_members(state, beside={"epoch": 3}))
    assert TorchReader().recognises(Candidate(tmp_path / "a.pth"))
    found = read_state_dict(tmp_path / "a.pth")
    same(found, state)
    assert found.others == {"epoch": 3}


def test_torch_reads_the_same_from_the_oldest_files(state, tmp_path):
    """The archives in these tests are such as torch itself reads."""
    write_tar(tmp_path / "a.pth", tar_members(state))
    found = torch.load(tmp_path / "a.pth", weights_only=False)
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_parts_of_storages_in_the_oldest_files_are_read(state, tmp_path):
    """A storage may show a part of another one."""
    members = tar_members({"w": torch.arange(6.0)}, parts=[(7, 0, 2, 3)])
    tensors = io.BytesIO(pickle.dumps(1, 2))
    tensors.seek(0, io.SEEK_END)
    tensors.write(pickle.dumps((100, 7, None), 2) + struct.pack("<i4xqqq", 1, 3, 1, 0))
    write_tar(tmp_path / "a.pth", {**members, "tensors": tensors})
    assert read_state_dict(tmp_path / "a.pth").tensors["w"].tolist() == [2, 3, 4]


def test_a_tar_archive_of_other_files_is_not_recognised(tmp_path):
    """An ordinary tar archive is no network, whatever the ending of its name."""
    with tarfile.open(tmp_path / "a.pth.tar", "w:") as archive:
        archive.addfile(tarfile.TarInfo("readme"))
    assert not TorchReader().recognises(Candidate(tmp_path / "a.pth.tar"))
    with pytest.raises(FileError, match=r"a\.pth\.tar: damaged, or not written by torch\.save"):
        read_state_dict(tmp_path / "a.pth.tar")


# -- objects beside the weights -------------------------------------------------------------------------


class Trainer:
    """A class of a trainer's own."""

    class Inner:
        pass

    def __init__(self):
        self.depth = 3
        self.average = torch.ones(3)


WRITERS = {
    "zip": torch.save,
    "zip, protocol 4": functools.partial(torch.save, pickle_protocol=4),
    "stream": functools.partial(torch.save, **LEGACY),
    "stream, protocol 4": functools.partial(torch.save, **LEGACY, pickle_protocol=4),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_numbers_and_settings_become_plain_values(state, tmp_path, write):
    """Scalars of numpy become numbers, and a namespace becomes a mapping, in every format."""
    beside = {
        "epoch": np.int64(3),
        "val_acc": np.float32(0.5),
        "best": np.bool_(True),
        "run": np.str_("é"),
        "curve": np.array([[1.0, 2.0]]),
        "args": argparse.Namespace(lr=0.1, seed=np.int64(1), inner=argparse.Namespace(a=[1])),
        "more": types.SimpleNamespace(b=2),
        "counts": defaultdict(list, a=[1]),
        "size": torch.Size([1, 2]),
        "type": torch.float16,
    }
    write({"state_dict": state, **beside}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    same(found, state)
    assert {n: v for n, v in found.others.items() if n != "state_dict"} == {
        "epoch": 3,
        "val_acc": 0.5,
        "best": True,
        "run": "é",
        "curve": [[1.0, 2.0]],
        "args": {"lr": 0.1, "seed": 1, "inner": {"a": [1]}},
        "more": {"b": 2},
        "counts": {"a": [1]},
        "size": [1, 2],
        "type": "float16",
    }
    assert type(found.others["epoch"]) is int
    assert type(found.others["val_acc"]) is float
    assert found.notes == ()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_other_objects_are_left_out_and_named(state, tmp_path, write):
    """Classes, partial functions and other objects are left out, and the notes say which."""
    beside = {
        "hyper_parameters": {"act": nn.ReLU, "init": functools.partial(nn.init.normal_, std=0.1), "width": 3},
        "trainer": Trainer(),
        "inner": Trainer.Inner,
    }
    write({"state_dict": state, **beside}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    same(found, state)
    assert found.others["hyper_parameters"] == {"width": 3}
    assert "trainer" not in found.others
    (note,) = found.content.notes
    assert note.startswith("left out 4 objects: ")
    assert "functools.partial" in note
    assert "torch.nn.modules.activation.ReLU" in note
    assert found.notes == (note,)


def test_objects_in_the_oldest_files_are_left_out(state, tmp_path):
    """Numbers, namespaces and objects are read from tar archives, too."""
    beside = {"epoch": np.int64(3), "args": argparse.Namespace(lr=0.1), "trainer": functools.partial(print)}
    write_tar(tmp_path / "a.pt", tar_members(state, beside={**beside, "trainer": Trainer.Inner()}))
    found = read_state_dict(tmp_path / "a.pt")
    same(found, state)
    assert found.others == {"epoch": 3, "args": {"lr": 0.1}}
    assert found.notes[0].startswith("left out 1 object: ")


def test_arrays_of_numpy_are_weights_without_tensors(state, tmp_path):
    """A file that has only arrays of numpy holds a network of arrays."""
    arrays = {name: np.asfortranarray(value.numpy()) for name, value in state.items()}
    torch.save({"model": arrays, "__author__": "a"}, tmp_path / "a.pth")
    same(read_state_dict(tmp_path / "a.pth"), state)


def test_a_number_in_big_endian_order_is_read(state, tmp_path):
    """The order of the bytes of a number of numpy is respected."""
    torch.save(
        {**state, "n": np.array(3, dtype=">i4")[()], "a": np.array([3.0], dtype=">f8")}, tmp_path / "a.pt"
    )
    assert read_state_dict(tmp_path / "a.pt").others == {"n": 3, "a": [3.0]}


@pytest.mark.parametrize(
    "write", [torch.save, functools.partial(torch.save, **LEGACY)], ids=["zip", "stream"]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.tensor([1, 2], dtype=torch.uint16),
        lambda: torch.ones(3).to(torch.float8_e4m3fn),
        lambda: torch.tensor([1 + 2j]).conj(),
        lambda: torch.arange(12.0).reshape(3, 4).t()[1:],
        lambda: torch.ones(3).expand(4, 3),
        lambda: torch.ones(0, 3),
        lambda: torch.tensor(2.0),
        lambda: nn.Parameter(torch.ones(2)),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    ],
    ids=["uint16", "float8", "conjugate", "strided", "repeated", "empty", "scalar", "parameter", "quantised"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_unusual_tensors_keep_their_values(tmp_path, write, make):
    """Tensors of all kinds and types are read as torch reads them."""
    tensor = make()
    write({"a.w": tensor}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt").tensors["a.w"]
    assert found.dtype == tensor.dtype
    assert found.shape == tensor.shape
    as_numbers = torch.Tensor.dequantize if tensor.is_quantized else torch.Tensor.clone
    assert as_numbers(found).tolist() == as_numbers(tensor).tolist()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_tensors_beside_objects_are_refused(tmp_path):
    """A quantised tensor is never left out as if it were an object."""
    quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    torch.save({"a.w": torch.ones(2), "b.w": quantised, "x": Trainer()}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"a\.pt: holds a quantised tensor beside a Python object"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_module_in_place_of_a_network_is_refused(tmp_path, key):
    """Other tensors in a checkpoint do not take the place of a network that is a pickled module."""
    torch.save({key: nn.Linear(2, 2), "statistics": {"mean": torch.ones(3)}}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=rf"'{key}' holds a Python object, torch.nn.*save module.state_dict"):
        read_state_dict(tmp_path / "a.pt")


def test_tensors_of_old_files_are_mapped_or_read(state, tmp_path):
    """Tied tensors of the old format are both read, at any position in the file."""
    for pad in range(8):
        torch.save(
            {"x": "a" * pad, "in.w": state["0.bias"], "out.w": state["0.bias"]}, tmp_path / "a.pt", **LEGACY
        )
        found = read_state_dict(tmp_path / "a.pt").tensors
        assert torch.equal(found["in.w"], state["0.bias"])
        assert torch.equal(found["out.w"], state["0.bias"])


# -- the layouts of trainers ----------------------------------------------------------------------------


def optimizer_of(state):
    """Return the state of an optimiser that has made a step."""
    parameters = [nn.Parameter(value.clone()) for value in state.values()]
    optimizer = torch.optim.Adam(parameters)
    sum(each.sum() for each in parameters).backward()
    optimizer.step()
    return optimizer


LAYOUTS = {
    "timm": lambda s, e: {
        "epoch": 3,
        "arch": "resnet",
        "state_dict": s,
        "optimizer": optimizer_of(s).state_dict(),
        "version": 2,
        "args": argparse.Namespace(lr=0.1),
        "amp_scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
        "state_dict_ema": e,
        "metric": 0.5,
    },
    "ImageNet example": lambda s, e: {
        "epoch": 3,
        "arch": "resnet",
        "state_dict": {f"module.{n}": v for n, v in s.items()},
        "best_acc1": torch.tensor(0.5),
        "optimizer": optimizer_of(s).state_dict(),
    },
    "mmdetection": lambda s, e: {
        "meta": {"epoch": 3, "CLASSES": ("a", "b"), "hook_msgs": {"x": torch.ones(())}},
        "state_dict": OrderedDict(s),
        "message_hub": {"log_scalars": Trainer()},
    },
    "fairseq": lambda s, e: {
        "args": argparse.Namespace(arch="x"),
        "cfg": {"model": {"_name": "x"}},
        "model": s,
        "criterion": None,
        "optimizer_history": [{"num_updates": 3}],
        "last_optimizer_state": optimizer_of(s).state_dict(),
        "extra_state": {"metrics": [("default", {})]},
    },
    "detectron2": lambda s, e: {"model": s, "__author__": "a", "matching_heuristics": True},
    "ema list": lambda s, e: {"model": s, "ema": list(e.values())},
    "ema object": lambda s, e: {"model": s, "ema": {"decay": 0.9, "shadow_params": list(e.values())}},
    "ema module": lambda s, e: {"model": s, "model_ema": {"n_averaged": torch.tensor(3), **e}},
    "ema beside an unusual key": lambda s, e: {"backbone": s, "ema_state_dict": e},
    "table of scores": lambda s, e: {"backbone": s, "scores": {"acc": torch.tensor(0.5)}},
    "optimisers further in": lambda s, e: {
        "train": {"optimizers": {"g": optimizer_of(s).state_dict()}, "weights_of_g": s}
    },
    "one level down": lambda s, e: {"checkpoint": {"state_dict": s, "state_dict_ema": e}},
    "whole optimiser": lambda s, e: {
        "model_state_dict": s,
        "optimizer": optimizer_of(s),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer_of(s), 1).state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
    },
    "counters": lambda s, e: {**s, "total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)},
}


@pytest.mark.parametrize(
    "write", [torch.save, functools.partial(torch.save, **LEGACY)], ids=["zip", "stream"]
)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layouts_of_trainers_are_read(state, tmp_path, layout, write):
    """The network is found among averages, optimisers, scores and settings."""
    averages = {name: value + 1 for name, value in state.items()}
    write(layout(state, averages), tmp_path / "a.pth.tar")
    same(read_state_dict(tmp_path / "a.pth.tar"), state)


def test_the_choice_of_a_state_dict_is_noted(state, tmp_path):
    """A note says which state dict was read, which were left out, and how to select another."""
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "a.pt")
    assert read_state_dict(tmp_path / "a.pt").notes == (
        "'state_dict' was read, and 'state_dict_ema' left out; --key selects another",
    )
    torch.save({"backbone": state, "ema": state}, tmp_path / "b.pt")
    assert read_state_dict(tmp_path / "b.pt").notes == (
        "'backbone' was read, and 'ema' left out; --key selects another",
    )


def test_averages_alone_are_the_network(state, tmp_path):
    """A file that has only the averages of the weights is read."""
    torch.save({"ema": state, "step": 3}, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"), state)


def test_networks_with_the_same_inner_key_are_several(state, tmp_path):
    """Two networks that both have a usual key are refused with the choices."""
    torch.save({"g": {"state_dict": state}, "d": {"state_dict": state}}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"several state dicts, d\.state_dict, g\.state_dict; choose one"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("score", [torch.tensor(0.5), torch.tensor([0.5])], ids=["scalar", "vector"])
def test_a_score_in_a_tensor_is_a_number(state, tmp_path, score):
    """A tensor of one element beside a state dict becomes a plain number."""
    torch.save({"state_dict": state, "best_acc1": score, "rng": torch.zeros(9)}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    assert found.others == {"best_acc1": 0.5}
    assert type(found.others["best_acc1"]) is float


@pytest.mark.filterwarnings("ignore")
def test_lightning_with_objects_is_read(tmp_path):
    """A checkpoint of Lightning is read with the classes, functions and namespaces of its settings."""
    lightning = pytest.importorskip("lightning")

    class Net(lightning.LightningModule):
        def __init__(self, width, act, init, more, score):
            super().__init__()
            self.save_hyperparameters()
            self.model = nn.Sequential(nn.Linear(3, width), act(), nn.Linear(width, 1))

        def training_step(self, batch, _):
            return self.model(batch[0]).mean()

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    net = Net(
        4, nn.ReLU, functools.partial(nn.init.normal_, std=0.1), argparse.Namespace(a=1), np.float64(0.5)
    )
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 3)))
    trainer = lightning.Trainer(
        default_root_dir=tmp_path, max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(net, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    found = read_state_dict(tmp_path / "a.ckpt")
    same(found, net.state_dict())
    assert found.others["hyper_parameters"] == {"width": 4, "more": {"a": 1}, "score": 0.5}
    assert found.others["epoch"] == 1
    assert "functools.partial" in found.notes[0]


def test_settings_of_omegaconf_are_a_mapping(state, tmp_path):
    """The settings that omegaconf keeps in nodes become plain values, without the package."""
    modules = [types.ModuleType(name) for name in ("omegaconf", "omegaconf.nodes")]

    class Node:
        def __init__(self, **attributes):
            self.__dict__.update(attributes, _metadata=Trainer(), _parent=None)

    Node.__module__, Node.__qualname__ = "omegaconf.nodes", "Node"
    modules[1].Node = Node
    inner = Node(_content={"a": Node(_val="b")})
    config = Node(_content={"lr": Node(_val=0.1), "inner": inner})
    sys.modules.update({module.__name__: module for module in modules})
    try:
        torch.save({"state_dict": state, "hyper_parameters": config, "epoch": 2}, tmp_path / "a.ckpt")
    finally:
        for module in modules:
            del sys.modules[module.__name__]
    found = read_state_dict(tmp_path / "a.ckpt")
    same(found, state)
    assert found.others["hyper_parameters"] == {"lr": 0.1, "inner": {"a": "b"}}


@pytest.mark.parametrize("ending", ["", ".weights", ".pkl", ".model", ".t7", ".tar"])
@pytest.mark.parametrize("write", [torch.save, functools.partial(torch.save, **LEGACY), save_tar])
def test_any_ending_is_read(state, tmp_path, ending, write):
    """The content of a file tells its format, whatever the ending of its name."""
    write(state, tmp_path / f"net{ending}")
    same(read_state_dict(tmp_path / f"net{ending}"), state)


# -- hostile files --------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def zipped(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", content)


def streamed(path, content):
    path.write_bytes(
        b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}))
        + content
        + b"\x80\x02]."
    )


def tarred(path, content):
    write_tar(path, {**tar_members({"w": torch.ones(2)}), "pickle": io.BytesIO(content)})


CONTAINERS = {"zip": zipped, "stream": streamed, "tar": tarred}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_container_calls_a_function(tmp_path, container, protocol):
    """A pickle that calls a function of the system is refused in every format, and not called."""
    container(tmp_path / "a.pt", pickle.dumps({"x": Bomb(tmp_path / "owned")}, protocol))
    with pytest.raises(FileError, match=r"a\.pt: holds a Python object, (posix|nt)\.mkdir, and"):
        read_state_dict(tmp_path / "a.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("member", ["storages", "tensors", "pickle"])
def test_no_member_of_a_tar_archive_calls_a_function(tmp_path, member):
    """Each member of the oldest archives is a pickle, and none is trusted."""
    members = tar_members({"w": torch.ones(2)})
    write_tar(tmp_path / "a.pt", {**members, member: io.BytesIO(pickle.dumps(Bomb(tmp_path / "owned"), 2))})
    with pytest.raises(FileError, match=r"a\.pt: holds a Python object"):
        read_state_dict(tmp_path / "a.pt")
    assert not (tmp_path / "owned").exists()


DEEP = 100_000
HOSTILE = {
    "memo far away": b"\x80\x02]r\xff\xff\xff\x7f.",
    "bytes that are missing": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"a.",
    "text that is missing": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "frame that is missing": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
    "deep lists": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * DEEP + b".",
    "deep key": b"\x80\x02})" + b"\x85" * DEEP + b"K\x01s.",
    "deep mappings": b"\x80\x02" + b"}K\x01" * DEEP + b"}" + b"s" * DEEP + b".",
    "deep objects": b"\x80\x02" + b"ca\nB\n" * DEEP + b")" + b"\x85R" * DEEP + b".",
    "list of itself": b"\x80\x02]q\x00(" + b"h\x00" * 50 + b"e.",
    "mapping of itself": b"\x80\x02}q\x00(" + b"".join(b"K%ch\x00" % n for n in range(99)) + b"u.",
    "many laughs": b"\x80\x02}q\x00"
    + b"".join(b"}q%c(K\x01h%cK\x02h%cu" % (n, n - 1, n - 1) for n in range(1, 60))
    + b".",
    "many names": b"\x80\x02]" + b"".join(b"ca\nB%d\n0" % n for n in range(20_000)) + b".",
    "tensor of other things": b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03K\x04tRs.",
    "huge number": b"\x80\x02}K\x01\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"s.",
    "function with a new state": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
    "mark missing": b"\x80\x02e.",
    "memo missing": b"\x80\x02h\x07.",
    "extension": b"\x80\x02\x82\x01.",
    "buffer": b"\x80\x05\x97.",
    "line without an end": b"c" + b"a" * 1000,
    "line break in a name": b"\x80\x04\x8c\x03a\nb\x8c\x03c\nd\x93)R.",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_one_error(tmp_path, container, name):
    """A pickle that is built to fail gives one error of one line, in every format."""
    container(tmp_path / "a.pt", HOSTILE[name])
    with pytest.raises(FileError) as caught:
        read_state_dict(tmp_path / "a.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_hostile_pickles_take_little_memory(tmp_path):
    """No declared size is believed: a gigabyte of address space is enough for all hostile pickles."""
    files = []
    for kind, container in CONTAINERS.items():
        shallow = [content for name, content in HOSTILE.items() if not name.startswith("deep")]
        for number, content in enumerate(shallow):
            files.append(str(tmp_path / f"{kind}{number}.pt"))
            container(tmp_path / f"{kind}{number}.pt", content)
    code = (
        "import sys, resource, torch\n"
        "from sneframe.files import read_state_dict\n"
        "from sneframe.errors import FileError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n"
        "for file in sys.argv[1:]:\n"
        "    try: read_state_dict(file)\n"
        "    except FileError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    lines = found.stdout.splitlines()
    assert len(lines) == len(files) + 1
    assert "MemoryError" not in found.stdout


def small_files(tmp_path):
    """Return a small file in each format."""
    state = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2)}
    checkpoint = {"state_dict": state, "epoch": np.int64(3), "args": argparse.Namespace(lr=0.1)}
    torch.save(checkpoint, tmp_path / "zip.pt")
    torch.save(checkpoint, tmp_path / "stream.pt", **LEGACY)
    save_tar(state, tmp_path / "tar.pt")
    return [tmp_path / f"{name}.pt" for name in ("zip", "stream", "tar")]


def outcome(path):
    """Return what is read, or the error."""
    try:
        return read_state_dict(path)
    except FileError as error:
        return str(error)


@pytest.mark.parametrize("number", range(3), ids=["zip", "stream", "tar"])
def test_a_file_that_ends_early_is_one_error(tmp_path, number):
    """A file that is cut at any byte is refused, or complete but for its padding."""
    path = small_files(tmp_path)[number]
    content, whole = path.read_bytes(), read_state_dict(path)
    for length in range(1, len(content), 5 if number < 2 else 31):
        path.write_bytes(content[:length])
        found = outcome(path)
        if isinstance(found, str):
            assert found.startswith(f"{path}: ")
        else:
            assert number == 2
            same(found, whole.tensors)


@pytest.mark.parametrize("number", range(3), ids=["zip", "stream", "tar"])
def test_a_changed_byte_is_at_most_one_error(tmp_path, number):
    """A file with a wrong byte gives tensors or one error of one line, and nothing else."""
    path = small_files(tmp_path)[number]
    content, dice = path.read_bytes(), random.Random(0)
    for _ in range(150):
        wrong = bytearray(content)
        for _ in range(dice.randint(1, 3)):
            wrong[dice.randrange(len(wrong))] = dice.randrange(256)
        path.write_bytes(wrong)
        found = outcome(path)
        assert not isinstance(found, str) or (found.startswith(f"{path}: ") and "\n" not in found)


@pytest.mark.parametrize("numel", [3, 5, 1 << 40, -1, 1 << 62])
def test_a_storage_that_lies_is_refused(tmp_path, numel):
    """A storage of the old formats whose size differs from the size in the pickle is refused."""
    torch.save({"w": torch.ones(4)}, tmp_path / "a.pt", **LEGACY)
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(content[:-24] + struct.pack("<q", numel) + content[-16:])
    assert content[-24:-16] == struct.pack("<q", 4)
    with pytest.raises(FileError, match=r"a\.pt: damaged"):
        read_state_dict(tmp_path / "a.pt")
    write_tar(tmp_path / "b.pt", tar_members({"w": torch.ones(4)}, lie=numel - 4))
    with pytest.raises(FileError, match=r"b\.pt: (damaged|a tensor)"):
        read_state_dict(tmp_path / "b.pt")


@pytest.mark.parametrize(
    "part", [(7, 0, 0, 9), (7, 0, -1, 2), (7, 5, 0, 1), (7, 0, "a", 1), (7, 0, 1 << 70, 1)]
)
def test_a_part_that_leaves_its_storage_is_refused(tmp_path, part):
    """A part of a storage lies within the storage."""
    write_tar(tmp_path / "a.pt", tar_members({"w": torch.ones(4)}, parts=[part]))
    with pytest.raises(FileError, match=r"a\.pt: damaged"):
        read_state_dict(tmp_path / "a.pt")


def test_two_entries_of_one_name_are_refused(state, tmp_path):
    """Programs differ in which of two entries they read."""
    torch.save(state, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/data.pkl", b"")
    with pytest.raises(FileError, match=r"a\.pt: damaged archive \(two entries have the same name\)"):
        read_state_dict(tmp_path / "a.pt")


def test_a_tensor_does_not_read_its_neighbour(tmp_path):
    """A tensor with a wrong offset does not show the bytes after its storage."""
    write_tar(tmp_path / "a.pt", tar_members({"a": torch.ones(4), "b": torch.ones(4)}))
    content = (tmp_path / "a.pt").read_bytes()
    tensor = struct.pack("<i4xqqq", 1, 4, 1, 0)
    assert content.count(tensor) == 2
    (tmp_path / "a.pt").write_bytes(content.replace(tensor, struct.pack("<i4xqqq", 1, 4, 1, 1)))
    with pytest.raises(FileError, match=r"a\.pt: a tensor of shape \(4,\) does not fit into its storage"):
        read_state_dict(tmp_path / "a.pt")

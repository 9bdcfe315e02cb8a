"""State dicts from files: what is read, and what is refused, with one line that names the file."""

import argparse
import errno
import functools
import importlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from sneframe.errors import FileError, RunError
from sneframe.files import Stub, read_state_dict
from sneframe.files.shards import ShardsReader
from sneframe.run_folder.tensor_files import read_tensors

LEGACY = {"_use_new_zipfile_serialization": False}


@pytest.fixture
def state():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()


def same(found, state):
    assert list(found.tensors) == list(state)
    for name, value in state.items():
        assert torch.equal(found.tensors[name], value)
        assert found.tensors[name].dtype == value.dtype


# -- what is read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, LEGACY], ids=["archive", "legacy"])
@pytest.mark.parametrize("ending", [".pt", ".pth", ".PTH", ".bin", ".ckpt"])
def test_a_file_of_torch_is_read(state, tmp_path, ending, more):
    """A file of torch.save is read with the names, order and values that were saved."""
    torch.save(state, tmp_path / f"net{ending}", **more)
    same(read_state_dict(tmp_path / f"net{ending}"), state)


def test_a_file_of_safetensors_is_read(state, tmp_path):
    """A safetensors file is read with the names and values that were saved."""
    save_file(state, tmp_path / "net.safetensors")
    found = read_state_dict(tmp_path / "net.safetensors")
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in state.items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_types_are_kept(tmp_path, dtype):
    """Tensors keep their dtypes."""
    state = {"w": torch.arange(6).reshape(2, 3).to(dtype)}
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    same(read_state_dict(tmp_path / "a.pt"), state)
    same(read_state_dict(tmp_path / "a.safetensors"), state)


def test_the_policy_of_stable_baselines_is_read(state, tmp_path):
    """The policy of a Stable-Baselines3 archive is read."""
    policy = io.BytesIO()
    torch.save(state, policy)
    with zipfile.ZipFile(tmp_path / "agent.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": "gASVMQ=="}}))
        archive.writestr("policy.pth", policy.getvalue())
    same(read_state_dict(tmp_path / "agent.zip"), state)


SHARDS = {".safetensors": save_file, ".bin": torch.save}


@pytest.fixture(params=list(SHARDS))
def shards(state, tmp_path, request):
    """Two shards of one network, and what an index says of them."""
    write, names = SHARDS[request.param], list(state)
    files = [f"net-0000{number}-of-00002{request.param}" for number in (1, 2)]
    places = dict(zip(names, [files[0], files[0], files[1], files[1]], strict=True))
    for file in files:
        write({n: state[n] for n in names if places[n] == file}, tmp_path / file)
    index = tmp_path / f"net{request.param}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index, [tmp_path / file for file in files]


def test_shards_are_one_network(state, shards):
    """Shards are joined by their index, which is read in their place."""
    index, files = shards
    same(read_state_dict(index), state)
    same(read_state_dict(files[1]), state)
    assert set(ShardsReader().others(index)) == set(files)


def test_shards_without_an_index_are_joined_by_their_names(state, shards):
    """The first shard stands for the network."""
    index, files = shards
    index.unlink()
    same(read_state_dict(files[0]), state)
    assert list(ShardsReader().others(files[0])) == [files[1]]


def test_a_shard_whose_others_are_missing_is_refused(shards):
    """Half a network is no network, and the missing file is named."""
    index, files = shards
    index.unlink()
    files[0].unlink()
    with pytest.raises(
        FileError, match=rf"not all shards of this network can be read: {files[0].name}: " rf"no such file"
    ):
        read_state_dict(files[1])


def test_a_tensor_in_two_shards_is_refused(state, shards):
    """Without an index nothing says which of two is meant."""
    index, files = shards
    index.unlink()
    SHARDS[files[0].suffix](state, files[0])
    with pytest.raises(FileError, match=r"'2.weight' is in two shards|'2.bias' is in two shards"):
        read_state_dict(files[0])


def test_a_shard_of_other_things_is_refused(tmp_path):
    """An optimiser that was cut into files of the same names is no network."""
    for number in (1, 2):
        torch.save({"state": {}}, tmp_path / f"optim-0000{number}-of-00002.bin")
    with pytest.raises(FileError, match="holds named tensors and nothing else"):
        read_state_dict(tmp_path / "optim-00001-of-00002.bin")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": s["0.bias"]}}}},
        lambda s: {"model": s, "ema": s},
        lambda s: {"something": s, "epoch": 3},
        lambda s: {f"module.{n}": v for n, v in s.items()},
        lambda s: {"net": {f"module._orig_mod.{n}": v for n, v in s.items()}},
        lambda s: {f"_orig_mod.module.{n}": v for n, v in s.items()},
        lambda s: {"n_averaged": torch.tensor(3), **{f"module.{n}": v for n, v in s.items()}},
    ],
    ids=["checkpoint", "two", "only one", "parallel", "compiled", "parallel inside", "averaged"],
)
def test_the_state_dict_of_a_checkpoint_is_found(state, tmp_path, wrap):
    """The state dict is found under the usual keys of checkpoints."""
    torch.save(wrap(state), tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"), state)


def test_a_key_says_which_of_several(state, tmp_path):
    """A key selects one of several state dicts, and an unknown key is refused with the choices."""
    other = {name: value + 1 for name, value in state.items()}
    torch.save({"actor": state, "nested": {"critic": other}}, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt", key="actor"), state)
    same(read_state_dict(tmp_path / "a.pt", key="nested.critic"), other)
    with pytest.raises(FileError, match=r"has no key 'acto', did you mean 'actor'"):
        read_state_dict(tmp_path / "a.pt", key="acto")


def test_several_without_a_key_are_refused(state, tmp_path):
    """A checkpoint with several state dicts and none of the usual keys is refused."""
    torch.save({"actor": state, "critic": state}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="several state dicts, actor, critic; choose one"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("beside", [{"loss": torch.ones(())}, {"rng": torch.zeros(8, dtype=torch.uint8)}])
@pytest.mark.parametrize("name", ["model_state_dict", "net", "anything"])
def test_single_tensors_beside_a_state_dict_are_passed_over(state, tmp_path, beside, name):
    """A loss tensor beside a state dict is not taken for the network."""
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"epoch": 1, **beside, "optimizer": optimiser, name: state}, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"), state)


@pytest.mark.parametrize("name", ["0._extra_state", "statistics"])
def test_mappings_inside_a_state_dict_are_passed_over(state, tmp_path, name):
    """A mapping of tensors inside a state dict does not replace the state dict."""
    torch.save({**state, name: {"scale": torch.ones(3)}}, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"), state)


def test_state_dicts_further_in_are_found_and_named(state, tmp_path):
    """Nested state dicts are found, and named by dotted keys."""
    torch.save({"epoch": 1, "models": {"enc": state}}, tmp_path / "one.pt")
    same(read_state_dict(tmp_path / "one.pt"), state)
    torch.save({"models": {"enc": state, "dec": state}}, tmp_path / "two.pt")
    with pytest.raises(
        FileError, match=r"several state dicts, models\.dec, models\.enc; choose one with --key"
    ):
        read_state_dict(tmp_path / "two.pt")
    with pytest.raises(
        FileError,
        match=r"'models' is not a state dict; the state dicts below this key are models\.enc, models\.dec",
    ):
        read_state_dict(tmp_path / "two.pt", key="models")
    same(read_state_dict(tmp_path / "two.pt", key="models.dec"), state)


def test_what_may_not_be_read_is_not_damaged(state, tmp_path, monkeypatch):
    """As another user: whoever runs the tests may be one who may read everything."""
    torch.save(state, tmp_path / "a.pt")

    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match=r"a\.pt: Permission denied$"):
        read_state_dict(tmp_path / "a.pt")
    with pytest.raises(RunError, match=r"a\.pt: Permission denied$"):
        read_tensors(tmp_path / "a.pt")


def test_plain_values_beside_the_tensors_are_kept(state, tmp_path):
    """Plain values of a checkpoint are returned as others."""
    torch.save({**state, "label": 7, "coef": [1.0], "name": "a"}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    assert dict(found.others) == {"label": 7, "coef": [1.0], "name": "a"}
    same(found, state)


def test_tied_weights_are_read(tmp_path):
    """Tensors that share one storage are both read."""
    shared = torch.randn(30, 4)
    torch.save({"in.weight": shared, "out.weight": shared}, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"), {"in.weight": shared, "out.weight": shared})


# -- what is refused ------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def bomb(path, marker, **more):
    torch.save({"weight": torch.zeros(2), "x": Bomb(marker)}, path, **more)


@pytest.mark.parametrize("more", [{}, LEGACY], ids=["archive", "legacy"])
def test_a_bomb_does_not_go_off(tmp_path, more):
    """A file that calls a system function when unpickled is refused, and the function is not called."""
    bomb(tmp_path / "a.pt", tmp_path / "owned", **more)
    with pytest.raises(FileError, match=r"a\.pt: holds a Python object, (posix|nt)\.mkdir"):
        read_state_dict(tmp_path / "a.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_bare_pickle_does_not_go_off(tmp_path, protocol):
    """A plain pickle with a system call is refused, and the function is not called."""
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "owned"), protocol))
    with pytest.raises(FileError, match=r"a\.pth: "):
        read_state_dict(tmp_path / "a.pth")
    assert not (tmp_path / "owned").exists()


def test_a_bomb_in_a_policy_does_not_go_off(tmp_path):
    """A policy with a system call is refused, and the function is not called."""
    bomb(tmp_path / "policy.pth", tmp_path / "owned")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "policy.pth", "policy.pth")
    with pytest.raises(FileError, match="holds a Python object"):
        read_state_dict(tmp_path / "a.zip")
    assert not (tmp_path / "owned").exists()


def test_a_whole_module_is_refused_with_what_to_do(tmp_path):
    """A pickled module is refused with the advice to save its state dict."""
    torch.save(nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"holds a Python object, torch.nn.*save module.state_dict\(\)"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("more", [{}, LEGACY], ids=["archive", "legacy"])
def test_a_few_bytes_are_not_many_weights(tmp_path, more):
    """An expanded tensor that claims far more bytes than the file has is refused."""
    torch.save({"w": torch.zeros(1).expand(10**9)}, tmp_path / "a.pt", **more)
    with pytest.raises(FileError, match="would take 4000000000 bytes, but the file has"):
        read_state_dict(tmp_path / "a.pt")


def test_a_storage_that_is_larger_than_the_file_is_refused(tmp_path):
    """A storage that claims more bytes than the file has is refused."""
    torch.save({"w": torch.zeros(8)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    wrong = members[name].replace(b"K\x08", b"J" + struct.pack("<i", 10**9))
    assert wrong != members[name]
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        for each, content in {**members, name: wrong}.items():
            archive.writestr(each, content)
    with pytest.raises(FileError, match=r"b\.pt: "):
        read_state_dict(tmp_path / "b.pt")


def test_a_safetensors_header_larger_than_the_file_is_refused(tmp_path):
    """A safetensors header that claims more bytes than the file has is refused."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(FileError, match=r"a\.safetensors: damaged"):
        read_state_dict(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", 1 << 60))
    with pytest.raises(FileError, match=r"b\.safetensors: damaged"):
        read_state_dict(tmp_path / "b.safetensors")


def test_an_archive_that_grows_is_refused(state, tmp_path):
    """A zip entry that unpacks to far more bytes than weights do is refused."""
    with zipfile.ZipFile(tmp_path / "sb3.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("policy.pth", b"\0" * (1 << 27))
    with pytest.raises(FileError, match="would grow to 134217728 bytes"):
        read_state_dict(tmp_path / "sb3.zip")
    torch.save(state, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(FileError, match="compressed entries"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("more", [{}, LEGACY], ids=["archive", "legacy"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.97])
def test_a_truncated_file_is_refused(tmp_path, keep, more):
    """A truncated file is refused with one line."""
    torch.save({"w": torch.randn(100, 100)}, tmp_path / "a.pt", **more)
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FileError, match=r"a\.pt: damaged"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.zip", "a.safetensors.index.json"])
def test_files_of_other_kinds_are_refused(tmp_path, name):
    """Files that are no network files are refused with one line."""
    path = tmp_path / name
    for content, reason in (
        (b"", "the file is empty"),
        (b"hello, world" * 20, ""),
        (b"PK\x05\x06" + b"\0" * 18, ""),
    ):
        path.write_bytes(content)
        with pytest.raises(FileError, match=rf"{name}: {reason}"):
            read_state_dict(path)


def test_a_name_is_not_followed_out_of_the_folder(state, tmp_path):
    """An index cannot name a shard outside of its folder."""
    (tmp_path / "in").mkdir()
    save_file(state, tmp_path / "secret.safetensors")
    (tmp_path / "in" / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
    index = tmp_path / "in" / "net.safetensors.index.json"
    for name in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), "link.safetensors"):
        index.write_text(json.dumps({"weight_map": dict.fromkeys(state, name)}))
        with pytest.raises(FileError, match="leads out of"):
            read_state_dict(index)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": "gone.safetensors"}}', "{"]
)
def test_a_damaged_index_is_refused(tmp_path, content):
    """A file that only has the name of an index is refused."""
    index = tmp_path / "net.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(FileError, match=r"index\.json: "):
        read_state_dict(index)


def test_a_shard_that_lacks_a_tensor_is_refused(tmp_path):
    """A shard without a tensor that the index promises is refused."""
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    index = tmp_path / "net.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"b": "x.safetensors"}}))
    with pytest.raises(FileError, match=r"x\.safetensors holds 'b', but it does not"):
        read_state_dict(index)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([torch.zeros(2)], "a list"),
        ({"a": 1}, "no named tensors"),
        ({0: torch.zeros(2)}, "no named tensors"),
    ],
)
def test_other_things_than_state_dicts_are_refused(tmp_path, value, reason):
    """Checkpoints without a state dict are refused."""
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(FileError, match=reason):
        read_state_dict(tmp_path / "a.pt")


def test_a_script_is_refused(tmp_path):
    """A TorchScript archive is refused with the advice to save the state dict."""
    traced = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    traced.save(str(tmp_path / "a.pt"))
    with pytest.raises(FileError, match="TorchScript"):
        read_state_dict(tmp_path / "a.pt")


def test_a_missing_or_empty_file_is_named(tmp_path):
    """Missing files, empty files and folders are named with what is wrong."""
    with pytest.raises(FileError, match=r"gone\.pt: no such file"):
        read_state_dict(tmp_path / "gone.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(FileError, match=r"folder\.pt: this is a folder, and no reader recognises it"):
        read_state_dict(tmp_path / "folder.pt")
    (tmp_path / "a.onnx").write_bytes(b"unknown")
    with pytest.raises(FileError, match=r"a\.onnx: no reader recognises this file.*\.safetensors"):
        read_state_dict(tmp_path / "a.onnx")


def test_a_sharded_file_of_many_claims_is_checked_as_a_whole(tmp_path):
    """The sizes of all shards are checked together."""
    (tmp_path / "x.safetensors").write_bytes(save({"a": torch.zeros(100)}))
    index = tmp_path / "net.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x.safetensors"}}))
    assert read_state_dict(index).tensors["a"].shape == (100,)


def test_layers_of_safetensors_are_sorted_by_number(tmp_path):
    """Layer 2 comes before layer 10 in a safetensors file."""
    layers = [layer for _ in range(7) for layer in (nn.Linear(6, 6), nn.ReLU())]
    state = nn.Sequential(*layers).state_dict()
    save_file(state, tmp_path / "n.safetensors")
    assert list(read_state_dict(tmp_path / "n.safetensors").tensors) == list(state)


def test_layers_of_shards_are_sorted_by_number(tmp_path):
    """Layer 2 comes before layer 10 in a sharded network."""
    state = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11))).state_dict()
    names = list(state)
    for file, own in (("a.safetensors", names[:4]), ("b.safetensors", names[4:])):
        save_file({name: state[name] for name in own}, tmp_path / file)
    places = {name: "a.safetensors" if name in names[:4] else "b.safetensors" for name in sorted(names)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert list(read_state_dict(tmp_path / "model.safetensors.index.json").tensors) == names


# -- objects beside the weights -------------------------------------------------------------------------


class Settings:
    """A class of a trainer's own."""

    def __init__(self):
        self.depth = 3


@pytest.mark.parametrize(
    "beside",
    [
        lambda: {"score": np.float64(0.5)},
        lambda: {"args": argparse.Namespace(lr=0.1)},
        lambda: {"hyper_parameters": {"act": nn.ReLU, "init": functools.partial(nn.init.normal_, std=0.1)}},
        lambda: {"settings": Settings(), "history": [Settings()]},
    ],
    ids=["numpy score", "namespace", "classes", "own object"],
)
def test_weights_beside_objects_are_read(state, tmp_path, beside):
    """A trainer keeps objects beside the weights; they are left out, and never made."""
    torch.save({"state_dict": state, "epoch": 7, **beside()}, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    same(found, state)
    assert found.others["epoch"] == 7
    assert not any(isinstance(value, Stub) for value in found.others.values())


@pytest.mark.parametrize(
    "name", ["print", "eval", "posix.system", "subprocess.Popen", "importlib.import_module"]
)
def test_what_acts_on_the_system_is_refused_by_name(tmp_path, name):
    """A checkpoint with such a call is an attack, whatever weights lie beside it."""
    module, _, function = name.rpartition(".")
    torch.save(
        {"state_dict": {"w": torch.zeros(2)}, "x": Named(module or "builtins", function)}, tmp_path / "a.pt"
    )
    with pytest.raises(FileError, match=rf"holds a Python object, {name}, and objects are never loaded"):
        read_state_dict(tmp_path / "a.pt")


class Named:
    """Pickled as a call of a function by its name."""

    def __init__(self, module, name):
        self.call = getattr(importlib.import_module(module), name)

    def __reduce__(self):
        return self.call, ("true",)


def test_few_bytes_beside_an_object_are_not_many_weights(tmp_path):
    """Sizes are checked before memory is taken, also where objects lie beside the tensors."""
    torch.save({"w": torch.zeros(1).expand(10**9), "score": np.float64(1)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="would take 4000000000 bytes, but the file has"):
        read_state_dict(tmp_path / "a.pt")


def test_the_state_of_an_optimiser_is_no_network(state, tmp_path):
    """Its tensors are averages of gradients, alone in a file and beside a network."""
    parameter = nn.Parameter(torch.ones(3, 3))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(FileError, match=r"optimizer\.pt: the file holds the state of an optimiser"):
        read_state_dict(tmp_path / "optimizer.pt")
    torch.save({"something": state, "optimizer": optimizer.state_dict()}, tmp_path / "both.pt")
    same(read_state_dict(tmp_path / "both.pt"), state)


def test_counters_of_a_profiler_are_left_out(state, tmp_path):
    """The package thop leaves two of them in every layer."""
    counted = {f"0.{name}": torch.zeros(1, dtype=torch.float64) for name in ("total_ops", "total_params")}
    torch.save({**state, **counted}, tmp_path / "a.pt")
    same(read_state_dict(tmp_path / "a.pt"), state)


def test_a_name_that_is_not_utf8_is_read(state, tmp_path):
    """On Linux, the name of a file may be any bytes."""
    torch.save(state, tmp_path / "net.pt")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.pt"))
    (tmp_path / "net.pt").rename(odd)
    same(read_state_dict(odd), state)

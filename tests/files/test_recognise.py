"""Who reads which file, and which files of a folder are networks."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sneframe.errors import FileError
from sneframe.files import Content, FileReader, read_state_dict
from sneframe.files.recognise import CORE, reader_of, with_folders
from sneframe.files.search import NetworkPath, networks_in
from sneframe.zoo import create

READERS = with_folders(CORE)
STATE = {"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}


def found(folder, readers=READERS):
    """The networks of a folder with their readers, and the other files with their reasons."""
    items = list(networks_in(folder, readers))
    assert [each.name for each in items] == sorted(each.name for each in items)
    networks = {each.name: each.reader.name for each in items if isinstance(each, NetworkPath)}
    return networks, {each.name: each.reason for each in items if not isinstance(each, NetworkPath)}


# -- one file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.pth.tar", "a.t7", "a", "a.model", "a.safetensors"])
def test_the_content_of_torch_is_recognised_under_any_name(tmp_path, name):
    """The content of a file decides, not the ending of its name."""
    torch.save(STATE, tmp_path / name)
    assert reader_of(tmp_path / name, READERS).name == "sneframe/torch"
    assert read_state_dict(tmp_path / name).tensors.keys() == STATE.keys()


def test_safetensors_are_recognised_under_any_name(tmp_path):
    """A safetensors file with the ending of torch is read as safetensors."""
    save_file(STATE, tmp_path / "pytorch_model.bin")
    assert reader_of(tmp_path / "pytorch_model.bin", READERS).name == "sneframe/safetensors"


def test_an_old_file_of_torch_is_recognised_by_its_magic_number(tmp_path):
    """Torch before 1.6 began its files with a magic number."""
    torch.save(STATE, tmp_path / "old.weights", _use_new_zipfile_serialization=False)
    assert reader_of(tmp_path / "old.weights", READERS).name == "sneframe/torch"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "an HTML page, not weights; the download failed"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_that_is_no_weights_is_named(tmp_path, content, said):
    """An LFS pointer, a web page and an empty file are named with what to do."""
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_state_dict(tmp_path / "model.safetensors")


def test_a_damaged_file_goes_to_the_reader_of_its_ending(tmp_path):
    """The reader that claims the ending says what is damaged."""
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(FileError, match="damaged, or not a safetensors file"):
        read_state_dict(tmp_path / "a.safetensors")


class Broken(FileReader):
    """A reader that fails in a way of its own."""

    name = "toy/broken"
    help = "nothing"
    endings = (".broken",)

    def recognises(self, candidate):
        return candidate.name.endswith(".broken")

    def read(self, path):
        return [][len(path.name)]


def test_a_reader_that_fails_is_named(tmp_path):
    """An unexpected error in a reader names the reader, and is an error of this file alone."""
    (tmp_path / "a.broken").write_text("words")
    with pytest.raises(FileError, match=r"a\.broken: the file reader 'toy/broken' of sneframe fails: Ind"):
        read_state_dict(tmp_path / "a.broken", readers=[Broken(), *READERS])


class Needy(Broken):
    """A reader that needs a package."""

    needs = ("no_such_package",)
    extra = "toy[needy]"


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path):
    """A file whose reader lacks a package is refused before the reader runs."""
    (tmp_path / "a.broken").write_text("words")
    with pytest.raises(FileError, match=r"needs no_such_package; pip install 'toy\[needy\]'"):
        read_state_dict(tmp_path / "a.broken", readers=[Needy(), *READERS])


# -- a folder -------------------------------------------------------------------------------------------


def test_networks_are_found_at_any_depth(tmp_path):
    """Networks are listed by name. Text files and usual companions are passed over without a reason."""
    (tmp_path / "b" / "c").mkdir(parents=True)
    torch.save(STATE, tmp_path / "b" / "c" / "net.pth.tar")
    save_file(STATE, tmp_path / "a.safetensors")
    (tmp_path / "notes.md").write_text("notes")
    (tmp_path / "b" / "weights.foo").write_bytes(b"\0foo")
    (tmp_path / "b" / "METADATA").write_text("Name: \u00e9" * 200)
    networks, others = found(tmp_path)
    assert networks == {"a.safetensors": "sneframe/safetensors", "b/c/net.pth.tar": "sneframe/torch"}
    unknown = "no reader recognises this file"
    assert others == {"notes.md": "", "b/METADATA": "", "b/weights.foo": unknown}


def test_the_state_of_a_trainer_is_no_network(tmp_path):
    """A checkpoint folder of a trainer is one network."""
    save_file(STATE, tmp_path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"):
        torch.save({"state": {}}, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    networks, others = found(tmp_path)
    assert list(networks) == ["model.safetensors"]
    assert set(others.values()) == {"", "the state of a trainer, not a network"}


def test_copies_of_a_network_in_a_model_folder_are_passed_over(tmp_path):
    """A model folder with the weights in two formats is one network, and the copy is named."""
    (tmp_path / "config.json").write_text("{}")
    save_file(STATE, tmp_path / "model.safetensors")
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    networks, others = found(tmp_path)
    assert list(networks) == ["model.safetensors"]
    assert others["pytorch_model.bin"] == "holds the same network as model.safetensors, which is read"
    assert read_state_dict(tmp_path).reader == "sneframe/model-folder"


def test_networks_beside_a_config_are_all_found(tmp_path):
    """A folder of many networks that happens to hold a config.json is not one network."""
    (tmp_path / "config.json").write_text("{}")
    for name in ("a", "b"):
        save_file(STATE, tmp_path / f"{name}.safetensors")
    assert list(found(tmp_path)[0]) == ["a.safetensors", "b.safetensors"]


def test_shards_are_listed_once(tmp_path):
    """A network in shards is listed by its index, or by its first shard."""
    save_file({"a": torch.ones(2)}, tmp_path / "m-00001-of-00002.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "m-00002-of-00002.safetensors")
    assert list(found(tmp_path)[0]) == ["m-00001-of-00002.safetensors"]
    where = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert list(found(tmp_path)[0]) == ["m.safetensors.index.json"]


def test_zoos_in_a_folder_are_passed_over(tmp_path, toy_zoo_path):
    """The arrays of a zoo are not searched for networks."""
    torch.save(STATE, tmp_path / "a.pt")
    shutil.copytree(toy_zoo_path, tmp_path / "zoo.zarr")
    networks, others = found(tmp_path)
    assert list(networks) == ["a.pt"]
    assert not others


class Folder(FileReader):
    """A reader that takes a folder as one network."""

    name = "toy/folder"
    help = "folders of parts"

    def recognises(self, candidate):
        return candidate.is_folder and "parts" in candidate.names

    def read(self, path):
        return Content(values={"w": torch.ones(1)})


def test_a_folder_that_is_one_network_is_not_searched(tmp_path):
    """A reader may take a whole folder."""
    (tmp_path / "net" / "parts").mkdir(parents=True)
    torch.save(STATE, tmp_path / "net" / "a.pt")
    assert found(tmp_path, [*READERS, Folder()]) == ({"net": "toy/folder"}, {})


def test_a_folder_without_permission_is_named(tmp_path):
    """What cannot be opened is listed with the reason."""
    (tmp_path / "gone.pt").symlink_to(Path("nowhere"))
    networks, others = found(tmp_path)
    assert list(networks) == ["gone.pt"] or "gone.pt" in others


def test_the_writer_of_a_zoo_in_the_folder_is_passed_over(tmp_path):
    """The temporary folder of a zoo that is being written is not searched."""
    with create(tmp_path / "zoo.zarr", name="x") as zoo:
        assert found(tmp_path) == ({}, {})
        from sneframe.testing import mlp

        architecture = mlp(1, 2, 1)
        weights = {p.name: torch.ones(1, *p.shape) for p in architecture.parameters}
        zoo.append(architecture, weights, {})


# -- one network under several names ----------------------------------------------------------------------


def test_a_file_with_two_names_is_one_network(tmp_path):
    """A link, such as Lightning's last.ckpt, and a hard link are not further networks."""
    torch.save(STATE, tmp_path / "epoch=3.ckpt")
    (tmp_path / "a-link.ckpt").symlink_to("epoch=3.ckpt")
    os.link(tmp_path / "epoch=3.ckpt", tmp_path / "hard.ckpt")
    networks, others = found(tmp_path)
    assert list(networks) == ["epoch=3.ckpt"]
    reason = "the same file as epoch=3.ckpt, which is read"
    assert others == {"a-link.ckpt": reason, "hard.ckpt": reason}


def test_a_snapshot_of_a_hub_cache_keeps_its_names(tmp_path):
    """In a cache of Hugging Face, the file with the real name is the network, not its blob."""
    home = tmp_path / "models--o--n"
    (home / "blobs").mkdir(parents=True)
    (home / "snapshots" / "1").mkdir(parents=True)
    save_file(STATE, home / "blobs" / "0a1b")
    (home / "snapshots" / "1" / "model.safetensors").symlink_to("../../blobs/0a1b")
    networks, _ = found(tmp_path)
    assert list(networks) == ["models--o--n/snapshots/1/model.safetensors"]


def test_links_to_folders_are_named(tmp_path):
    """A linked folder is not followed, and the list says so."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    assert found(tmp_path) == ({}, {"b": "a link to a folder, which is not followed"})


def test_a_pipe_does_not_stop_the_search(tmp_path):
    """A named pipe is not opened."""
    os.mkfifo(tmp_path / "pipe.pt")
    assert found(tmp_path) == ({}, {"pipe.pt": "not a file"})


def test_variants_in_a_model_folder_are_passed_over(tmp_path):
    """Variants and the folders of other formats in a model folder hold the network that is read."""
    (tmp_path / "config.json").write_text("{}")
    variant, copy = "model.fp16.safetensors", "onnx/model.safetensors"
    for name in ("model.safetensors", variant, copy, "other.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_file(STATE, tmp_path / name)
    networks, others = found(tmp_path)
    assert list(networks) == ["model.safetensors", "other.safetensors"]
    assert others[variant] == "a variant of the network in model.safetensors, which is read"
    assert others["onnx"] == "a folder with copies of the network in model.safetensors, which is read"


def test_shards_with_names_of_their_own_belong_to_their_index(tmp_path):
    """What an index lists is not a further network."""
    save_file({"a": torch.ones(2)}, tmp_path / "part_a.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "extra.safetensors")
    where = {"a": "part_a.safetensors", "b": "extra.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert list(found(tmp_path)[0]) == ["model.safetensors.index.json"]


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("saved_model.pb", "a SavedModel of TensorFlow, which is not read; save the model as .keras"),
        ("manifest.ocdbt", "a checkpoint of Orbax, which is not read; save the parameters as .msgpack"),
        ("__0_0.distcp", "a distributed checkpoint of torch, which is not read"),
    ],
)
def test_a_folder_of_a_format_that_is_not_read_is_named_once(tmp_path, marker, said):
    """Such a folder is named with what to do, and its files are not listed one by one."""
    (tmp_path / "net" / "d").mkdir(parents=True)
    (tmp_path / "net" / marker).write_bytes(b"\0\1")
    (tmp_path / "net" / "d" / "0").write_bytes(b"\0\1")
    networks, others = found(tmp_path)
    assert not networks
    assert list(others) == ["net"]
    assert others["net"].startswith(f"this is {said}")
    with pytest.raises(FileError, match=f"this is {said}"):
        read_state_dict(tmp_path / "net")


def test_parts_of_model_parallelism_are_no_networks(tmp_path):
    """One part alone is a network; several parts are named, because their tensors would have to be joined."""
    torch.save(STATE, tmp_path / "consolidated.00.pth")
    assert list(found(tmp_path)[0]) == ["consolidated.00.pth"]
    torch.save(STATE, tmp_path / "consolidated.01.pth")
    networks, others = found(tmp_path)
    assert not networks
    assert set(others.values()) == {"one of several parts of a network, which cannot be joined"}


def test_a_tensor_that_the_index_does_not_list_is_noted(tmp_path):
    """A shard may hold more than its index says, and a note counts what is left out."""
    save_file({"a": torch.ones(2), "head": torch.ones(3)}, tmp_path / "m-00001-of-00001.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-00001-of-00001.safetensors"}}))
    read = read_state_dict(index)
    assert list(read.tensors) == ["a"]
    assert read.notes == ("left out 1 tensor that the index does not list: head",)

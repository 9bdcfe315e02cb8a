"""Files of flax.serialization: what is read, with which names and order of axes, and what is refused."""

import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from sneframe_formats.flax_reader import FlaxReader
from sneframe_formats.message_pack import MOST
from torch import nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.errors import FileError
from sneframe.files import read_state_dict
from sneframe.files.network_reader import NetworkReader
from sneframe.files.reader import Candidate

msgpack = pytest.importorskip("msgpack")
flax_writer = pytest.importorskip("flax_writer")
array, packed = flax_writer.array, flax_writer.packed
READERS = (FlaxReader(),)


class Net(nn.Module):
    """The torch twin of the network that the tests save in Flax's layout."""

    def __init__(self):
        super().__init__()
        self.Conv_0 = nn.Conv2d(3, 4, 3, padding=1)
        self.BatchNorm_0 = nn.BatchNorm2d(4)
        self.Dense_0 = nn.Linear(4, 6)
        self.Dense_1 = nn.Linear(6, 2)

    def forward(self, images):
        maps = torch.relu(self.BatchNorm_0(self.Conv_0(images)))
        return self.Dense_1(torch.relu(self.Dense_0(maps.mean((2, 3)))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Net()
    for value in net.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.1, 1.0)
    return net


def variables(net):
    """Return the variables of a network as Flax names and orders them."""
    found = {"params": {}, "batch_stats": {}}
    for name, layer in net.named_children():
        own = {"bias": layer.bias.detach().numpy()}
        if name.startswith("BatchNorm"):
            own["scale"] = layer.weight.detach().numpy()
            found["batch_stats"][name] = {
                "mean": layer.running_mean.numpy(),
                "var": layer.running_var.numpy(),
            }
        else:
            kernel = layer.weight.detach().numpy()
            own["kernel"] = kernel.T if kernel.ndim == 2 else kernel.transpose(2, 3, 1, 0)
        found["params"][name] = own
    return found


def written(tmp_path, tree, name="net.msgpack"):
    (tmp_path / name).write_bytes(tree if isinstance(tree, bytes) else packed(tree))
    return tmp_path / name


def read(path):
    return read_state_dict(path, readers=READERS)


def same(tensors, net):
    wanted = {name: each for name, each in net.state_dict().items() if each.is_floating_point()}
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], each) for name, each in wanted.items())


# -- what is read -----------------------------------------------------------------------------------------


def test_variables_get_the_names_and_order_of_torch(net, tmp_path):
    """Parameters and statistics have the names, axes and values of the torch twin, and a note says so."""
    found = read(written(tmp_path, variables(net)))
    same(found.tensors, net)
    assert found.reader == "formats/flax"
    assert any("(out, in, …)" in note for note in found.content.notes)


def test_the_architecture_is_that_of_the_torch_twin(net, tmp_path):
    """The groups and actions are those that the code of the torch twin gives."""
    reader = NetworkReader(readers=plugins.readers(), activation="relu")
    found = reader.read(written(tmp_path, variables(net)))
    described = reader.describe(found.tensors, content=found.content)
    twin = Architecture.from_module(net, torch.rand(2, 3, 8, 8))
    assert [(each.size, each.actions) for each in described.groups] == [
        (each.size, each.actions) for each in twin.groups
    ]
    assert [each.size for each in described.groups] == [4, 6]


def test_parameters_without_a_collection_are_read(net, tmp_path):
    """Files of Hugging Face hold the parameters themselves, without the name of a collection."""
    found = read(written(tmp_path, variables(net)["params"]))
    wanted = {name: each for name, each in net.state_dict().items() if "running" not in name}
    assert found.tensors.keys() == {name for name in wanted if "tracked" not in name}
    assert torch.equal(found.tensors["Dense_0.weight"], net.Dense_0.weight)


@pytest.mark.parametrize("step", [7, np.int32(7), np.array(7)], ids=["number", "numpy", "array"])
def test_a_training_state_gives_the_step_and_no_optimiser(net, tmp_path, step):
    """A training state gives the network and the step. The state of the optimiser is noted and left out."""
    own = variables(net)
    state = {"step": step, "opt_state": {"0": {"mu": own["params"], "count": np.array(3)}}, **own}
    found = read(written(tmp_path, state, "checkpoint_7"))
    same(found.tensors, net)
    assert found.others["step"] == 7
    assert "'opt_state', the state of an optimiser, was left out" in found.content.notes


@pytest.mark.parametrize("around", ["params", "model", "target"])
def test_variables_inside_a_checkpoint_are_found(net, tmp_path, around):
    """The variables may be the parameters of a training state, or one entry of a checkpoint."""
    tree = {around: variables(net), "epoch": 3, **({"state": {}} if around == "target" else {})}
    found = read(written(tmp_path, tree))
    same(found.tensors, net)
    assert found.others["epoch"] == 3


def test_a_second_copy_is_chosen_with_its_key(net, tmp_path):
    """An average of the weights beside the weights is left out with a note, and its key selects it."""
    own = variables(net)
    path = written(tmp_path, {**own, "ema_params": {"Dense_0": {"kernel": np.ones((2, 3))}}})
    assert any("'ema_params' left out" in note for note in read(path).notes)
    assert read_state_dict(path, "ema_params", READERS).tensors["Dense_0.weight"].shape == (3, 2)


def test_bfloat16_is_read(tmp_path):
    """A bfloat16 array keeps its type and values."""
    wanted = torch.randn(3, 2).bfloat16()
    values = wanted.view(torch.int16).numpy()
    content = msgpack.packb({"w": msgpack.ExtType(1, msgpack.packb(array(values, "bfloat16")))})
    found = read(written(tmp_path, content)).tensors["w"]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted)


def test_an_array_in_chunks_is_joined(tmp_path):
    """An array of more than 1 GiB is stored in chunks, which are joined."""
    whole = np.arange(12.0).reshape(4, 3)
    chunks = {"0": whole.ravel()[:5], "1": whole.ravel()[5:10], "2": whole.ravel()[10:]}
    tree = {"w": {"__msgpack_chunked_array__": True, "shape": {"0": 4, "1": 3}, "chunks": chunks}}
    assert torch.equal(read(written(tmp_path, tree)).tensors["w"], torch.from_numpy(whole))


def test_layers_are_ordered_by_their_numbers(tmp_path):
    """Dense_2 is before Dense_10, though Flax stores them in the order of the letters."""
    tree = {"params": {f"Dense_{n}": {"bias": np.ones(1)} for n in (0, 1, 10, 2)}}
    names = [*read(written(tmp_path, tree)).tensors]
    assert names == [f"Dense_{n}.bias" for n in (0, 1, 2, 10)]


# -- which files are recognised ----------------------------------------------------------------------------


def test_only_files_of_flax_are_recognised(net, tmp_path):
    """Flax's first keys are recognised without an ending, and other maps only by the ending."""
    assert FlaxReader().recognises(Candidate(written(tmp_path, variables(net), "checkpoint_3")))
    assert FlaxReader().recognises(Candidate(written(tmp_path, {"a": 1})))
    assert not FlaxReader().recognises(Candidate(written(tmp_path, {"a": 1}, "net.bin")))
    torch.save({"step": torch.ones(2)}, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    assert not FlaxReader().recognises(Candidate(tmp_path / "legacy"))


def test_safetensors_of_flax_get_the_names_and_order_of_torch(net, tmp_path):
    """A safetensors file whose weights are named kernel is read with torch's names and order of axes."""
    flat = {
        f"{collection}.{name}.{last}": each.copy()
        for collection, own in variables(net).items()
        for name, layer in own.items()
        for last, each in layer.items()
    }
    save_file(flat, tmp_path / "net.safetensors")
    reader = NetworkReader(readers=plugins.readers(), activation="relu", trust_names=True)
    found = reader.read(tmp_path / "net.safetensors")
    assert found.reader == "formats/flax-safetensors"
    assert any("order" in note for note in found.notes)
    save_file({name: each.numpy() for name, each in net.state_dict().items()}, tmp_path / "torch.safetensors")
    own = reader.read(tmp_path / "torch.safetensors")
    assert own.reader == "sneframe/safetensors"
    same(found.tensors, net)


def test_a_shard_of_flax_is_left_to_the_reader_of_shards(net, tmp_path):
    """A shard is read with its other shards, not alone."""
    name = "net-00001-of-00001.safetensors"
    save_file({"Dense_0.kernel": np.ones((2, 3), np.float32)}, tmp_path / name)
    readers = plugins.readers()
    assert read_state_dict(tmp_path / name, readers=readers).reader == "sneframe/shards"


# -- what is refused ---------------------------------------------------------------------------------------

CHUNKED = {"__msgpack_chunked_array__": True, "shape": {"0": 9}, "chunks": {"0": np.ones(2)}}
FEW = packed({"params": {"w": np.ones(3)}})
DEEP = b"\x81\xa1a" * 100_000 + b"\x01"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (DEEP, "nested more than 64 levels deep"),
        (b"\x91" * 100_000 + b"\x01", "nested more than 64 levels deep"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "4294967295 bytes are declared, but 0 are left"),
        (b"\xdf\xff\xff\xff\xff", "bytes are declared, but 0 are left"),
        (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "4294967295 bytes are declared"),
        (b"\x81\xa1a\xc1", "byte 0xc1 begins no value"),
        (b"\x81\xa1\xff\x01", "a string is not UTF-8"),
        (b"\x81\x01\x01", "a key must be a string, but got the type int"),
        (b"\x82\xa1a\x01\xa1a\x01", "the key 'a' occurs twice"),
        (b"\x81\xa1a\xdd" + (MOST + 1).to_bytes(4, "big") + b"\x01" * (MOST + 1), "there are more than"),
        (FEW + b"\x01", "1 bytes follow"),
        (msgpack.packb({"w": msgpack.ExtType(9, b"a")}), "the extension type 9 is unknown"),
        (packed({"w": msgpack.ExtType(1, msgpack.packb([[2**40], "float32", b"1234"]))}), "takes"),
        (packed({"w": msgpack.ExtType(1, msgpack.packb([[0, 2**62], "float32", b""]))}), "too large"),
        (packed({"w": msgpack.ExtType(1, msgpack.packb([[-1, -4], "int8", b"1234"]))}), "list of sizes"),
        (packed({"w": msgpack.ExtType(1, msgpack.packb([[1], "object", b"12345678"]))}), "'object'"),
        (packed({"w": msgpack.ExtType(1, msgpack.packb(5))}), "shape, type and values"),
        (packed({"w": msgpack.ExtType(2, msgpack.packb(5))}), "two numbers"),
        (packed({"w": {"__msgpack_chunked_array__": True}}), "lacks its shape"),
        (packed({"w": CHUNKED}), "do not fit it"),
        (packed({"params": {"a": {"b": np.ones(1)}, "a.b": np.ones(1)}}), "occurs twice"),
        (packed({"params": {"w": np.ones(1)}, "batch_stats": {"w": np.ones(1)}}), "is both in"),
        (packed({"params": {"a" * 1001: np.ones(1)}}), "a key has 1001 characters"),
        (packed({"params": {"a" * 600: {"b" * 600: np.ones(1)}}}), "more than 1000 characters"),
        (packed({"params": {"w": np.float32(1)}}), "holds no named tensors"),
        (packed([np.ones(2)]), "holds no named arrays"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_hostile_file_gives_one_error(tmp_path, content, why):
    """A file that lies about sizes, nests too deep or is not Flax's gives one line in little memory."""
    path = written(tmp_path, content)
    tracemalloc.start()
    with pytest.raises(FileError) as error:
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert why in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).count(str(path)) == 1
    assert peak < 64 << 20


def test_every_truncated_file_is_refused(net, tmp_path):
    """A file that is cut off anywhere gives one error that begins with its path."""
    whole = packed(variables(net))
    for size in range(1, len(whole)):
        path = written(tmp_path, whole[:size])
        with pytest.raises(FileError, match="damaged") as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")


def test_changed_bytes_raise_nothing_but_file_errors(tmp_path):
    """Whatever one byte of a file is changed to, it is read or gives a FileError."""
    whole = packed({"params": {"Dense_0": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}}, "step": 3})
    for place in range(len(whole)):
        for value in (0x00, 0x80, 0x81, 0x90, 0xC1, 0xC9, 0xD4, 0xDD, 0xDF, 0xFF):
            path = written(tmp_path, whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                FlaxReader().read(path)
            except FileError as error:
                assert str(error).startswith(f"{path}: ")  # noqa: PT017

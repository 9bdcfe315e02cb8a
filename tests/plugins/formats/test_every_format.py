"""One network, saved in every format by the library of the format, has one embedding."""

import argparse
import io
import json
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sneframe
from sneframe import plugins
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo import import_zoo, open_zoo

SIZES = (4, 8, 3)
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # keras with torch
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:]))


def arrays(net):
    return {name: value.detach().numpy() for name, value in net.state_dict().items()}


def torch_files(net, folder):
    state = net.state_dict()
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": v for n, v in state.items()}}, folder / "a.pth.tar")
    lightning = {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "hyper_parameters": {"settings": argparse.Namespace(lr=0.1)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(8, 4)}}, "param_groups": []}],
    }
    torch.save(lightning, folder / "lightning.ckpt")
    torch.jit.save(torch.jit.script(net), folder / "scripted.jit")
    save_file(state, folder / "plain.safetensors")


def folders(net, folder):
    state = net.state_dict()
    (folder / "hub").mkdir()
    save_file(state, folder / "hub" / "model.safetensors")
    torch.save(state, folder / "hub" / "pytorch_model.bin")
    (folder / "hub" / "config.json").write_text("{}")
    names = list(state)
    for number, own in enumerate((names[:1], names[1:]), 1):
        save_file({n: state[n] for n in own}, folder / f"shards-0000{number}-of-00002.safetensors")


def stable_baselines(net, folder):
    policy = io.BytesIO()
    torch.save(net.state_dict(), policy)
    with zipfile.ZipFile(folder / "agent.zip", "w") as archive:
        archive.writestr("data", json.dumps({}))
        archive.writestr("policy.pth", policy.getvalue())


def numpy_files(net, folder):
    np.savez(folder / "arrays.npz", **arrays(net))
    (folder / "parts").mkdir()
    for name, value in arrays(net).items():
        np.save(folder / "parts" / f"{name}.npy", value)


def onnx(net, folder):
    pytest.importorskip("onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter of old is quick, and deprecated
        torch.onnx.export(net, (torch.zeros(1, SIZES[0]),), folder / "graph.onnx", dynamo=False)


def keras(net, folder, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    library = pytest.importorskip("keras")
    layers = library.layers
    model = library.Sequential(
        [layers.Input((SIZES[0],)), layers.Dense(SIZES[1], "relu"), layers.Dense(SIZES[2])]
    )
    own = arrays(net)
    model.set_weights([own["0.weight"].T, own["0.bias"], own["2.weight"].T, own["2.bias"]])
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")


def flax(net, folder):
    packed = pytest.importorskip("flax_writer").packed
    own = arrays(net)
    params = {
        f"Dense_{number}": {"kernel": own[f"{layer}.weight"].T.copy(), "bias": own[f"{layer}.bias"]}
        for number, layer in enumerate((0, 2))
    }
    (folder / "flax.msgpack").write_bytes(packed({"params": params}))


def gguf(net, folder):
    library = pytest.importorskip("gguf")
    writer = library.GGUFWriter(folder / "model.gguf", "own")
    for name, value in arrays(net).items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tflite(net, folder):
    module = pytest.importorskip("tflite_writer")
    writer, own = module.Writer(), arrays(net)
    x = source = writer.tensor((1, SIZES[0]))
    for layer, size, activation in ((0, SIZES[1], 1), (2, SIZES[2], 0)):  # 1 is ReLU, and 0 is none
        constants = [writer.tensor((), own[f"{layer}.{name}"]) for name in ("weight", "bias")]
        options = {"FusedActivationFunction": activation}
        result = writer.tensor((1, size))
        x = writer.operator("FULLY_CONNECTED", [x, *constants], result, "FullyConnectedOptions", **options)
    writer.save(folder / "model.tflite", source, x)


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo of one network in every format."""
    net, folder = network(), tmp_path / "every"
    folder.mkdir()
    for write in (torch_files, folders, stable_baselines, numpy_files, onnx, flax, gguf, tflite):
        write(net, folder)
    keras(net, folder, monkeypatch)
    importer = plugins.load(["importers"]).importer("importers/files")
    config = importer.config(activation="relu", trust_names=True)
    done = import_zoo(importer, config, folder, tmp_path / "z.zarr", lambda *_: None)
    assert {each.source: each.reason for each in done.skipped} == {
        "hub/pytorch_model.bin": "holds the same network as model.safetensors, which is read"
    }
    return open_zoo(tmp_path / "z.zarr")


def test_one_network_has_one_embedding_in_every_format(zoo):
    """The embedding is equal to 1e-6 of its size for every format, by SNE with chunks and by messages."""
    assert len(zoo) == 18
    batch = zoo.load()
    for recipe in ("sne", "sne/message", "stats"):
        torch.manual_seed(0)
        encoder = sneframe.encoder(recipe, batch).eval()
        with torch.no_grad():
            values = encoder(batch)
        assert values.abs().max() > 1e-3
        for source, own in zip(zoo.sources, values, strict=True):
            assert (own - values[0]).abs().max() <= 1e-6 * values.abs().max(), (recipe, source)


def test_the_symmetry_of_a_graph_is_verified(zoo):
    """Formats with a computation have the groups of the network, verified by running it."""
    reader = NetworkReader(readers=plugins.readers())
    for name in ("graph.onnx", "model.keras", "model.h5", "model.tflite"):
        found = reader.read(zoo.path.parent / "every" / name)
        architecture = reader.describe(found.tensors, content=found.content)
        assert architecture.symmetry == "verified", name
        assert [(group.size, group.actions) for group in architecture.groups] == [(8, ("permute", "scale"))]

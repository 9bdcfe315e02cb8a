"""Reading the files of tf.keras, and other HDF5 files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sneframe_formats.keras_reader import KerasReader

from sneframe.errors import FileError

h5py = pytest.importorskip("h5py")
computed = pytest.importorskip("keras_files").computed


# -- files of tf.keras ------------------------------------------------------------------------------------


def old_file(path: Path, config: Mapping[str, Any] | None, weights: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a file as tf.keras does: a layer's name, and its weights by name."""
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.11.0"
            root = file.create_group("model_weights")
        root.attrs["backend"] = "tensorflow"
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, own in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [each.encode() for each in own]
            for each, value in own.items():
                group[each] = value
    return path


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def test_functional_models_of_old_keras_are_computed(tmp_path: Path) -> None:
    """A model that tf.keras saved, with a model in it, is computed from its config."""

    def entry(name: str) -> dict[str, Any]:
        own = {"batch_input_shape": [None, 4], "dtype": "float32", "name": name}
        return {"class_name": "InputLayer", "config": own, "name": name, "inbound_nodes": []}

    def dense(name: str, units: int, *nodes: Any) -> dict[str, Any]:
        own = {"name": name, "units": units, "activation": "relu", "use_bias": True}
        return {"class_name": "Dense", "config": own, "name": name, "inbound_nodes": list(nodes)}

    inner = {"name": "inner", "layers": [entry("start"), dense("d1", 4)]}
    add = {"class_name": "Add", "config": {"name": "add"}, "name": "add"}
    config = {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "layers": [
                entry("x"),
                dense("d1", 4, [["x", 0, 0, {}]]),
                {
                    "class_name": "Sequential",
                    "config": inner,
                    "name": "inner",
                    "inbound_nodes": [[["d1", 0, 0, {}]]],
                },
                {**add, "inbound_nodes": [[["d1", 0, 0, {}], ["inner", 1, 0, {}]]]},
            ],
            "input_layers": [["x", 0, 0]],
            "output_layers": [["add", 0, 0]],
        },
    }
    a, b, c, d = numbers(4, 4), numbers(4), numbers(4, 4) * 2, numbers(4) * 2
    weights = {
        "x": {},
        "d1": {"d1/kernel:0": a, "d1/bias:0": b},
        "inner": {"d1/kernel:0": c, "d1/bias:0": d},
        "add": {},
    }
    content = KerasReader().read(old_file(tmp_path / "old.h5", config, weights))
    x = numbers(3, 4)
    hidden = np.maximum(x @ a + b, 0)
    wanted = hidden + np.maximum(hidden @ c + d, 0)
    np.testing.assert_allclose(computed(content, [x]), wanted, rtol=1e-5, atol=1e-5)
    assert list(content.values) == ["d1.weight", "d1.bias", "inner.d1.weight", "inner.d1.bias"]


def test_weights_of_hugging_face_have_torch_names(tmp_path: Path) -> None:
    """The file tf_model.h5 has the names of pytorch_model.bin, behind a common prefix."""
    stem = "tf_bert/bert/encoder/layer_._0/output"
    own = {
        f"{stem}/dense/kernel:0": numbers(3, 5),
        f"{stem}/dense/bias:0": numbers(5),
        f"{stem}/LayerNorm/gamma:0": numbers(5),
        f"{stem}/LayerNorm/beta:0": numbers(5),
        "tf_bert/bert/embeddings/word_embeddings/weight:0": numbers(7, 5),
    }
    content = KerasReader().read(old_file(tmp_path / "tf_model.h5", None, {"bert": own, "dropout": {}}))
    shapes = {name.removeprefix("bert."): tuple(value.shape) for name, value in content.values.items()}
    assert shapes["encoder.layer.0.output.dense.weight"] == (5, 3)
    assert shapes["encoder.layer.0.output.LayerNorm.weight"] == (5,)
    assert shapes["embeddings.word_embeddings.weight"] == (7, 5)


def test_hard_sigmoid_of_old_keras_is_unknown(tmp_path: Path) -> None:
    """The hard sigmoid of Keras 2 is another function, so that no module is built."""
    layer = {
        "class_name": "Dense",
        "config": {"name": "d", "batch_input_shape": [None, 4], "activation": "hard_sigmoid"},
    }
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    weights = {"d": {"d/kernel:0": numbers(4, 2), "d/bias:0": numbers(2)}}
    content = KerasReader().read(old_file(tmp_path / "old.h5", config, weights))
    assert content.module is None
    assert any("hard_sigmoid" in note for note in content.notes)


# -- other HDF5 files -------------------------------------------------------------------------------------


def test_named_datasets_are_tensors(tmp_path: Path) -> None:
    """An HDF5 file with torch's names is read as it is, packed or not, in any byte order."""
    values = {"net.0.weight": numbers(5, 3), "net.0.bias": numbers(5)}
    with h5py.File(tmp_path / "plain.hdf5", "w") as file:
        file.create_dataset(
            "net.0.weight",
            data=values["net.0.weight"],
            chunks=(2, 2),
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )
        file.create_dataset("net.0.bias", data=values["net.0.bias"].astype(">f8"))
        file.attrs["note"] = "trained"
        file["text"] = "a text"
    content = KerasReader().read(tmp_path / "plain.hdf5")
    assert content.values.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(content.values[name].numpy(), value)
    assert content.notes == ("'text' holds no numbers of a known type and was left out",)


def test_groups_are_parts_of_names(tmp_path: Path) -> None:
    """The groups of a dataset become parts of its name, and kernels are turned into torch's order."""
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        file["net/dense/kernel"] = numbers(3, 5)
        file["net/dense/bias"] = numbers(5)
    values = KerasReader().read(tmp_path / "groups.h5").values
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "net.dense.weight": (5, 3),
        "net.dense.bias": (5,),
    }


def test_parts_of_a_sharded_network_are_refused(tmp_path: Path) -> None:
    """One part of a network is not taken for the network."""
    with h5py.File(tmp_path / "net_00000.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = numbers(3, 5)
    KerasReader().read(tmp_path / "net_00000.weights.h5")
    (tmp_path / "net.weights.json").write_text("{}")
    with pytest.raises(FileError, match="max_shard_size"):
        KerasReader().read(tmp_path / "net_00000.weights.h5")


def test_weights_of_own_models_are_named(tmp_path: Path) -> None:
    """Layers of a user's model have the names that the file says, and kinds by their shapes."""
    with h5py.File(tmp_path / "own.weights.h5", "w") as file:
        file["encoder/vars/0"] = np.zeros((3, 5), "float32")
        file["encoder/vars/1"] = np.zeros(5, "float32")
        file["encoder/vars"].attrs["name"] = "first"
        file["optimizer/vars/0"] = np.zeros(5, "float32")
    content = KerasReader().read(tmp_path / "own.weights.h5")
    assert {name: tuple(v.shape) for name, v in content.values.items()} == {
        "first.weight": (5, 3),
        "first.bias": (5,),
    }
    assert any("'encoder'" in note for note in content.notes)

"""Files of Keras and HDF5 files that were made to do harm, or are damaged."""

from __future__ import annotations

import json
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sneframe_formats.keras_reader import KerasReader

import sneframe.plugins
from sneframe.files.network_reader import NetworkReader
from sneframe.files.reader import Content

h5py = pytest.importorskip("h5py")
keras_files = pytest.importorskip("keras_files")  # it needs h5py
refused, weights = keras_files.refused, keras_files.weights
READER = KerasReader()
ENTRIES = ("config.json", "model.weights.h5")


@contextmanager
def file_at(path: Path) -> Iterator[Any]:
    with h5py.File(path, "w") as file:
        file["layer/weight"] = np.ones((3, 2), "float32")
        yield file


def archive(
    path: Path, config: str | bytes, content: bytes | None = None, packed: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", packed) as file:
        file.writestr(ENTRIES[0], config)
        file.writestr(ENTRIES[1], weights((3, 4), (4, 2)) if content is None else content)
    return path


def dense(name: str, **settings: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": "Dense", "config": {"name": name, **settings}}


def model(*layers: dict[str, Any], shape: Any = (None, 3)) -> dict[str, Any]:
    entry = {"class_name": "InputLayer", "config": {"batch_shape": list(shape), "name": "entry"}}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "net", "layers": [entry, *layers]},
    }


def read(path: Path, config: dict[str, Any], content: bytes | None = None) -> Content:
    return READER.read(archive(path, json.dumps(config), content))


@contextmanager
def little_memory() -> Iterator[None]:
    """Check that Python and NumPy take less than 64 MiB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("end", [".h5", ".keras"])
def test_truncated_files_are_refused(end: str, tmp_path: Path) -> None:
    """A file that ends too early is refused, wherever it ends."""
    whole = tmp_path / f"whole{end}"
    if end == ".keras":
        archive(whole, json.dumps(model(dense("a"), dense("b"))))
    else:
        whole.write_bytes(weights((3, 4), (4, 2)))
    content = whole.read_bytes()
    for length in range(8, len(content) - 1, max(1, len(content) // 150)):
        path = tmp_path / f"short{end}"
        path.write_bytes(content[:length])
        refused(path, "damaged|Keras archive")


# -- archives and configs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES)
def test_zip_bombs_are_refused(entry: str, tmp_path: Path) -> None:
    """An entry that would grow far more than weights do is not unpacked."""
    bomb = bytes(1 << 27)
    config, content = (bomb, None) if entry == ENTRIES[0] else (json.dumps(model(dense("a"))), bomb)
    path = archive(tmp_path / "bad.keras", config, content, zipfile.ZIP_DEFLATED)
    del bomb, config, content
    with little_memory():
        refused(path, "would grow")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"class_name":' * 100_000, "nested too deep"),
        ('{"a": 1', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[1]", "does not describe a Keras model"),
        ("{}", "does not describe a Keras model"),
        ("9" * 5000, "not JSON"),
        (" " * (1 << 25), "has 33554432 bytes"),
        ('{"class_name": "Sequential", "config": 3}', "no layers"),
    ],
)
def test_damaged_configs_are_refused(config: str | bytes, match: str, tmp_path: Path) -> None:
    """A config that is no config of a model is refused, however deep it is nested."""
    refused(archive(tmp_path / "bad.keras", config), match)


def test_models_nested_too_deep_are_refused(tmp_path: Path) -> None:
    """A model in a model, hundreds of times, is refused."""
    config = model(dense("a"))
    for _ in range(200):
        config = model({**config})
    refused(archive(tmp_path / "bad.keras", json.dumps(config)), "nested in each other")


def test_names_of_code_are_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules and functions that a config names are not imported, and a note says what is not known."""
    (tmp_path / "canary_of_keras.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    for layer in (
        {"module": "canary_of_keras", "class_name": "Dense", "config": {"name": "b"}},
        {"module": "keras.layers", "class_name": "canary_of_keras.Own", "config": {"name": "b"}},
        {**dense("b"), "registered_name": "canary_of_keras>Dense"},
        dense("b", activation={"module": "canary_of_keras", "class_name": "function", "config": "run"}),
        dense("b", activation="canary_of_keras.run"),
        {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "b", "function": code}},
        {"module": "builtins", "class_name": "eval", "config": {"name": "b"}},
    ):
        content = read(tmp_path / "bad.keras", model(dense("a"), layer))
        assert content.module is None
        assert not content.guess
        assert any("not known" in note for note in content.notes)
    found = read(tmp_path / "bad.keras", {**model(dense("a"), dense("b")), "module": "canary_of_keras"})
    assert found.module is None
    assert "canary_of_keras" not in sys.modules


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "ZeroPadding2D", "config": {"name": "x", "padding": 4096}},
        {"class_name": "ZeroPadding2D", "config": {"name": "x", "padding": 10**9}},
        {"class_name": "ZeroPadding2D", "config": {"name": "x", "padding": [[1], "a"]}},
        {"class_name": "UpSampling2D", "config": {"name": "x", "size": [4096, 4096]}},
        {"class_name": "UpSampling2D", "config": {"name": "x", "size": [True, -1]}},
        {"class_name": "MaxPooling2D", "config": {"name": "x", "pool_size": 4096, "padding": "same"}},
        {"class_name": "MaxPooling2D", "config": {"name": "x", "pool_size": 10**400}},
        {"class_name": "Reshape", "config": {"name": "x", "target_shape": [1 << 24, 1 << 24]}},
        {"class_name": "Permute", "config": {"name": "x", "dims": [1, 1, 2]}},
        {"class_name": "Rescaling", "config": {"name": "x", "scale": float("nan")}},
        {"class_name": "Concatenate", "config": {"name": "x", "axis": 10**9}},
        {"class_name": "Flatten", "config": {"name": "x", "data_format": "channels_first"}},
        {"class_name": ["Dense"], "config": {"name": {"x": 1}}},
    ],
)
def test_settings_that_do_harm_have_no_module(layer: dict[str, Any], tmp_path: Path) -> None:
    """Settings that are no settings, or would take much memory, leave the computation unknown."""
    config = model(layer, dense("a"), dense("b"), shape=(None, 16, 16, 3))
    with little_memory():
        content = read(tmp_path / "bad.keras", config)
    assert content.module is None
    assert not content.guess


def functional(*layers: dict[str, Any], inputs: Any = None, outputs: Any = None) -> dict[str, Any]:
    entry = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "name": "entry"}}
    config = {
        "layers": [{**entry, "inbound_nodes": []}, *layers],
        "input_layers": [["entry", 0, 0]] if inputs is None else inputs,
        "output_layers": [["b", 0, 0]] if outputs is None else outputs,
    }
    return {"class_name": "Functional", "config": config}


def called(name: str, *sources: Any) -> dict[str, Any]:
    return {**dense(name), "inbound_nodes": [[[source, 0, 0, {}] for source in sources]]}


@pytest.mark.parametrize(
    "config",
    [
        functional(called("a", "b"), called("b", "a")),
        functional(called("a", "a"), called("b", "a")),
        functional(called("a", "missing"), called("b", "a")),
        functional(called("a", "entry"), called("b", "a"), outputs=[["b", 7, 9]]),
        functional(called("a", "entry"), called("b", "a"), outputs="b"),
        functional(called("a", "entry"), called("b", "a"), inputs={"entry": 1}),
        functional(called("a", "entry"), {**dense("b"), "inbound_nodes": [{"args": [{"x": 1}]}]}),
        functional(called("a", "entry"), {**dense("b"), "inbound_nodes": ["a", 3]}),
        functional(
            called("a", "entry"), {**dense("b"), "inbound_nodes": [[["a", 0, 0, {"training": True}]]]}
        ),
        model(dense("a"), dense("b"), shape=(None, 1 << 40)),
        model(dense("a"), dense("b"), shape=(None, "3")),
        model(dense("a"), dense("b"), shape=(None, 5)),
        model(dense("a"), dense("b", use_bias=False)),
        model(dense("a"), dense("b"), dense("c")),
    ],
)
def test_graphs_that_do_not_fit_have_no_module(config: dict[str, Any], tmp_path: Path) -> None:
    """A graph with a cycle, a missing call or other shapes leaves the computation unknown."""
    content = read(tmp_path / "bad.keras", config)
    assert content.module is None
    assert not content.guess
    assert any("is not known" in note for note in content.notes)
    assert len(content.values) == 4


def test_graphs_that_double_are_not_followed(tmp_path: Path) -> None:
    """Models that call each other twice on each level do not become millions of calls."""
    entry = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "name": "entry"}}
    config: dict[str, Any] = dense("a")
    own: dict[str, Any] = {}
    for number in range(25):
        name = f"m{number}"
        nodes = [[["entry", 0, 0, {}]], [[config["config"]["name"], 0, 0, {}]]]
        own = {
            "name": name,
            "layers": [{**entry, "inbound_nodes": []}, {**config, "inbound_nodes": nodes}],
            "input_layers": [["entry", 0, 0]],
            "output_layers": [[config["config"]["name"], 1, 0]],
        }
        config = {"class_name": "Functional", "config": own}
    own["layers"].append({**dense("top"), "inbound_nodes": []})
    content = read(tmp_path / "bad.keras", config)
    assert content.module is None
    assert "more than 20000 calls" in content.notes[-1]


def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    """A config with two layers of the same name is refused, because their weights cannot be told apart."""
    refused(archive(tmp_path / "bad.keras", json.dumps(model(dense("a"), dense("a")))), "the name 'a'")


def test_layers_with_names_of_torch_are_renamed(tmp_path: Path) -> None:
    """A layer with the name of a method of torch's modules gets another name, and is computed."""
    content = read(tmp_path / "odd.keras", model(dense("forward"), dense("a.b/c")))
    assert next(iter(content.values)) == "forward_.weight"
    assert content.module is not None
    reader = NetworkReader(readers=sneframe.plugins.readers())
    found = reader.read(tmp_path / "odd.keras")
    assert [each.size for each in reader.describe(found.tensors, content=found.content).groups] == [4]


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    """A kernel of integers is refused, because the network would lack its weights."""
    with h5py.File(tmp_path / "bad.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 4), "int8")
        file["layers/dense/vars/1"] = np.ones(4, "float32")
        file["layers/dense/vars/2"] = np.ones(4, "float32")
    refused(tmp_path / "bad.weights.h5", "type int8; quantised")


@pytest.mark.parametrize(
    "metadata", ["[" * 100_000, "{", "[]", '{"keras_version": 3}', '{"keras_version": "2.15.0"}']
)
def test_archives_of_unknown_versions(metadata: str, tmp_path: Path) -> None:
    """An archive that does not say that Keras 3 wrote it has no module if that makes a difference."""
    path = archive(tmp_path / "a.keras", json.dumps(model(dense("a", activation="hard_sigmoid"), dense("b"))))
    assert READER.read(path).module is None
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("metadata.json", metadata)
    assert READER.read(path).module is None


def test_missing_entries_are_named(tmp_path: Path) -> None:
    """A zip archive without the entries of a Keras archive is refused."""
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as file:
        file.writestr("other", "x")
    refused(tmp_path / "bad.keras", "config.json is missing")


def test_listed_weights_must_exist(tmp_path: Path) -> None:
    """Weights that an attribute lists and the file does not hold are named."""
    with file_at(tmp_path / "bad.h5") as file:
        file.attrs["layer_names"] = [b"layer"]
        file["layer"].attrs["weight_names"] = [b"layer/kernel:0"]
    refused(tmp_path / "bad.h5", "no such dataset")


def test_listed_paths_do_not_leave_the_group(tmp_path: Path) -> None:
    """A name with dots for the folder above finds nothing."""
    with file_at(tmp_path / "bad.h5") as file:
        file.attrs["layer_names"] = [b".."]
        file["layer"].attrs["weight_names"] = [b"../weight"]
    refused(tmp_path / "bad.h5", "holds no")


def test_keras_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading does not need Keras."""
    for name in ("keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    assert read(tmp_path / "net.keras", model(dense("a"), dense("b"))).module is not None

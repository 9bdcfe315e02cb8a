"""Small zoos, and a reader written from the page of the format, without zarr and without sneframe."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.zoo import create


def make_architecture(shapes: dict[str, tuple[int, ...]]) -> Architecture:
    layers = [
        Layer(kind="linear", parameters=[Parameter(name=name, shape=shape)]) for name, shape in shapes.items()
    ]
    return Architecture(layers=layers)


def make_weights(architecture: Architecture, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {p.name: rng.standard_normal((n, *p.shape)).astype(np.float32) for p in architecture.parameters}


@pytest.fixture
def architecture() -> Architecture:
    return make_architecture({"0.weight": (3, 2), "0.bias": (3,)})


@pytest.fixture
def other() -> Architecture:
    return make_architecture({"a/b": (2, 2, 2), "scale": ()})


@pytest.fixture
def make() -> Callable[..., Architecture]:
    return make_architecture


@pytest.fixture
def weights() -> Callable[..., dict[str, np.ndarray]]:
    return make_weights


@pytest.fixture
def small(tmp_path: Path, architecture: Architecture, other: Architecture) -> Path:
    """Return a zoo of ten networks of two architectures, the last unhealthy, with every kind of property."""
    path = tmp_path / "small.zarr"
    with create(
        path, name="small", licence="CC0-1.0", builder={"name": "test", "version": "1", "seed": 3}
    ) as zoo:
        zoo.append(
            architecture,
            make_weights(architecture, 6),
            {"step": [0, 1, 2, 3, 4, 5], "accuracy": np.linspace(0, 1, 6), "act": ["relu", "tanh"] * 3},
            group=["a", "a", "b", "b", "c", "d"],
        )
        broken = make_weights(other, 4, seed=1)
        broken["scale"][3] = np.nan
        zoo.append(
            other, broken, {"accuracy": [0.5, None, 0.25, 0.75], "big": [True, False, True, True]}, group="e"
        )
        zoo.split("default", [0, 0, 0, 0, 1, 2, -1, -1, -1, -1])
    return path


# -- a reader that follows the specification ---------------------------------------------------------------


def spec_array(root: Path, path: str) -> np.ndarray:
    meta = json.loads((root / path / "zarr.json").read_text())
    shape, chunks = meta["shape"], meta["chunk_grid"]["configuration"]["chunk_shape"]
    text = meta["data_type"] == "string"
    out = np.empty(shape, dtype=object if text else meta["data_type"])
    for index in itertools.product(*(range(math.ceil(s / c)) for s, c in zip(shape, chunks, strict=True))):
        data = (root / path / "c" / "/".join(map(str, index))).read_bytes()
        data, checksum = data[:-4], int.from_bytes(data[-4:], "little")
        assert google_crc32c.value(data) == checksum
        raw = numcodecs.Blosc().decode(data)
        values = _strings(raw) if text else np.frombuffer(raw, np.dtype(meta["data_type"]).newbyteorder("<"))
        block = tuple(slice(i * c, min((i + 1) * c, s)) for i, c, s in zip(index, chunks, shape, strict=True))
        out[block] = values.reshape(chunks)[tuple(slice(0, b.stop - b.start) for b in block)]
    return out


def _strings(raw: bytes) -> np.ndarray:
    count, at, found = int.from_bytes(raw[:4], "little"), 4, []
    for _ in range(count):
        size = int.from_bytes(raw[at : at + 4], "little")
        found.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return np.array(found, dtype=object)


def spec_digest(root: Path) -> str:
    attributes = json.loads((root / "zarr.json").read_text())["attributes"]
    arrays: dict[str, Any] = {}
    for path, record in attributes["arrays"].items():
        values = spec_array(root, path)
        if record["dtype"] == "string":
            content = b"".join(len(t.encode()).to_bytes(8, "little") + t.encode() for t in values)
        else:
            content = np.ascontiguousarray(values).tobytes()
        digest = hashlib.sha256(content).hexdigest()
        assert digest == record["sha256"]
        arrays[path] = {"dtype": record["dtype"], "shape": record["shape"], "sha256": digest}
    content = {"architectures": [entry["id"] for entry in attributes["architectures"]], "arrays": arrays}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@pytest.fixture
def by_specification() -> Callable[[Path, str], np.ndarray]:
    return spec_array


@pytest.fixture
def digest_by_specification() -> Callable[[Path], str]:
    return spec_digest


@pytest.fixture
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
        file = root / "zarr.json"
        content = json.loads(file.read_text())
        change(content["attributes"])
        file.write_text(json.dumps(content))

    return edit

"""HDF5 files that were made to do harm, or are damaged."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sneframe_formats.keras_reader import KerasReader

from sneframe.errors import FileError

h5py = pytest.importorskip("h5py")
keras_files = pytest.importorskip("keras_files")  # it needs h5py
refused, weights = keras_files.refused, keras_files.weights
READER = KerasReader()


@contextmanager
def file_at(path: Path) -> Iterator[Any]:
    with h5py.File(path, "w") as file:
        file["layer/weight"] = np.ones((3, 2), "float32")
        yield file


@contextmanager
def little_memory() -> Iterator[None]:
    """Check that Python and NumPy take less than 64 MiB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()


# -- structure of HDF5 ------------------------------------------------------------------------------------


def test_external_links_are_not_followed(tmp_path: Path) -> None:
    """A link to another file is refused, even if the other file exists."""
    with file_at(tmp_path / "secret.h5"):
        pass
    with file_at(tmp_path / "bad.h5") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "/layer")
    refused(tmp_path / "bad.h5", "'out' is a link")


def test_external_storage_is_not_opened(tmp_path: Path) -> None:
    """A dataset whose values are the bytes of another file is refused."""
    (tmp_path / "secret").write_bytes(b"secret" * 10)
    with file_at(tmp_path / "bad.h5") as file:
        file.create_dataset("out", (4,), "float32", external=[(str(tmp_path / "secret"), 0, 16)])
    refused(tmp_path / "bad.h5", "other files")


def test_virtual_datasets_are_not_opened(tmp_path: Path) -> None:
    """A dataset that is put together from datasets of other files is refused."""
    with file_at(tmp_path / "secret.h5"):
        pass
    with file_at(tmp_path / "bad.h5") as file:
        layout = h5py.VirtualLayout((3, 2), "float32")
        layout[:] = h5py.VirtualSource("secret.h5", "layer/weight", (3, 2))
        file.create_virtual_dataset("out", layout)
    refused(tmp_path / "bad.h5", "other files")


def test_cycles_of_soft_links_are_refused(tmp_path: Path) -> None:
    """Soft links that form a cycle are refused."""
    with file_at(tmp_path / "bad.h5") as file:
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
    refused(tmp_path / "bad.h5", "is a link")


def test_cycles_of_groups_are_refused(tmp_path: Path) -> None:
    """A group that holds itself is refused."""
    with file_at(tmp_path / "bad.h5") as file:
        file["layer/again"] = file["layer"]
    refused(tmp_path / "bad.h5", "several groups")


def test_deep_groups_are_refused(tmp_path: Path) -> None:
    """Groups that are nested deeper than any network are refused."""
    with file_at(tmp_path / "bad.h5") as file:
        file.create_group("/".join("a" * 200))
    refused(tmp_path / "bad.h5", "nested")


def test_object_references_are_not_followed(tmp_path: Path) -> None:
    """Datasets of references and of compound types are left out, with a note."""
    with file_at(tmp_path / "bad.h5") as file:
        file.create_dataset("refs", data=[file["layer"].ref], dtype=h5py.ref_dtype)
        file.create_dataset("regions", (2,), h5py.regionref_dtype)
        file.create_dataset("table", (2,), [("a", "f4"), ("b", "i4")])
    content = READER.read(tmp_path / "bad.h5")
    assert list(content.values) == ["layer.weight"]
    assert "'refs' holds no numbers" in content.notes[0] or "2 more" in content.notes[0]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"shape": (1 << 40,), "chunks": (1 << 10,)}, "would take"),
        ({"shape": (1 << 20,), "chunks": (1 << 10,)}, "never written"),
        ({"shape": (1 << 20,)}, "never written"),
        ({"shape": (4,), "maxshape": (None,), "chunks": (1 << 28,), "compression": "gzip"}, "would take"),
        ({"shape": (1 << 15, 1 << 15), "chunks": (1, 1)}, "would take"),
        ({"shape": (1 << 11, 1 << 11), "chunks": (1, 1)}, "chunks"),
    ],
)
def test_values_that_are_not_in_the_file(settings: dict[str, Any], match: str, tmp_path: Path) -> None:
    """A dataset that declares values which the file does not hold is refused, without memory for them."""
    with file_at(tmp_path / "bad.h5") as file:
        file.create_dataset("out", dtype="float32", **settings)
    with little_memory():
        refused(tmp_path / "bad.h5", match)


def test_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    """Zeros that are packed far better than weights are refused."""
    with file_at(tmp_path / "bad.h5") as file:
        out = file.create_dataset("out", (1 << 25,), "float32", chunks=(1 << 20,), compression="gzip")
        for start in range(0, 1 << 25, 1 << 20):
            out[start : start + (1 << 20)] = 0
    with little_memory():
        refused(tmp_path / "bad.h5", "would take")


def test_a_chunk_that_grows_is_refused(tmp_path: Path) -> None:
    """A chunk that unpacks to more bytes than it declares is refused before it is unpacked."""
    with file_at(tmp_path / "bad.h5") as file:
        out = file.create_dataset("out", (256,), "float32", chunks=(256,), compression="gzip")
        out.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 28), 9))
    with little_memory():
        refused(tmp_path / "bad.h5", "must have 1024 bytes, but got")


def test_unknown_filters_are_refused(tmp_path: Path) -> None:
    """A packing that is not undone here is named, and nothing is loaded to undo it."""
    with file_at(tmp_path / "bad.h5") as file:
        file.create_dataset("out", data=np.zeros(99), compression="lzf")
    refused(tmp_path / "bad.h5", "'lzf'; write the file again")


def test_attributes_of_repeated_strings(tmp_path: Path) -> None:
    """An attribute with many strings, which may all be one long string of the file, is refused."""
    with file_at(tmp_path / "bad.h5") as file:
        file.attrs["model_config"] = "x" * 200_000
        file.attrs.create("layer_names", ["a"] * 4000, dtype=h5py.string_dtype())
    refused(tmp_path / "bad.h5", "'layer_names' could take")


def test_changed_bytes_raise_file_errors_only(tmp_path: Path) -> None:
    """A file with changed bytes is read or refused, and raises nothing else."""
    content = weights((3, 4), (4, 2))
    generator = np.random.default_rng(0)
    path = tmp_path / "changed.weights.h5"
    for _ in range(300):
        changed = bytearray(content)
        for at in generator.integers(8, len(content), 3):
            changed[at] = int(generator.choice([0, 1, 127, 255, changed[at] ^ 4]))
        path.write_bytes(changed)
        try:
            READER.read(path)
        except FileError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017

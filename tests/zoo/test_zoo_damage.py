"""Damaged zoos: every kind of damage is found, and the error names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.zoo import create, open_zoo

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


@pytest.fixture
def chunked(tmp_path: Path, make: Callable[..., Architecture]) -> tuple[Path, Path]:
    """Return a zoo with one large parameter in three chunks of two networks, and the folder of the chunks."""
    architecture = make({"w": (2, 250, 1024), "b": (3,)})  # just below 2 MiB a network
    rng = np.random.default_rng(0)
    with create(tmp_path / "z.zarr", name="z") as writer:
        given = {"w": rng.standard_normal((5, 2, 250, 1024)).astype("f4"), "b": np.zeros((5, 3), "f4")}
        writer.append(architecture, given, {"loss": np.arange(5.0)})
    return tmp_path / "z.zarr", tmp_path / "z.zarr" / "architectures" / architecture.id / "w" / "c"


def flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x10
    file.write_bytes(data)


def both_refuse(path: Path, file: Path, message: str) -> None:
    """Check that loading and verifying both name the file."""
    zoo = open_zoo(path)
    for read in (zoo.load, zoo.verify):
        with pytest.raises(ZooError) as caught:
            read()
        assert str(caught.value).startswith(f"{file}: ")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_deleted_chunk_is_named(chunked: tuple[Path, Path]) -> None:
    """A deleted chunk raises; it is never read as the fill value."""
    path, folder = chunked
    (folder / "1/0/0/0").unlink()
    both_refuse(path, folder / "1/0/0/0", "missing")


def test_a_deleted_array_is_named(chunked: tuple[Path, Path]) -> None:
    """Deleting the folder of an array raises an error that names it."""
    import shutil

    path, folder = chunked
    shutil.rmtree(folder.parent)
    with pytest.raises(ZooError, match="missing") as caught:
        open_zoo(path).load()
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("size", [0, 3, 100, -1])
def test_a_truncated_chunk_is_named(chunked: tuple[Path, Path], size: int) -> None:
    """A chunk of the wrong size raises an error with its path."""
    path, folder = chunked
    file = folder / "2/0/0/0"
    file.write_bytes(file.read_bytes()[:size])
    both_refuse(path, file, "bytes, but has")


@pytest.mark.parametrize("offset", [0, 7, 16, 100_000, -5, -1])
def test_a_flipped_bit_is_found_and_its_chunk_named(chunked: tuple[Path, Path], offset: int) -> None:
    """A single flipped bit anywhere in a chunk is detected."""
    path, folder = chunked
    flip(folder / "1/0/0/0", offset)
    both_refuse(path, folder / "1/0/0/0", "damaged chunk")


def test_the_first_of_several_damaged_chunks_is_named(chunked: tuple[Path, Path]) -> None:
    """If several chunks are damaged, the error names the first."""
    path, folder = chunked
    flip(folder / "2/0/0/0", 50)
    flip(folder / "1/0/0/0", 50)
    both_refuse(path, folder / "1/0/0/0", "damaged chunk")


def test_networks_in_intact_chunks_can_still_be_loaded(chunked: tuple[Path, Path]) -> None:
    """Damage in one chunk does not affect networks in other chunks."""
    path, folder = chunked
    whole = open_zoo(path).load()
    flip(folder / "1/0/0/0", 50)
    zoo = open_zoo(path)
    assert np.array_equal(
        zoo.select([4, 0]).load().networks[0].weights.numpy(), whole.networks[0].weights[[0, 4]]
    )
    with pytest.raises(ZooError, match="damaged chunk"):
        zoo.select([2]).load()


def test_verify_finds_swapped_chunks(chunked: tuple[Path, Path], edit_manifest: Edit) -> None:
    """Two valid chunks that were swapped change the digest of the array."""
    path, folder = chunked
    one, two = (folder / "0/0/0/0").read_bytes(), (folder / "1/0/0/0").read_bytes()
    (folder / "0/0/0/0").write_bytes(two)
    (folder / "1/0/0/0").write_bytes(one)

    def swap(attributes: dict[str, Any]) -> None:
        record = next(r for key, r in attributes["arrays"].items() if key.endswith("/w"))
        record["sizes"][:2] = record["sizes"][1::-1]

    edit_manifest(path, swap)
    with pytest.raises(ZooError, match="the values are not those that were written") as caught:
        open_zoo(path).verify()
    assert str(folder.parent) in str(caught.value)


def test_a_damaged_column_is_named(chunked: tuple[Path, Path]) -> None:
    """A flipped bit in a column raises an error with the path of the chunk."""
    path, _ = chunked
    flip(path / "networks/loss/c/0", 20)
    with pytest.raises(ZooError, match="damaged chunk") as caught:
        open_zoo(path).column("loss")
    assert str(path / "networks/loss/c/0") in str(caught.value)


def test_a_lost_column_is_named(chunked: tuple[Path, Path]) -> None:
    """A deleted chunk of a column raises an error."""
    path, _ = chunked
    (path / "networks/loss/c/0").unlink()
    with pytest.raises(ZooError, match="this chunk is missing"):
        open_zoo(path).column("loss")


@pytest.mark.parametrize("damage", ["", "{}", "null", None])
def test_damaged_metadata_of_an_array_is_named(chunked: tuple[Path, Path], damage: str | None) -> None:
    """Missing or damaged metadata of an array raises an error with its path."""
    path, folder = chunked
    file = folder.parent / "zarr.json"
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage)
    with pytest.raises(ZooError, match="missing or damaged array metadata") as caught:
        open_zoo(path).load()
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("shape", [6, 2, 250, 1024]), ("data_type", "int32"), ("data_type", "no-such-type")]
)
def test_metadata_that_differs_from_the_manifest_is_named(
    chunked: tuple[Path, Path], key: str, value: object
) -> None:
    """Metadata that contradicts the manifest raises an error with its path."""
    path, folder = chunked
    file = folder.parent / "zarr.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {key: value, "fill_value": 0}))
    with pytest.raises(ZooError) as caught:
        open_zoo(path).load()
    assert str(caught.value).startswith(f"{file}: ")


def test_verify_finds_a_file_that_does_not_belong(chunked: tuple[Path, Path]) -> None:
    """An additional file does not disturb loading, but verify reports it."""
    path, folder = chunked
    (folder / "0/0/0/0.partial").write_bytes(b"")
    open_zoo(path).load()
    with pytest.raises(ZooError, match="does not belong to the zoo") as caught:
        open_zoo(path).verify()
    assert str(folder / "0/0/0/0.partial") in str(caught.value)


def test_verify_finds_a_lost_group(chunked: tuple[Path, Path]) -> None:
    """Verify reports a missing group metadata file."""
    path, _ = chunked
    (path / "splits" / "zarr.json").unlink()
    with pytest.raises(ZooError, match="this file is missing"):
        open_zoo(path).verify()


def test_a_lost_architecture_is_named(chunked: tuple[Path, Path]) -> None:
    """A missing description of an architecture raises an error."""
    path, folder = chunked
    (folder.parent.parent / "zarr.json").unlink()
    with pytest.raises(ZooError, match="missing or damaged architecture"):
        open_zoo(path).load()


def test_an_undamaged_zoo_verifies(small: Path) -> None:
    """Verify accepts a zoo as it was written."""
    open_zoo(small).verify()


# -- zoos that another writer could make: all chunks and digests are right, but the content is impossible ---


def rewritten(path: Path, array: str, values: np.ndarray, digest: Callable[[Path], str]) -> None:
    """Replace an array, and update its sizes and digests in the manifest."""
    import hashlib

    import zarr

    opened = zarr.open_array(path / array, mode="r+", zarr_format=3)
    opened[...] = values
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    record = content["attributes"]["arrays"][array]
    record["sha256"] = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    folder = path / array / "c"
    record["sizes"] = [chunk.stat().st_size for chunk in sorted(folder.rglob("*")) if chunk.is_file()]
    file.write_text(json.dumps(content))
    content["attributes"]["digest"] = digest(path)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("array", "values", "message"),
    [
        (
            "networks/healthy",
            np.ones(10, bool),
            "marks [0-9]+ networks as healthy|weights that are not finite",
        ),
        ("networks/healthy", np.eye(1, 10, 9, dtype=bool)[0], "network 9 is marked as healthy"),
        ("networks/row", np.array([1, 0, 2, 3, 4, 5, 0, 1, 2, 3]), "are not in order"),
        (
            "networks/architecture",
            np.array([0] * 5 + [1] * 5, np.int32),
            "does not match the architectures in the manifest",
        ),
        (
            "networks/architecture",
            np.array([0] * 6 + [7] * 4, np.int32),
            "does not match the architectures in the manifest",
        ),
        (
            "networks/architecture",
            np.array([0] * 6 + [-1] * 4, np.int32),
            "does not match the architectures in the manifest",
        ),
        (
            "splits/default",
            np.array([0, 1, 0, 0, 0, 0, 0, 0, 0, 0], np.int8),
            "group 'a' lies in train and in val",
        ),
        ("splits/default", np.full(10, 9, np.int8), "values must be 0"),
    ],
)
def test_verify_finds_impossible_content(
    small: Path, array: str, values: np.ndarray, message: str, digest_by_specification: Callable[[Path], str]
) -> None:
    """Columns that contradict each other are found although every digest is right."""
    rewritten(small, array, values, digest_by_specification)
    with pytest.raises(ZooError, match=message) as caught:
        open_zoo(small, unhealthy=True).verify()
    assert str(small / array) in str(caught.value)


def test_a_weight_beyond_single_precision_is_refused(
    tmp_path: Path, make: Callable[..., Architecture]
) -> None:
    """A weight of 1e300 raises on load instead of becoming infinite."""
    architecture = make({"w": (2,)})
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, {"w": np.array([[1e300, 0.0]])}, {})
    zoo = open_zoo(tmp_path / "z.zarr")
    zoo.verify()
    with pytest.raises(ZooError, match="a weight is too large for single precision"):
        zoo.load()

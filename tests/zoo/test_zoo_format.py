"""The zoo format: names, chunk shapes, digests, and what an independent reader sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.zoo import create, open_zoo
from sneframe.zoo.format import chunk_length, chunk_shape, encode_name, fitting

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("layers.0.weight", "layers.0.weight"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".", "%2E"),
        ("__x", "%5F_x"),
        ("zarr.json", "zarr%2Ejson"),
        ("%41", "%2541"),
        ("λ 1", "%CE%BB%201"),
        ("a\\b\0", "a%5Cb%00"),
    ],
)
def test_names_are_percent_encoded(name: str, encoded: str) -> None:
    """Names become the documented file names."""
    assert encode_name(name) == encoded


@given(NAMES)
def test_an_encoded_name_is_safe_and_decodes(name: str) -> None:
    """Any name gives an ASCII file name without special characters, and decodes again."""
    encoded = encode_name(name)
    assert unquote(encoded, errors="strict") == name
    assert encoded.isascii()
    assert not set(encoded) & set("/\\\0 :*?\"<>|'")
    assert not encoded.startswith((".", "_"))


@pytest.mark.parametrize("name", ["", "\ud800", 3])
def test_a_name_that_cannot_be_encoded_is_refused(name: Any) -> None:
    """Empty names, lone surrogates and other types than str raise ZooError."""
    with pytest.raises(ZooError, match="a name must be"):
        encode_name(name)


@pytest.mark.parametrize(
    ("network_bytes", "length"),
    [
        (4 * 4990, 128),
        (4 * 1_000_000, 1),
        (4 << 20, 1),
        (2 << 20, 2),
        (40 << 20, 1),
        (1, 4 << 20),
        (0, 4 << 20),
    ],
)
def test_chunk_length_is_a_power_of_two_within_4_mib(network_bytes: int, length: int) -> None:
    """A chunk holds the largest power of two of networks that fits into 4 MiB."""
    assert chunk_length(network_bytes) == length


@pytest.mark.parametrize(("networks", "length"), [(1, 1), (2, 2), (3, 4), (100, 128), (1000, 256)])
def test_a_small_zoo_has_a_shorter_chunk(networks: int, length: int) -> None:
    """The chunk length is at most the next power of two of the number of networks."""
    assert fitting(256, networks) == length


@pytest.mark.parametrize(
    ("length", "shape", "itemsize", "chunks"),
    [
        (256, (56, 64), 4, (256, 56, 64)),
        (64, (), 4, (64,)),
        (1, (5, 1024, 1024), 4, (1, 2, 1024, 1024)),
        (1, (3, 3_000_000), 4, (1, 1, 2_097_152)),
        (4, (0, 3), 4, (4, 1, 3)),
    ],
)
def test_chunks_are_whole_parameters_up_to_8_mib(
    length: int, shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...]
) -> None:
    """A parameter is divided only if a chunk would exceed 8 MiB."""
    assert chunk_shape(length, shape, itemsize) == chunks


def test_arrays_can_be_read_by_the_specification_alone(
    small: Path,
    architecture: Architecture,
    weights: Callable[..., dict[str, np.ndarray]],
    by_specification: Callable[[Path, str], np.ndarray],
) -> None:
    """A reader without zarr and sneframe, written from the page, reads all arrays."""
    expected = weights(architecture, 6)
    for name, values in expected.items():
        assert np.array_equal(by_specification(small, f"architectures/{architecture.id}/{name}"), values)
    assert by_specification(small, "networks/group").tolist() == [
        "a",
        "a",
        "b",
        "b",
        "c",
        "d",
        "e",
        "e",
        "e",
        "e",
    ]
    assert by_specification(small, "networks/row").tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert by_specification(small, "networks/architecture").tolist() == [0] * 6 + [1] * 4
    assert by_specification(small, "networks/healthy").tolist() == [True] * 9 + [False]
    assert by_specification(small, "networks/step.valid").tolist() == [True] * 6 + [False] * 4
    assert np.isnan(by_specification(small, "networks/accuracy")).tolist() == [i == 7 for i in range(10)]
    assert by_specification(small, "splits/default").tolist() == [0, 0, 0, 0, 1, 2, -1, -1, -1, -1]


def test_the_digest_is_the_one_of_the_specification(
    small: Path, digest_by_specification: Callable[[Path], str]
) -> None:
    """The digest equals the one that the independent reader computes."""
    assert open_zoo(small).digest == digest_by_specification(small)


def test_the_digest_does_not_depend_on_name_or_place(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """Zoos of equal content have equal digests, whatever their names and paths."""
    for name in ("a", "b"):
        with create(tmp_path / f"{name}.zarr", name=name, description=name) as writer:
            writer.append(architecture, weights(architecture, 3), {"loss": [1.0, 2.0, 3.0]})
    assert open_zoo(tmp_path / "a.zarr").digest == open_zoo(tmp_path / "b.zarr").digest


def test_the_digest_changes_with_one_value_of_one_property(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """One different value of one property gives a different digest."""
    for name, loss in (("a", 1.0), ("b", 1.5)):
        with create(tmp_path / f"{name}.zarr", name="z") as writer:
            writer.append(architecture, weights(architecture, 2), {"loss": [loss, 2.0]})
    assert open_zoo(tmp_path / "a.zarr").digest != open_zoo(tmp_path / "b.zarr").digest


def test_zarr_opens_a_zoo_as_a_plain_group(small: Path, architecture: Architecture) -> None:
    """zarr alone reads the arrays and attributes of a zoo."""
    group = zarr.open_group(small, mode="r", zarr_format=3)
    assert group.attrs["format"] == "sneframe.zoo"
    array = group[f"architectures/{architecture.id}/0.weight"]
    assert array.shape == (6, 3, 2)
    assert array.attrs["sneframe:name"] == "0.weight"
    assert group[f"architectures/{architecture.id}"].attrs["architecture"] == architecture.to_json()
    assert group.metadata.consolidated_metadata is None


def test_bfloat16_is_marked_on_its_array(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """bfloat16 is stored as uint16 with an attribute that says so."""
    import torch

    architecture = make({"w": (2,)})
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, {"w": torch.ones(1, 2, dtype=torch.bfloat16)}, {})
    array = zarr.open_array(
        tmp_path / "z.zarr" / "architectures" / architecture.id / "w", mode="r", zarr_format=3
    )
    assert (array.dtype.name, array.attrs["sneframe:dtype"]) == ("uint16", "bfloat16")
    assert array[:].tolist() == [[0x3F80, 0x3F80]]


def test_chunks_of_fill_values_are_written(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """Chunks that hold only the fill value are written like any other."""
    architecture = make({"w": (2,), "n": (2,)})
    nothing = {"w": np.full((2, 2), np.nan, np.float32), "n": np.zeros((2, 2), np.int32)}
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, nothing, {})
    for name in ("w", "n"):
        assert (tmp_path / "z.zarr" / "architectures" / architecture.id / name / "c" / "0" / "0").is_file()
    open_zoo(tmp_path / "z.zarr").verify()


def test_the_manifest_is_strict_json(small: Path) -> None:
    """The manifest has no NaN or Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((small / "zarr.json").read_text(), parse_constant=refuse)


def test_opening_imports_neither_torch_nor_zarr(small: Path) -> None:
    """Opening a zoo imports neither torch nor zarr."""
    code = (
        "import sys; from sneframe.zoo import open_zoo, create; "
        f"assert open_zoo({str(small)!r}, unhealthy=True).digest; "
        "sys.exit(str({'torch', 'zarr'} & set(sys.modules)) if {'torch', 'zarr'} & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

"""What is written to a zoo is read from it, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.zoo import create, open_zoo

DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint16", "uint64", "bool"]
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12) | st.sampled_from(
    ["..", ".", "a/b", "zarr.json", "__x", "c", "layers.0.weight", "%2E", "λ", "W", "c/0"]
)


@st.composite
def architectures(draw: st.DrawFn) -> tuple[Architecture, dict[str, str]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.casefold))
    shapes = [draw(st.lists(st.integers(1, 4), max_size=3)) for _ in names]
    layers = [
        Layer(
            kind=draw(st.sampled_from(["linear", "conv2d"])), parameters=[Parameter(name=name, shape=shape)]
        )
        for name, shape in zip(names, shapes, strict=True)
    ]
    return Architecture(layers=layers), {name: draw(st.sampled_from(DTYPES)) for name in names}


@st.composite
def appends(draw: st.DrawFn) -> list[dict[str, Any]]:
    known = draw(st.lists(architectures(), min_size=1, max_size=3, unique_by=lambda pair: pair[0].id))
    columns = {
        "loss": st.floats(width=64) | st.none(),
        "step": st.integers(-(2**63), 2**63 - 1) | st.none(),
        "big": st.booleans() | st.none(),
        "dataset": st.text(st.characters(exclude_categories=("Cs",)), max_size=5) | st.none(),
    }
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        architecture, dtypes = draw(st.sampled_from(known))
        n = draw(st.integers(1, 4))
        weights = {
            p.name: draw(hnp.arrays(dtypes[p.name], (n, *p.shape), elements=_finite(dtypes[p.name])))
            for p in architecture.parameters
        }
        given_here = draw(st.lists(st.sampled_from(sorted(columns)), unique=True))
        properties = {name: draw(st.lists(columns[name], min_size=n, max_size=n)) for name in given_here}
        groups = draw(st.lists(st.sampled_from(["run 1", "run 2", ""]), min_size=n, max_size=n))
        parts.append(
            {"architecture": architecture, "weights": weights, "properties": properties, "group": groups}
        )
    return parts


def _finite(dtype: str) -> st.SearchStrategy[Any] | None:
    if not dtype.startswith("float"):
        return None
    width = min(int(dtype.removeprefix("float")), 32)
    return st.floats(width=width, allow_nan=False, allow_infinity=False)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(parts=appends())
def test_what_is_written_is_read(parts: list[dict[str, Any]]) -> None:
    """Random appends come back bit for bit: weights, types, groups, properties, order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zoo.zarr"
        with create(path, name="any") as writer:
            for part in parts:
                writer.append(**part)
        zoo = open_zoo(path)
        zoo.verify()

        networks = [
            (part["architecture"], {name: values[i] for name, values in part["weights"].items()})
            for part in parts
            for i in range(len(part["group"]))
        ]
        assert zoo.ids.tolist() == list(range(len(networks)))
        assert zoo.group.tolist() == [group for part in parts for group in part["group"]]
        assert [zoo.architectures[index] for index in zoo.architecture_index] == [a for a, _ in networks]
        for positions, architecture, tensors in zoo.stored():
            for n, position in enumerate(positions):
                expected_architecture, expected = networks[position]
                assert architecture == expected_architecture
                for name, tensor in tensors.items():
                    found = tensor[n].numpy()
                    assert found.dtype == expected[name].dtype
                    assert found.tobytes() == expected[name].tobytes()

        batch = zoo.load()
        assert batch.ids.tolist() == zoo.ids.tolist()
        for row, (architecture, expected) in enumerate(networks):
            only = batch.select([row]).networks[0]
            flat = np.concatenate(
                [expected[p.name].astype(np.float32).reshape(-1) for p in architecture.parameters]
            )
            assert only.architecture == architecture
            assert only.weights[0].numpy().tobytes() == flat.tobytes()

        for name in {name for part in parts for name in part["properties"]}:
            expected_column = [
                value for part in parts for value in part["properties"].get(name, [None] * len(part["group"]))
            ]
            column = zoo.typed_column(name)
            for value, found, valid in zip(expected_column, column.values, column.valid, strict=True):
                missing = value is None or (isinstance(value, float) and np.isnan(value))
                assert valid == (not missing)
                if not missing:
                    assert found == value
                    assert type(found.item() if hasattr(found, "item") else found) is type(value)


def test_bfloat16_tensors_come_back_bit_for_bit(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """bfloat16 weights are stored as bfloat16 and loaded as float32."""
    architecture = make({"w": (5,)})
    given_weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, {"w": given_weights}, {})
    zoo = open_zoo(tmp_path / "z.zarr")
    ((_, _, tensors),) = zoo.stored()
    assert tensors["w"].dtype == torch.bfloat16
    assert torch.equal(tensors["w"], given_weights)
    assert torch.equal(zoo.load().networks[0].weights, given_weights.float())


def test_a_tensor_that_needs_gradients_is_stored(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """A torch parameter that requires gradients and is not contiguous is stored."""
    parameter = torch.nn.Parameter(torch.arange(6.0).reshape(3, 2).T)
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(make({"w": (3,)}), {"w": parameter}, {})
    assert torch.equal(open_zoo(tmp_path / "z.zarr").load().networks[0].weights, parameter.detach())


def test_many_appends_and_one_append_give_the_same_zoo(
    tmp_path: Path, make: Callable[..., Architecture], weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """The digest and the chunk files do not depend on how networks were appended."""
    architecture = make({"w": (300, 300), "b": (300,)})  # 361 kB a network: eight networks share a chunk
    all_weights = weights(architecture, 37)
    loss = np.arange(37.0)
    with create(tmp_path / "one.zarr", name="one") as writer:
        writer.append(architecture, all_weights, {"loss": loss})
    with create(tmp_path / "many.zarr", name="many") as writer:
        for start, stop in [(0, 1), (1, 7), (7, 8), (8, 30), (30, 37)]:
            piece = {name: values[start:stop] for name, values in all_weights.items()}
            writer.append(architecture, piece, {"loss": loss[start:stop]})
    one, many = open_zoo(tmp_path / "one.zarr"), open_zoo(tmp_path / "many.zarr")
    assert one.digest == many.digest
    files = {file.relative_to(one.path) for file in one.path.rglob("*")}
    assert files == {file.relative_to(many.path) for file in many.path.rglob("*")}
    for file in files:
        if (one.path / file).is_file() and file.name != "zarr.json":
            assert (one.path / file).read_bytes() == (many.path / file).read_bytes()


def test_the_writer_copies_its_arguments(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """Changing an array after append does not change the zoo."""
    buffer = weights(architecture, 2)
    expected = buffer["0.bias"].copy()
    loss, healthy = np.array([1.0, 2.0]), np.array([True, True])
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, buffer, {"loss": loss}, healthy=healthy)
        buffer["0.bias"][:] = 7
        loss[:] = 7
        healthy[:] = False
    zoo = open_zoo(tmp_path / "z.zarr")
    ((_, _, tensors),) = zoo.stored()
    assert np.array_equal(tensors["0.bias"].numpy(), expected)
    assert zoo.column("loss").tolist() == [1.0, 2.0]


def test_a_large_parameter_is_divided_into_chunks(
    tmp_path: Path, make: Callable[..., Architecture], by_specification: Callable[[Path, str], np.ndarray]
) -> None:
    """A parameter of 20 MiB becomes three chunks along its first axis."""
    architecture = make({"w": (5, 1024, 1024), "b": (5,)})  # 20 MiB in one parameter
    values = np.arange(5 * 1024 * 1024, dtype=np.float32).reshape(1, 5, 1024, 1024)
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, {"w": values, "b": np.zeros((1, 5), np.float32)}, {})
    folder = f"architectures/{architecture.id}/w"
    sizes = sorted(
        str(file.relative_to(tmp_path / "z.zarr" / folder))
        for file in (tmp_path / "z.zarr").glob(f"{folder}/c/*/*/*/*")
    )
    assert sizes == ["c/0/0/0/0", "c/0/1/0/0", "c/0/2/0/0"]
    assert np.array_equal(by_specification(tmp_path / "z.zarr", folder), values)
    assert np.array_equal(
        open_zoo(tmp_path / "z.zarr").load().networks[0].weights[0, : values.size].numpy(), values.ravel()
    )


def test_empty_parameters_come_back(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """Parameters of size 0 are written and read."""
    empty = make({"0.weight": (0, 2), "0.bias": (0,)})
    with create(tmp_path / "empty.zarr", name="empty") as zoo:
        zoo.append(empty, {"0.weight": np.zeros((3, 0, 2), "f4"), "0.bias": np.zeros((3, 0), "f4")}, {})
    found = open_zoo(tmp_path / "empty.zarr")
    found.verify()
    (positions, architecture, weights) = next(found.stored())
    assert positions.tolist() == [0, 1, 2]
    assert architecture == empty
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "0.weight": (3, 0, 2),
        "0.bias": (3, 0),
    }

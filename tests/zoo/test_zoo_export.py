"""Exports: the files they write, and what stays after a failure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sneframe.architecture import Architecture
from sneframe.errors import MachineError, ZooError
from sneframe.zoo import create, export, open_zoo


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_every_network_is_a_safetensors_file(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """Each network is exported as its state dict, scalars included."""
    export(open_zoo(small), tmp_path / "out")
    expected = weights(architecture, 6)
    assert sorted(file.name for file in (tmp_path / "out/networks").iterdir()) == [
        f"{i}.safetensors" for i in range(9)
    ]
    for number in range(6):
        state = load_file(tmp_path / f"out/networks/{number}.safetensors")
        assert set(state) == set(expected)
        for name, values in expected.items():
            assert np.array_equal(state[name].numpy(), values[number])
    assert load_file(tmp_path / "out/networks/8.safetensors")["scale"].shape == ()


def test_properties_are_exported_as_csv(small: Path, tmp_path: Path) -> None:
    """A missing value is an empty cell, and floats keep all digits."""
    zoo = open_zoo(small, unhealthy=True)
    export(zoo, tmp_path / "out")
    rows = table(tmp_path / "out/properties.csv")
    one, two = (architecture.id for architecture in zoo.architectures)
    assert list(rows[0]) == ["file", "architecture", "group", "healthy", "step", "accuracy", "act", "big"]
    assert list(rows[1].values()) == ["networks/1.safetensors", one, "a", "true", "1", "0.2", "tanh", ""]
    assert list(rows[7].values()) == ["networks/7.safetensors", two, "e", "true", "", "", "", "false"]
    assert rows[9]["healthy"] == "false"
    assert [float(row["accuracy"]) for row in rows[:6]] == np.linspace(0, 1, 6).tolist()


def test_splits_architectures_and_attributes_are_exported(small: Path, tmp_path: Path) -> None:
    """Splits, architectures and the zoo's attributes are exported as CSV and JSON."""
    zoo = open_zoo(small)
    export(zoo, tmp_path / "out")
    rows = table(tmp_path / "out/splits.csv")
    assert [row["default"] for row in rows] == ["0", "0", "0", "0", "1", "2", "-1", "-1", "-1"]
    assert rows[4]["file"] == "networks/4.safetensors"
    for architecture in zoo.architectures:
        text = (tmp_path / "out/architectures" / f"{architecture.id}.json").read_text()
        assert Architecture.from_json(json.loads(text)) == architecture
    about = json.loads((tmp_path / "out/zoo.json").read_text())
    assert (about["name"], about["licence"], about["digest"]) == ("small", "CC0-1.0", zoo.digest)


def test_ints_beside_missing_values_stay_ints(small: Path, tmp_path: Path) -> None:
    """An int column with missing values is not written as floats."""
    export(open_zoo(small).select([3, 8]), tmp_path / "out")
    assert [row["step"] for row in table(tmp_path / "out/properties.csv")] == ["3", ""]


def test_an_exported_selection_keeps_order_and_numbers(small: Path, tmp_path: Path) -> None:
    """Rows follow the selection; files keep the numbers of the whole zoo."""
    export(open_zoo(small).select([8, 2]), tmp_path / "out")
    assert [row["file"] for row in table(tmp_path / "out/properties.csv")] == [
        "networks/8.safetensors", "networks/2.safetensors"
    ]  # fmt: skip
    assert (tmp_path / "out/networks/2.safetensors").is_file()


def test_bfloat16_is_exported_as_bfloat16(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """bfloat16 weights stay bfloat16, and quotes and newlines in texts survive."""
    given = torch.tensor([[1.5, -3.0]], dtype=torch.bfloat16)
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(make({"w": (2,)}), {"w": given}, {"text": ['a "quoted", cell\nin two lines']})
    export(open_zoo(tmp_path / "z.zarr"), tmp_path / "out")
    assert torch.equal(load_file(tmp_path / "out/networks/0.safetensors")["w"], given[0])
    assert table(tmp_path / "out/properties.csv")[0]["text"] == 'a "quoted", cell\nin two lines'


def test_an_existing_folder_is_refused(small: Path, tmp_path: Path) -> None:
    """An export never writes into an existing folder."""
    (tmp_path / "out").mkdir()
    with pytest.raises(ZooError, match="exists already; an export needs a new folder"):
        export(open_zoo(small), tmp_path / "out")


def test_an_empty_selection_is_refused(small: Path, tmp_path: Path) -> None:
    """An export without networks raises and makes no folder."""
    with pytest.raises(ZooError, match="no network is selected, so there is nothing to export"):
        export(open_zoo(small).where("step > 99"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_meets_damage_leaves_nothing(small: Path, tmp_path: Path) -> None:
    """A damaged zoo raises, and no partial export stays."""
    zoo = open_zoo(small)
    next(file for file in (small / "architectures").rglob("c/0/*") if file.is_file()).unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZooError, match="this chunk is missing"):
        export(zoo, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_an_export_on_a_full_disk_leaves_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk raises MachineError, and no partial export stays."""

    def full(self: Path, *arguments: object, **more: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MachineError, match="No space left on device"):
        export(open_zoo(small), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before

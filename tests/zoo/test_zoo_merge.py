from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.zoo import create, merge, open_zoo

Weights = Callable[..., dict[str, np.ndarray]]


@pytest.fixture
def second(tmp_path: Path, architecture: Architecture, other: Architecture, weights: Weights) -> Path:
    """Networks of the same architectures, in turns, with int groups, other properties and another split."""
    path = tmp_path / "second.zarr"
    with create(path, name="second", licence="MIT", source="here") as writer:
        for turn in range(2):
            for each in (other, architecture):
                given = {"accuracy": [0.1 * turn], "step": [2**60 + turn], "dataset": ["mnist"]}
                writer.append(each, weights(each, 1, seed=turn), given, group=7)
        writer.split("own", [0, 0, 0, 0])
    return path


def test_a_merged_zoo_knows_where_its_networks_came_from(small: Path, second: Path, tmp_path: Path) -> None:
    merge([small, second], tmp_path / "both.zarr")
    zoo = open_zoo(tmp_path / "both.zarr", unhealthy=True)
    zoo.verify()
    assert zoo.name == "small+second"
    assert zoo.column("zoo").tolist() == ["small"] * 10 + ["second"] * 4
    assert zoo.attributes["licence"] == "CC0-1.0; MIT"
    assert [entry["digest"] for entry in zoo.attributes["builder"]["config"]["zoos"]] == [
        open_zoo(small).digest, open_zoo(second).digest
    ]  # fmt: skip


def test_weights_and_properties_stay_with_their_networks(small: Path, second: Path, tmp_path: Path) -> None:
    merge([small, second], tmp_path / "both.zarr")
    both = open_zoo(tmp_path / "both.zarr", unhealthy=True)
    assert both.healthy.tolist() == [True] * 9 + [False] + [True] * 4
    assert both.typed_column("step").values[10:].tolist() == [2**60, 2**60 + 1, 2**60, 2**60 + 1]
    assert both.column("dataset").tolist() == [None] * 10 + ["mnist"] * 4
    sources = {"small": open_zoo(small, unhealthy=True), "second": open_zoo(second)}
    for name, source in sources.items():
        mine = both.where(f"zoo == {name!r}")
        for architecture in source.architectures:
            here = mine.where(f"architecture == {architecture.id!r}")
            there = source.where(f"architecture == {architecture.id!r}")
            assert np.array_equal(here.column("accuracy"), there.column("accuracy"), equal_nan=True)
            weights = here.load().networks[0].weights, there.load().networks[0].weights
            assert np.array_equal(*(tensor.numpy() for tensor in weights), equal_nan=True)


def test_groups_of_different_zoos_are_kept_apart(small: Path, tmp_path: Path) -> None:
    merge([small, small], tmp_path / "twice.zarr", labels=["x", "y"])
    group = open_zoo(tmp_path / "twice.zarr", unhealthy=True).group
    assert group.tolist() == [f"{label}/{run}" for label in "xy" for run in "aabbcdeeee"]


def test_splits_are_joined_and_networks_without_one_are_unused(
    small: Path, second: Path, tmp_path: Path
) -> None:
    merge([small, second], tmp_path / "both.zarr")
    both = open_zoo(tmp_path / "both.zarr", unhealthy=True)
    assert both.split("default").tolist() == [0, 0, 0, 0, 1, 2, -1, -1, -1, -1] + [-1] * 4
    assert both.split("own").tolist() == [-1] * 10 + [0] * 4


def test_a_zoo_that_was_merged_before_keeps_its_column(small: Path, second: Path, tmp_path: Path) -> None:
    merge([small, second], tmp_path / "both.zarr")
    merge([tmp_path / "both.zarr", second], tmp_path / "all.zarr")
    zoo = open_zoo(tmp_path / "all.zarr", unhealthy=True)
    assert sorted(set(zoo.column("zoo"))) == ["second", "small"]
    assert len(set(zoo.group)) == 5 + 1 + 1


def test_zoos_of_one_name_need_labels(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="one label for each of its 2 zoos, distinct, got small, small"):
        merge([small, small], tmp_path / "twice.zarr")
    with pytest.raises(ZooError, match="one label for each of its 2 zoos"):
        merge([small, small], tmp_path / "twice.zarr", labels=["x"])


def test_one_zoo_is_not_merged(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="a merge needs two zoos at least, got 1"):
        merge([small], tmp_path / "one.zarr")


def test_properties_of_different_kinds_leave_nothing(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    with create(tmp_path / "odd.zarr", name="odd") as writer:
        writer.append(architecture, weights(architecture, 1), {"step": ["last"]})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZooError, match="property 'step': values of one kind are needed, got int, string"):
        merge([small, tmp_path / "odd.zarr"], tmp_path / "both.zarr")
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_zoo_is_not_merged(small: Path, second: Path, tmp_path: Path) -> None:
    next(file for file in (second / "architectures").rglob("c/0/*") if file.is_file()).unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZooError, match="this chunk is missing"):
        merge([small, second], tmp_path / "both.zarr")
    assert sorted(tmp_path.iterdir()) == before


def test_a_zoo_can_be_merged_in_place(small: Path, second: Path) -> None:
    merge([small, second], small, overwrite=True)
    open_zoo(small).verify()
    assert len(open_zoo(small, unhealthy=True)) == 14

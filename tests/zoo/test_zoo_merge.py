"""Merged zoos: labels, groups, splits, and what cannot be merged."""

from __future__ import annotations

import shutil
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


@pytest.fixture
def third(tmp_path: Path, architecture: Architecture, weights: Weights) -> Path:
    path = tmp_path / "third.zarr"
    with create(path, name="third") as writer:
        writer.append(architecture, weights(architecture, 1, seed=9), {}, group="f")
    return path


def test_a_merged_zoo_records_the_sources(small: Path, second: Path, tmp_path: Path) -> None:
    """The column zoo, the licences and the source digests are stored."""
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
    """Weights, health and properties stay with their networks; missing properties are missing."""
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


def test_groups_of_different_zoos_are_kept_apart(small: Path, second: Path, tmp_path: Path) -> None:
    """Run groups get the label of their zoo as a prefix."""
    merge([small, second], tmp_path / "both.zarr", labels=["x", "y"])
    group = open_zoo(tmp_path / "both.zarr", unhealthy=True).group
    assert group.tolist() == [f"x/{run}" for run in "aabbcdeeee"] + ["y/7"] * 4


def test_a_zoo_is_not_merged_with_itself(small: Path, tmp_path: Path) -> None:
    """A copy of a zoo cannot be merged with it, under any labels."""
    copy = shutil.copytree(small, tmp_path / "copy.zarr")
    with pytest.raises(ZooError, match=r"small\.zarr and .*copy\.zarr hold the same networks"):
        merge([small, copy], tmp_path / "twice.zarr", labels=["x", "y"])
    assert not (tmp_path / "twice.zarr").exists()


def test_a_zoo_is_not_merged_into_one_that_has_it(
    small: Path, second: Path, third: Path, tmp_path: Path
) -> None:
    """A zoo that was merged before, also indirectly, is recognised by its digest."""
    merge([small, second], tmp_path / "both.zarr")
    merge([tmp_path / "both.zarr", third], tmp_path / "all.zarr")
    for holder in ("both.zarr", "all.zarr"):
        with pytest.raises(ZooError, match=r"second\.zarr hold the same networks"):
            merge([tmp_path / holder, second], tmp_path / "twice.zarr")


@pytest.mark.parametrize("builder", [None, {"name": "merge"}, {"name": "merge", "config": {"zoos": [3, {}]}}])
def test_odd_builder_attributes_do_not_prevent_a_merge(
    small: Path,
    tmp_path: Path,
    architecture: Architecture,
    weights: Weights,
    builder: dict[str, object] | None,
) -> None:
    """Builder attributes of any form are accepted."""
    with create(tmp_path / "odd.zarr", name="odd", builder=builder) as writer:
        writer.append(architecture, weights(architecture, 1, seed=5), {}, group="a")
    merge([small, tmp_path / "odd.zarr"], tmp_path / "both.zarr")
    assert len(open_zoo(tmp_path / "both.zarr")) == 10


def test_a_label_with_a_slash_is_refused(small: Path, second: Path, tmp_path: Path) -> None:
    """A label with a slash could make two groups equal, so it is refused."""
    with pytest.raises(ZooError, match=r"a label must not contain '/', .* got 'b/c'"):
        merge([small, second], tmp_path / "both.zarr", labels=["a", "b/c"])


def test_names_with_a_slash_are_replaced_by_folders(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """If a zoo's name has a slash, the default labels are the folders' names."""
    with create(tmp_path / "slash.zarr", name="b/c") as writer:
        writer.append(architecture, weights(architecture, 1, seed=5), {}, group="a")
    merge([small, tmp_path / "slash.zarr"], tmp_path / "both.zarr")
    assert open_zoo(tmp_path / "both.zarr").column("zoo").tolist()[-1] == "slash"


def test_splits_are_joined(small: Path, second: Path, tmp_path: Path) -> None:
    """Networks of a zoo that lacks a split are unused in it."""
    merge([small, second], tmp_path / "both.zarr")
    both = open_zoo(tmp_path / "both.zarr", unhealthy=True)
    assert both.split("default").tolist() == [0, 0, 0, 0, 1, 2, -1, -1, -1, -1] + [-1] * 4
    assert both.split("own").tolist() == [-1] * 10 + [0] * 4


def test_a_merged_zoo_keeps_its_column(small: Path, second: Path, third: Path, tmp_path: Path) -> None:
    """Merging a merged zoo again keeps the labels and groups of the first merge."""
    merge([small, second], tmp_path / "both.zarr")
    merge([tmp_path / "both.zarr", third], tmp_path / "all.zarr")
    zoo = open_zoo(tmp_path / "all.zarr", unhealthy=True)
    assert sorted(set(zoo.column("zoo"))) == ["second", "small", "third"]
    assert len(set(zoo.group)) == 5 + 1 + 1


def test_zoos_of_equal_names_need_labels(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Without distinct names or folders, labels must be given, one for each zoo."""
    with create(tmp_path / "elsewhere" / "small.zarr", name="small") as writer:
        writer.append(architecture, weights(architecture, 1, seed=5), {}, group="a")
    both = [small, tmp_path / "elsewhere" / "small.zarr"]
    with pytest.raises(ZooError, match="a different label for each of its 2 zoos, but got small, small"):
        merge(both, tmp_path / "both.zarr")
    with pytest.raises(ZooError, match="a different label for each of its 2 zoos"):
        merge(both, tmp_path / "both.zarr", labels=["x"])


def test_a_single_zoo_is_not_merged(small: Path, tmp_path: Path) -> None:
    """A merge needs at least two zoos."""
    with pytest.raises(ZooError, match="at least two zoos, but got 1"):
        merge([small], tmp_path / "one.zarr")


def test_properties_of_different_kinds_leave_nothing(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """A property with two kinds raises, and nothing is written."""
    with create(tmp_path / "odd.zarr", name="odd") as writer:
        writer.append(architecture, weights(architecture, 1), {"step": ["last"]})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZooError, match=r"property 'step': .* the same kind, but got int, string"):
        merge([small, tmp_path / "odd.zarr"], tmp_path / "both.zarr")
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_zoo_is_not_merged(small: Path, second: Path, tmp_path: Path) -> None:
    """A damaged source raises, and nothing is written."""
    next(file for file in (second / "architectures").rglob("c/0/*") if file.is_file()).unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ZooError, match="this chunk is missing"):
        merge([small, second], tmp_path / "both.zarr")
    assert sorted(tmp_path.iterdir()) == before


def test_a_zoo_can_be_merged_in_place(small: Path, second: Path) -> None:
    """The output may overwrite one of the sources."""
    merge([small, second], small, overwrite=True)
    open_zoo(small).verify()
    assert len(open_zoo(small, unhealthy=True)) == 14

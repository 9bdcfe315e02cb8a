"""The cache of decoded weights, for zoos that do not fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest

from sneframe.batch import Batch
from sneframe.errors import MachineError, ZooError
from sneframe.zoo import open_zoo


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 10

    monkeypatch.setattr(psutil, "virtual_memory", Memory)


def same(one: Batch, two: Batch) -> bool:
    return (
        one.architectures == two.architectures
        and np.array_equal(one.ids, two.ids)
        and np.array_equal(one.order, two.order)
        and all(a.weights.equal(b.weights) for a, b in zip(one.networks, two.networks, strict=True))
    )


def test_a_zoo_that_fits_writes_no_file(small: Path, tmp_path: Path) -> None:
    """A zoo that fits into memory leaves the cache folder unmade."""
    open_zoo(small).load(cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("little_memory")
def test_a_mapped_batch_equals_the_one_in_memory(small: Path, tmp_path: Path) -> None:
    """Mapped weights equal those in memory; there is one file for each architecture."""
    zoo = open_zoo(small)
    mapped = zoo.load(cache=tmp_path / "cache")
    assert same(mapped, zoo.load(memory=zoo.size))
    files = sorted(file for file in (tmp_path / "cache").rglob("*") if file.is_file())
    assert [file.parent.parent for file in files] == [tmp_path / "cache" / zoo.digest] * 2
    assert {file.parent.name for file in files} == {architecture.id for architecture in zoo.architectures}
    assert all(np.load(file).dtype == np.float32 for file in files)


@pytest.mark.usefixtures("little_memory")
def test_weights_are_decoded_once(small: Path, tmp_path: Path) -> None:
    """A second load reads the cached files, not the chunks of the zoo."""
    first = open_zoo(small).load(cache=tmp_path / "cache")
    for file in (small / "architectures").rglob("c/0/*"):
        if file.is_file():
            file.unlink()
    assert same(open_zoo(small).load(cache=tmp_path / "cache"), first)


@pytest.mark.usefixtures("little_memory")
def test_each_set_of_networks_has_one_file(small: Path, tmp_path: Path) -> None:
    """Two orders of the same networks share a file; other networks get another file."""
    zoo = open_zoo(small)
    for positions in ([5, 1, 3], [1, 3, 5]):
        batch = zoo.select(positions).load(cache=tmp_path / "cache")
        assert batch.ids.tolist() == positions
    zoo.select([0, 1]).load(cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


@pytest.mark.usefixtures("little_memory")
def test_a_cut_off_file_is_written_again(small: Path, tmp_path: Path) -> None:
    """A cached file of the wrong size is replaced."""
    zoo = open_zoo(small).select([0, 1])
    first = zoo.load(cache=tmp_path / "cache").networks[0].weights.clone()
    (file,) = (tmp_path / "cache").rglob("*.npy")
    file.write_bytes(file.read_bytes()[:-1])
    assert zoo.load(cache=tmp_path / "cache").networks[0].weights.equal(first)


@pytest.mark.usefixtures("little_memory")
def test_a_damaged_zoo_leaves_no_file(small: Path, tmp_path: Path) -> None:
    """A missing chunk raises, and no partly written file stays in the cache."""
    zoo = open_zoo(small)
    next(file for file in (small / "architectures").rglob("c/0/*") if file.is_file()).unlink()
    with pytest.raises(ZooError, match="this chunk is missing"):
        zoo.load(cache=tmp_path / "cache")
    left = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert all(file.suffix == ".npy" for file in left)
    assert len(left) <= 1


@pytest.mark.usefixtures("little_memory")
def test_an_unwritable_cache_raises_machine_error(small: Path, tmp_path: Path) -> None:
    """A cache path that is a file raises MachineError."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(MachineError):
        open_zoo(small).load(cache=tmp_path / "cache")


@pytest.mark.usefixtures("little_memory")
def test_the_cache_is_in_the_users_cache_folder_by_default(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cache argument, files go to the user's cache folder, below the zoo's digest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    open_zoo(small).load()
    assert list((tmp_path / "home" / "sneframe" / "zoos").iterdir()) == [
        tmp_path / "home" / "sneframe" / "zoos" / open_zoo(small).digest
    ]

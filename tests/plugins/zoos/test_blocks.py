"""Blocks: what an interrupted build leaves, and how the next build uses it."""

import numpy as np
import pytest
from sneframe_zoos.blocks import Blocks, finish

from sneframe.engine import SerialEngine
from sneframe.errors import ZooError


def test_a_saved_block_is_loaded_as_it_was(tmp_path):
    """A saved block has the same names, types and values after loading."""
    arrays = {"weights": np.float32([[1, 2]]), "frequency": np.float64([0.1])}
    Blocks(tmp_path / "a.zarr", {"seed": 0}).save(3, arrays)
    loaded = Blocks(tmp_path / "a.zarr", {"seed": 0}).load(3)
    assert loaded.keys() == arrays.keys()
    for name, values in arrays.items():
        assert loaded[name].dtype == values.dtype
        np.testing.assert_array_equal(loaded[name], values)


def test_a_block_that_was_not_saved_is_not_there(tmp_path):
    """A block that was never saved is reported as missing."""
    assert 0 not in Blocks(tmp_path / "a.zarr", {})


def test_a_half_written_block_is_not_there(tmp_path):
    """A temporary file of a killed writer does not count as a block."""
    blocks = Blocks(tmp_path / "a.zarr", {})
    blocks.save(0, {"weights": np.zeros(3)})
    (path,) = blocks.folder.glob("block-*")
    path.rename(path.with_name(f".{path.name}.tmp"))  # as after a kill between writing and renaming
    assert 0 not in blocks


def test_blocks_of_another_config_are_refused(tmp_path):
    """The error names the options in which the unfinished build differs."""
    Blocks(tmp_path / "a.zarr", {"seed": 0, "networks": 5})
    with pytest.raises(ZooError, match=r"a\.zarr\.part holds an unfinished build with seed=0 \(not 1\)"):
        Blocks(tmp_path / "a.zarr", {"seed": 1, "networks": 5})


def test_removing_leaves_nothing(tmp_path):
    """Removing the blocks removes their folder."""
    blocks = Blocks(tmp_path / "a.zarr", {})
    blocks.save(0, {"weights": np.zeros(3)})
    blocks.remove()
    assert list(tmp_path.iterdir()) == []


def test_only_missing_blocks_are_computed(tmp_path):
    """Finished blocks are not computed again; progress starts with their networks."""
    blocks = Blocks(tmp_path / "a.zarr", {})
    blocks.save(1, {"weights": np.float32([7])})
    seen, computed = [], []

    def compute(number):
        computed.append(number)
        return {"weights": np.float32([number])}

    finish(blocks, compute, [10, 10, 4], lambda *pair: seen.append(pair), SerialEngine())
    assert computed == [0, 2]
    assert seen == [(10, 24), (20, 24), (24, 24)]
    assert [blocks.load(number)["weights"][0] for number in range(3)] == [0, 7, 2]


def test_blocks_before_a_failure_are_kept(tmp_path):
    """If a block fails, the blocks before it stay on disk."""
    blocks = Blocks(tmp_path / "a.zarr", {})

    def compute(number):
        if number == 1:
            raise ZooError("no second block")
        return {"weights": np.float32([number])}

    with pytest.raises(ZooError, match="no second block"):
        finish(blocks, compute, [1, 1, 1], lambda *_: None, SerialEngine())
    assert [number in blocks for number in range(3)] == [True, False, False]

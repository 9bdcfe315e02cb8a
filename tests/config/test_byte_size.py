"""Numbers of bytes that are written with a unit."""

import pytest

from sneframe.config.byte_size import in_bytes, rounded_down
from sneframe.config.schema import TrainConfig, ZooConfig


@pytest.mark.parametrize(
    ("text", "size"),
    [("7", 7), ("500MB", 500 * 10**6), ("2GB", 2 * 10**9), ("2GiB", 2 << 30), (" 1.5 kib ", 1536)],
)
def test_a_size_has_a_unit_or_is_bytes(text, size):
    """A unit is decimal or binary, in capitals or not; a number without a unit is bytes."""
    assert in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "2TBB", "-1GB", "1.2.3MB", "a lot", "2 G B", "1e3MB", "9" * 400])
def test_what_is_no_size_is_refused(text):
    """The error repeats what is no size, and gives two examples."""
    with pytest.raises(ValueError, match="is not a size such as 2GB or 512MiB"):
        in_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (9_999, "9999B"), (10_000, "10KB"), (333_999_999, "333MB")]
)
def test_a_rounded_size_is_at_most_the_size(size, text):
    """A size is rounded down to a whole number of a unit, with at least two digits above 10 KB."""
    assert rounded_down(size) == text
    assert in_bytes(text) <= size


@pytest.mark.parametrize("make", [lambda size: ZooConfig(memory=size), lambda size: TrainConfig(buffer=size)])
@pytest.mark.parametrize("size", ["0", "0.1B", "plenty", ""])
def test_a_key_for_memory_must_be_a_size(make, size):
    """zoo.memory and train.buffer refuse what is no size, and less than one byte."""
    with pytest.raises(ValueError, match=r"must be a size such as|must be at least one byte"):
        make(size)

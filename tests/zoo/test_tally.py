"""What an import counts: networks by reader and architecture, notes, and reasons of what was left out."""

import math

from attrs import evolve

from sneframe.testing import mlp
from sneframe.zoo.tally import Kind, Tally, kinds


def test_lines_that_differ_in_names_and_numbers_are_one_kind():
    """Lines of one kind are counted together, the most frequent kind first, with the first as an example."""
    lines = [
        ("a.pt", "'0.weight' has shape (3, 4) in the file, and (4, 4) in Net"),
        ("b.pt", "the file is empty"),
        ("c.pt", "'2.bias' has shape (7,) in the file, and (8,) in Net"),
    ]
    assert kinds(lines) == (
        Kind(count=2, source="a.pt", example="'0.weight' has shape (3, 4) in the file, and (4, 4) in Net"),
        Kind(count=1, source="b.pt", example="the file is empty"),
    )


def test_networks_are_counted_by_reader_and_architecture():
    """The counts add up over files."""
    tally = Tally()
    for count, architecture, reader in (
        (2, mlp(1, 3, 1), "x/a"),
        (3, mlp(1, 3, 1), "x/b"),
        (1, mlp(1, 4, 1), ""),
    ):
        tally.add("file", architecture, count, {}, reader=reader)
    assert (tally.networks, tally.architectures, tally.readers) == (6, 2, {"x/b": 3, "x/a": 2})


def test_the_least_reliable_origin_of_an_architecture_counts():
    """Networks of one architecture have the origin of symmetry that a zoo would store."""
    tally, sure = Tally(), evolve(mlp(1, 3, 1), symmetry="verified")
    tally.add("a", sure, 2, {})
    tally.add("b", evolve(sure, symmetry="guessed"), 1, {})
    assert tally.symmetry == {"guessed": 3}


def test_missing_values_are_not_counted():
    """None and NaN are missing, and 0 and an empty text are values."""
    tally = Tally()
    tally.add("a", mlp(1, 3, 1), 5, {"p": [None, math.nan, 0, "", 1.5]})
    assert tally.properties == {"p": 3}

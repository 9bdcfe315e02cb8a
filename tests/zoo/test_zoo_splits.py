"""Splits by run group."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sneframe.errors import ZooError
from sneframe.zoo import by_group


def counts(assignment: np.ndarray) -> list[int]:
    return [int((assignment == code).sum()) for code in (0, 1, 2, -1)]


@given(st.integers(3, 300), st.integers(0, 2**32), st.data())
def test_sizes_are_exact_for_groups_of_one(n: int, seed: int, data: st.DataObject) -> None:
    """If each network is its own group, the sizes are exact."""
    test = data.draw(st.integers(1, n - 2))
    val = data.draw(st.integers(1, n - test - 1))
    train = data.draw(st.integers(1, n - test - val))
    assignment = by_group(np.arange(n), sizes=(train, val, test), seed=seed)
    assert counts(assignment) == [train, val, test, n - train - val - test]
    assert assignment.dtype == np.int8


def test_the_usual_sizes() -> None:
    """The sizes 2000, 500 and 500 of 3000 networks are exact."""
    assert counts(by_group(np.arange(3000), sizes=(2000, 500, 500), seed=0)) == [2000, 500, 500, 0]


def test_fractions_of_one_use_every_network() -> None:
    """Fractions that add up to 1 leave no network unused."""
    assert counts(by_group(np.arange(10), fractions=(0.8, 0.1, 0.1), seed=0)) == [8, 1, 1, 0]
    assert counts(by_group(np.arange(30_000), fractions=(0.4, 0.1, 0.5), seed=0)) == [
        12_000,
        3_000,
        15_000,
        0,
    ]


def test_fractions_below_one_leave_the_rest_unused() -> None:
    """Fractions below 1 leave the remaining networks unused."""
    assert counts(by_group(np.arange(100), fractions=(0.5, 0.1, 0.1), seed=0)) == [50, 10, 10, 30]


@given(st.lists(st.integers(1, 9), min_size=20, max_size=60), st.integers(0, 99))
def test_groups_are_never_divided(sizes: list[int], seed: int) -> None:
    """Each group lies in one part, and every border is off by at most half a group."""
    group = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    assignment = by_group(group, fractions=(0.5, 0.25, 0.25), seed=seed)
    for label in range(len(sizes)):
        assert len(set(assignment[group == label])) == 1
    n = len(group)
    train, val, _, unused = counts(assignment)
    assert abs(train - n / 2) <= 5
    assert abs(train + val - 3 * n / 4) <= 5
    assert unused == 0


@given(st.permutations(range(40)), st.integers(0, 99))
def test_the_order_of_the_networks_does_not_matter(order: list[int], seed: int) -> None:
    """Shuffling the networks does not change the part of any network."""
    group = np.repeat([f"run {i}" for i in range(10)], 4)
    assignment = by_group(group, fractions=(0.6, 0.2, 0.2), seed=seed)
    assert by_group(group[order], fractions=(0.6, 0.2, 0.2), seed=seed).tolist() == assignment[order].tolist()


def test_the_seed_determines_the_split() -> None:
    """Equal seeds give equal splits, different seeds different splits."""
    draws = [by_group(np.arange(100), sizes=(50, 25, 25), seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_a_known_split_stays_the_same() -> None:
    # Seed 0 shuffles six groups into 3 2 5 4 0 1: d, c, f are train, e is val, a is test, b is unused.
    """The split of seed 0 is pinned, so that old runs can be repeated."""
    assert by_group(list("abcdef"), sizes=(3, 1, 1), seed=0).tolist() == [2, -1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (5, 5, 5)}, "sizes [5, 5, 5] add up to 15, but there are only 10 networks"),
        ({"sizes": (8, 2, 0)}, "three positive numbers"),
        ({"sizes": (8, 2)}, "three positive numbers"),
        ({"sizes": (8, -1, 1)}, "three positive numbers"),
        (
            {"sizes": (0.8, 0.1, 0.1)},
            "sizes must be whole numbers of networks, but got [0.8, 0.1, 0.1]; use fractions",
        ),
        ({"fractions": (0.8, 0.2, 0.2)}, "fractions must add up to at most 1"),
        (
            {"fractions": (0.9, 0.02, 0.02)},
            "val is empty: no split divides a group",
        ),
        ({"fractions": (float("nan"), 0.1, 0.1)}, "three positive numbers"),
        ({}, "a split needs either sizes or fractions"),
        ({"sizes": (8, 1, 1), "fractions": (0.8, 0.1, 0.1)}, "a split needs either sizes or fractions"),
    ],
)
def test_impossible_splits_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Impossible sizes and fractions raise ZooError with the reason."""
    with pytest.raises(ZooError, match=re.escape(message)):
        by_group(np.arange(10), seed=0, **arguments)


def test_too_few_groups_are_refused() -> None:
    """Two groups cannot fill three parts."""
    with pytest.raises(ZooError, match=r"is empty: .* 2 groups of up to 5 networks"):
        by_group(np.repeat([0, 1], 5), fractions=(0.5, 0.25, 0.25), seed=0)


def test_no_networks_are_refused() -> None:
    """A split of no networks raises ZooError."""
    with pytest.raises(ZooError, match=r"train is empty: .* 0 groups"):
        by_group(np.zeros(0, int), fractions=(0.5, 0.25, 0.25), seed=0)


def test_groups_with_two_axes_are_refused() -> None:
    """Groups must have one axis."""
    with pytest.raises(ZooError, match=re.escape("one group per network, but got groups of shape (2, 2)")):
        by_group(np.zeros((2, 2)), fractions=(0.5, 0.25, 0.25), seed=0)

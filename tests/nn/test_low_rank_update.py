"""The canonical form of low-rank updates depends on their products alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sneframe.nn.low_rank_update import canonical, decomposed


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixed(a: Tensor, b: Tensor, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return G A and B G⁻¹ for a random G."""
    matrix = drawn(len(a), a.shape[1], a.shape[1], seed=seed)
    return matrix @ a, b @ torch.linalg.inv(matrix)


def of_values(values: list[float], m: int = 7, n: int = 6) -> tuple[Tensor, Tensor]:
    """Return factors of an update with given singular values."""
    left, right = (torch.linalg.qr(drawn(size, len(values), seed=size)).Q for size in (m, n))
    return right.mT[None], (left * torch.tensor(values, dtype=torch.float64))[None]


@settings(max_examples=40, deadline=None)
@given(
    rank=st.integers(1, 5),
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 6),
    count=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
def test_product_is_kept_for_any_shape(rank: int, inputs: int, outputs: int, count: int, seed: int) -> None:
    """Also if the rank is larger than a side of the update."""
    a, b = drawn(count, rank, inputs, seed=seed), drawn(count, outputs, rank, seed=seed + 1)
    rows, columns = canonical(a, b)
    assert rows.shape == a.shape
    assert columns.shape == b.shape
    torch.testing.assert_close(columns @ rows, b @ a, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_a_change_of_basis_changes_nothing(rank: int) -> None:
    a, b = drawn(5, rank, 9), drawn(5, 8, rank, seed=2)
    for one, other in zip(canonical(a, b), canonical(*mixed(a, b)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("values", [[3.0, 3.0], [3.0, 2.0, 2.0, 1.0], [2.0, 2.0, 2.0], [5.0, 5.0, 1.0, 1.0]])
def test_equal_singular_values_get_directions_that_a_change_of_basis_keeps(values: list[float]) -> None:
    a, b = of_values(values)
    for seed in range(3):
        for one, other in zip(canonical(a, b), canonical(*mixed(a, b, seed)), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


def test_rank_one_written_out_by_hand() -> None:
    """B A = [0 6; 0 8] has the singular value 10, with u = (.6, .8) and v = (0, 1)."""
    a, b = torch.tensor([[[0.0, -2.0]]]), torch.tensor([[[-3.0], [-4.0]]])
    rows, columns = canonical(a, b)
    root = 10**0.5
    torch.testing.assert_close(rows, torch.tensor([[[0.0, root]]], dtype=torch.float64))
    torch.testing.assert_close(columns, torch.tensor([[[0.6 * root], [0.8 * root]]], dtype=torch.float64))


def test_both_factors_have_the_roots_of_the_singular_values_as_norms() -> None:
    a, b = drawn(2, 3, 9), drawn(2, 8, 3, seed=2)
    values = torch.linalg.svdvals(b @ a)[:, :3]
    rows, columns = canonical(a, b)
    torch.testing.assert_close(rows.norm(dim=2), values.sqrt())
    torch.testing.assert_close(columns.norm(dim=1), values.sqrt())


def test_values_are_those_of_the_product_in_descending_order() -> None:
    a, b = drawn(3, 4, 9), drawn(3, 8, 4, seed=2)
    torch.testing.assert_close(decomposed(a, b).values, torch.linalg.svdvals(b @ a)[:, :4])


@pytest.mark.parametrize("rank", [1, 2])
def test_values_beyond_the_rank_of_the_product_are_zero_after_rounding(rank: int) -> None:
    """In single precision, rounding leaves values of 1e-7, whose roots would be 3e-4."""
    a = drawn(3, 8, 16).float()
    b = (drawn(3, 12, rank, seed=1) @ drawn(3, rank, 8, seed=2)).float()
    moved_a, moved_b = (each.float() for each in mixed(a.double(), b.double()))
    eps = torch.finfo(torch.float32).eps
    one, other = (canonical(*pair, zero=eps) for pair in ((a, b), (moved_a, moved_b)))
    assert not one[0][:, rank:].any()
    assert not other[0][:, rank:].any()
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-4)


def test_an_update_of_zero_has_factors_of_zero() -> None:
    """B is 0 when the training of an adapter begins."""
    rows, columns = canonical(drawn(1, 3, 5), torch.zeros(1, 4, 3))
    assert not rows.any()
    assert not columns.any()

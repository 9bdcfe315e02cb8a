"""Fast set attention compared with its equations in loops: outputs and gradients, in float64, to 1e-10."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_attention import check, linears, literal_mab, random, random_mask, shake
from sneframe_sne.scalar_attention import ScalarSAB
from sneframe_sne.set_attention import ISAB, MAB, PMA, SAB
from torch import nn

from sneframe.errors import PartError

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("masked", [False, True])
def test_mab_equals_its_literal_form(masked):
    """Outputs and gradients of MAB, with and without a mask."""
    block = shake(MAB(12, 3))
    x, y = random(4, 5, 12), random(4, 7, 12)
    mask = random_mask(4, 7, torch.Generator().manual_seed(1)) if masked else None
    expected = literal_mab(x, y, *linears(block), 3, mask)
    check(block(x, y, mask), expected, torch.randn(4, 5, 12), block, x, y)


@pytest.mark.parametrize("masked", [False, True])
def test_pma_equals_its_literal_form(masked):
    """Outputs and gradients of PMA, with and without a mask."""
    block = shake(PMA(12, 3))
    x = random(4, 7, 12)
    mask = random_mask(4, 7, torch.Generator().manual_seed(1)) if masked else None
    seeds = block.seed.expand(4, 1, 12)
    expected = literal_mab(seeds, x, *linears(block), 3, mask)[:, 0]
    check(block(x, mask), expected, torch.randn(4, 12), block, x)


def test_one_row_of_queries_serves_all_sets():
    """MAB of (1, C, D) and (S, C', D) equals MAB of the same row for each set."""
    block = shake(MAB(12, 3))
    x, y = random(1, 5, 12), random(4, 7, 12)
    check(block(x, y), block(x.expand(4, 5, 12), y), torch.randn(4, 5, 12), block, x, y)


def test_the_only_element_of_a_set_gets_all_attention():
    """With one element, outputs and gradients equal the literal form."""
    block = shake(MAB(12, 3))
    x, y = random(4, 5, 12), random(4, 1, 12)
    expected = literal_mab(x, y, *linears(block), 3)
    check(block(x, y), expected, torch.randn(4, 5, 12), block, x, y)


@pytest.mark.parametrize("masked", [False, True])
def test_isab_is_two_mabs_through_its_points(masked):
    """Outputs and gradients are those of MAB(X, MAB(I, X))."""
    block = shake(ISAB(8, 2, 3))
    x = random(4, 6, 8)
    mask = random_mask(4, 6, torch.Generator().manual_seed(1)) if masked else None
    points = literal_mab(block.points.expand(4, 3, 8), x, *linears(block.gather), 2, mask)
    expected = literal_mab(x, points, *linears(block.scatter), 2)
    check(block(x, mask), expected, torch.randn(4, 6, 8), block, x)


def test_the_attention_of_mab_equals_that_of_torch():
    """torch's layer has an output projection, here the identity; MAB has none."""
    block = shake(MAB(12, 3))
    other = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        other.in_proj_bias.copy_(torch.cat([block.query.bias, block.key.bias, block.value.bias]))
        other.out_proj.weight.copy_(torch.eye(12))
        other.out_proj.bias.zero_()
    x, y = torch.randn(4, 5, 12), torch.randn(4, 7, 12)
    mask = random_mask(4, 7, torch.Generator().manual_seed(1))
    attended, _ = other(x, y, y, key_padding_mask=~mask, need_weights=False)
    assert torch.allclose(block(x, y, mask), block.finish(block.query(x) + attended), atol=1e-10, rtol=0)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 9), pads=st.integers(1, 5), value=st.floats(-50, 50))
def test_padding_has_no_effect(count, pads, value):
    """Any number of padded elements with any value gives the same result."""
    torch.manual_seed(3)
    scalar, block, pool = shake(ScalarSAB(8, 2)), shake(SAB(8, 2)), shake(PMA(8, 2))
    x = torch.randn(2, count)
    padded = torch.cat([x, torch.full((2, pads), value)], dim=1)
    mask = torch.arange(count + pads).expand(2, -1) < count
    expected = pool(block(scalar(x)))
    actual = pool(block(scalar(padded, mask), mask), mask)
    assert torch.allclose(actual, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("block", [MAB, SAB, PMA, ScalarSAB])
def test_heads_that_do_not_divide_the_width_are_refused(block):
    """The error gives both numbers."""
    with pytest.raises(PartError, match="heads = 5 and width = 12"):
        block(12, 5)

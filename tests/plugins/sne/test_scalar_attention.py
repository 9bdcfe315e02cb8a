"""Fast attention on scalars compared with its equations in loops: outputs and gradients, to 1e-10."""

import pytest
import sneframe_sne.scalar_attention as fast
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_attention import check, linears, literal_mab, random_mask, shake
from sneframe_sne.scalar_attention import ScalarSAB
from sneframe_sne.set_attention import PMA

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("masked", [False, True])
def test_scalar_sab_equals_sab_on_scalars(masked):
    """The form at rank one has the outputs and gradients of SAB on a C × 1 input."""
    block = shake(ScalarSAB(12, 3))
    x = torch.randn(6, 9)
    mask = random_mask(6, 9, torch.Generator().manual_seed(1)) if masked else None
    scalars = x.unsqueeze(-1)
    factor = torch.randn(6, 9, 12)
    if masked:
        factor = factor * mask.unsqueeze(-1)
    expected = literal_mab(scalars, scalars, *linears(block), 3, mask)
    check(block(x, mask), expected, factor, block)
    # The same where the scalars, too, need a gradient.
    x = x.clone().requires_grad_()
    scalars = x.unsqueeze(-1)
    expected = literal_mab(scalars, scalars, *linears(block), 3, mask)
    check(block(x, mask), expected, factor, block, x)


def test_scalar_sab_gives_its_scalars_a_gradient():
    """The gradient equals numerical differences."""
    block = shake(ScalarSAB(8, 2))
    x = torch.randn(3, 5, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,), atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1.0, 5.0])
def test_gradients_under_autocast_equal_those_of_float32(offset, masked):
    """Also for scalars far from zero, where a variance in bfloat16 would have no correct digit."""
    block = shake(ScalarSAB(12, 3)).float()
    x = offset + 0.1 * torch.randn(6, 9, dtype=torch.float32)
    mask = random_mask(6, 9, torch.Generator().manual_seed(1)) if masked else None
    weight = torch.randn(3, 6, 9, dtype=torch.float32)

    def gradients(*, autocast):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            means = block.means(x, mask)
        block.zero_grad()
        (means * weight).sum().backward()
        return [p.grad.clone() for p in (block.query.weight, block.query.bias, block.key.weight)]

    for rough, exact in zip(gradients(autocast=True), gradients(autocast=False), strict=True):
        assert float((rough - exact).norm()) < 1e-3 * float(exact.norm())


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_mean_of_scalars_far_from_zero_keeps_its_digits(offset):
    """In single precision the gradient is near that of double, even where all scalars are near 100."""
    block = shake(ScalarSAB(12, 3))
    x = offset + torch.randn(6, 9).float().double()
    weight = torch.randn(3, 6, 9)

    def gradient(block, x, weight):
        block.zero_grad()
        (block.means(x, None) * weight).sum().backward()
        return block.query.bias.grad.double()

    exact = gradient(block, x, weight)
    single = gradient(block.float(), x.float(), weight.float())
    assert float((single - exact).norm()) < 1e-3 * float(exact.norm())


def literal_pooled(scalar, pool, x, mask, added):
    """SAB on the scalars, a vector added to each set, and a PMA, each by its equation."""
    scalars = x.unsqueeze(-1)
    elements = literal_mab(scalars, scalars, *linears(scalar), scalar.heads, mask) + added[:, None]
    seeds = pool.seed.expand(len(x), 1, -1)
    return literal_mab(seeds, elements, *linears(pool), pool.heads, mask)[:, 0]


@pytest.mark.parametrize("block", [1, 20, 1 << 18])
@pytest.mark.parametrize("masked", [False, True])
def test_pooled_scalars_equal_their_literal_form(masked, block, monkeypatch):
    """Outputs and gradients are those of SAB and PMA one after the other, however few sets a block has."""
    monkeypatch.setattr(fast, "IN_CACHE", block * 9 * 12)
    scalar, pool = shake(ScalarSAB(12, 3)), shake(PMA(12, 4))
    added, factor = torch.randn(50, 12, requires_grad=True), torch.randn(50, 12)
    mask = random_mask(50, 9, torch.Generator().manual_seed(1)) if masked else None
    for x in (torch.randn(50, 9), torch.randn(50, 9, requires_grad=True)):
        inputs = (x, added) if x.requires_grad else (added,)
        expected = literal_pooled(scalar, pool, x, mask, added)
        check(scalar.pooled(x, mask, pool, added), expected, factor, scalar, pool, *inputs)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_pooled_scalars_have_the_digits_of_single_precision(scale):
    """In single precision the result differs from the literal form in double by less than 1e-5 of its size.

    Weights are relative to their scale, but a chunk may be much smaller or larger than its parameter.
    """
    scalar, pool = shake(ScalarSAB(16, 4)), shake(PMA(16, 4))
    x, added = (scale * torch.randn(40, 32)).float().double(), torch.randn(40, 16).float().double()
    with torch.no_grad():
        exact = literal_pooled(scalar, pool, x, None, added)
        single = scalar.float().pooled(x.float(), None, pool.float(), added.float()).double()
    assert float((single - exact).abs().max()) < 1e-5 * float(exact.abs().max())


def test_pooled_scalars_ignore_autocast():
    """Under autocast, what is pooled is computed in single precision."""
    scalar, pool = shake(ScalarSAB(16, 4)).float(), shake(PMA(16, 4)).float()
    x, added = (torch.randn(*shape, dtype=torch.float32) for shape in ((40, 32), (40, 16)))
    exact = scalar.pooled(x, None, pool, added)
    with torch.autocast("cpu", torch.bfloat16):
        rough = scalar.pooled(x, None, pool, added)
    rough.sum().backward()
    difference = (rough - exact).detach()
    assert float(difference.norm()) < 2e-2 * float(exact.detach().norm())  # what comes after is rounded


def test_the_block_is_computed_in_single_precision_under_autocast():
    """Also where Φ1 has more blocks, so that the first one is not pooled, no digit of it is lost."""
    block, x = shake(ScalarSAB(16, 4)).float(), torch.randn(40, 32, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        rough = block(x)
    assert torch.equal(rough, block(x))


def test_many_blocks_of_scores_equal_one(monkeypatch):
    """The means of sets do not depend on how many sets a block has."""
    block, x = shake(ScalarSAB(12, 3)), torch.randn(50, 9)
    whole = block.means(x, None)
    monkeypatch.setattr(fast, "IN_CACHE", 1)
    assert torch.allclose(block.means(x, None), whole, atol=1e-14, rtol=0)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 9), pads=st.integers(1, 5), value=st.floats(-50, 50))
def test_padding_has_no_effect(count, pads, value):
    """Any number of padded elements with any value gives the same result."""
    torch.manual_seed(3)
    scalar, pool = shake(ScalarSAB(8, 2)), shake(PMA(8, 2))
    x = torch.randn(2, count)
    padded = torch.cat([x, torch.full((2, pads), value)], dim=1)
    mask = torch.arange(count + pads).expand(2, -1) < count
    added = torch.randn(2, 8)
    expected = scalar.pooled(x, None, pool, added)
    actual = scalar.pooled(padded, mask, pool, added)
    assert torch.allclose(actual, expected, atol=1e-10, rtol=0)

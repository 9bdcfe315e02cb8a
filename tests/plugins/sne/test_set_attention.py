"""Fast set attention against its literal form: outputs and gradients, float64, 1e-10."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sneframe_sne.set_attention import ISAB, MAB, PMA, SAB, ScalarSAB
from torch import nn

from sneframe.errors import PartError


def literal_mab(x, y, query, key, value, output, norm1, norm2, heads, mask=None):
    """Set Transformer's MAB, written out with one loop over sets and heads."""
    rows = []
    for s in range(x.shape[0]):
        q, k, v = query(x[s]), key(y[s]), value(y[s])
        d = q.shape[1] // heads
        columns = []
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            scores = q[:, part] @ k[:, part].T / math.sqrt(d)
            if mask is not None:
                scores = scores.masked_fill(~mask[s][None, :], -math.inf)
            columns.append(scores.softmax(1) @ v[:, part])
        hidden = norm1(q + torch.cat(columns, dim=1))
        rows.append(norm2(hidden + torch.relu(output(hidden))))
    return torch.stack(rows)


def linears(block):
    # the key's bias cancels in the softmax, so the literal form may have any
    bias = torch.randn(block.key.out_features) if block.key.bias is None else block.key.bias

    def key(y):
        return nn.functional.linear(y, block.key.weight, bias)

    return block.query, key, block.value, block.output, block.norm1, block.norm2


def random_mask(sets, count, generator):
    mask = torch.rand(sets, count, generator=generator) < 0.6
    mask[:, 0] = True
    return mask


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def shake(block):
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return block


def check(actual, expected, share, *leaves):
    """Compare outputs, and the gradients of their sum, weighted by ``share``, to blocks and inputs."""
    assert torch.allclose(actual, expected, atol=1e-10, rtol=0)
    tensors = [t for leaf in leaves for t in (leaf.parameters() if isinstance(leaf, nn.Module) else [leaf])]
    found, wanted = (torch.autograd.grad((made * share).sum(), tensors) for made in (actual, expected))
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-10, rtol=1e-10)


def random(*shape):
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("masked", [False, True])
def test_mab_equals_its_literal_form(masked):
    block = shake(MAB(12, 3))
    x, y = random(4, 5, 12), random(4, 7, 12)
    mask = random_mask(4, 7, torch.Generator().manual_seed(1)) if masked else None
    expected = literal_mab(x, y, *linears(block), 3, mask)
    check(block(x, y, mask), expected, torch.randn(4, 5, 12), block, x, y)


@pytest.mark.parametrize("masked", [False, True])
def test_scalar_sab_equals_sab_on_scalars(masked):
    block = shake(ScalarSAB(12, 3))
    x = torch.randn(6, 9)
    mask = random_mask(6, 9, torch.Generator().manual_seed(1)) if masked else None
    scalars = x.unsqueeze(-1)
    share = torch.randn(6, 9, 12)
    if masked:
        share = share * mask.unsqueeze(-1)
    expected = literal_mab(scalars, scalars, *linears(block), 3, mask)
    check(block(x, mask), expected, share, block)
    # Where the scalars ask for a gradient, they get it, and the block gets the same.
    asking = x.clone().requires_grad_()
    scalars = asking.unsqueeze(-1)
    expected = literal_mab(scalars, scalars, *linears(block), 3, mask)
    check(block(asking, mask), expected, share, block, asking)


def test_scalar_sab_passes_gradients_on_to_its_scalars():
    block = shake(ScalarSAB(8, 2))
    x = torch.randn(3, 5, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,), atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1.0, 5.0])
def test_gradients_under_bf16_autocast_are_those_of_float32(offset, masked):
    """Scalars far from zero beside their spread: there a variance in bfloat16 is off by more than itself."""
    block = shake(ScalarSAB(12, 3)).float()
    x = offset + 0.1 * torch.randn(6, 9, dtype=torch.float32)
    mask = random_mask(6, 9, torch.Generator().manual_seed(1)) if masked else None
    weight = torch.randn(6, 9, 3, dtype=torch.float32)

    def found(*, rough):
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            means = block.means(x, mask)
        block.zero_grad()
        (means * weight).sum().backward()
        return [p.grad.clone() for p in (block.query.weight, block.query.bias, block.key.weight)]

    for rough, exact in zip(found(rough=True), found(rough=False), strict=True):
        assert float((rough - exact).norm()) < 1e-3 * float(exact.norm())


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_mean_of_scalars_far_from_zero_keeps_its_digits(offset):
    """Single against double precision, whose literal form it equals: the tilts are moderate, the offset is not."""
    block = shake(ScalarSAB(12, 3))
    x = offset + torch.randn(6, 9).float().double()
    weight = torch.randn(6, 9, 3)

    def found(block, x, weight):
        block.zero_grad()
        (block.means(x, None) * weight).sum().backward()
        return block.query.bias.grad.double()

    exact = found(block, x, weight)
    single = found(block.float(), x.float(), weight.float())
    assert float((single - exact).norm()) < 1e-3 * float(exact.norm())


@pytest.mark.parametrize("masked", [False, True])
def test_pma_equals_its_literal_form(masked):
    block = shake(PMA(12, 3))
    x = random(4, 7, 12)
    mask = random_mask(4, 7, torch.Generator().manual_seed(1)) if masked else None
    seeds = block.seed.expand(4, 1, 12)
    expected = literal_mab(seeds, x, *linears(block), 3, mask)[:, 0]
    check(block(x, mask), expected, torch.randn(4, 12), block, x)


@pytest.mark.parametrize("masked", [False, True])
def test_isab_is_two_mabs_through_its_points(masked):
    block = shake(ISAB(8, 2, 3))
    x = random(4, 6, 8)
    mask = random_mask(4, 6, torch.Generator().manual_seed(1)) if masked else None
    points = literal_mab(block.points.expand(4, 3, 8), x, *linears(block.gather), 2, mask)
    expected = literal_mab(x, points, *linears(block.scatter), 2)
    check(block(x, mask), expected, torch.randn(4, 6, 8), block, x)


def test_the_attention_of_mab_is_that_of_torch():
    """torch's layer has an output projection where MAB has none: set to the identity, both coincide."""
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
def test_padding_is_never_seen(count, pads, value):
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
    with pytest.raises(PartError, match="heads = 5 and width = 12"):
        block(12, 5)

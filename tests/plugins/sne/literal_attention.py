"""The attention of Set Transformer in loops, and a comparison of fast attention with it."""

import math

import torch
from torch import nn


def literal_mab(x, y, query, key, value, output, norm1, norm2, heads, mask=None):
    """The MAB of Set Transformer, in loops over sets and heads."""
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
    # The key's bias cancels in the softmax, so the literal form may have any.
    bias = torch.randn(block.key.out_features) if block.key.bias is None else block.key.bias

    def key(y):
        return nn.functional.linear(y, block.key.weight, bias)

    return block.query, key, block.value, block.output, block.norm1, block.norm2


def random_mask(sets, count, generator):
    mask = torch.rand(sets, count, generator=generator) < 0.6
    mask[:, 0] = True
    return mask


def shake(block):
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return block


def check(actual, expected, factor, *leaves):
    """Compare outputs, and the gradients of their sum weighted by ``factor`` for blocks and inputs."""
    assert torch.allclose(actual, expected, atol=1e-10, rtol=0)
    tensors = [t for leaf in leaves for t in (leaf.parameters() if isinstance(leaf, nn.Module) else [leaf])]
    gradients = (torch.autograd.grad((output * factor).sum(), tensors) for output in (actual, expected))
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-10, rtol=1e-10)


def random(*shape):
    return torch.randn(*shape, requires_grad=True)

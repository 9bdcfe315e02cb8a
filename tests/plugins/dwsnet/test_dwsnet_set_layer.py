"""Set layers and pooling, compared with their equations in loops."""

import math

import pytest
import torch
from sneframe_dwsnet.dws_layer import DWSLayer, initialise
from sneframe_dwsnet.pooling import pool
from sneframe_dwsnet.set_layer import DeepSets, SetAttention

from sneframe.errors import PartError
from sneframe.nn.perceptron import perceptron


def test_set_attention_equals_its_equation():
    """The layer equals the equation in loops over elements and heads."""
    torch.manual_seed(0)
    layer = SetAttention(3, 6, heads=2).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)

    with torch.no_grad():
        actual = layer(x)
        expected = torch.stack([literal_attention(layer, elements) for elements in x])

    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def literal_attention(layer, x):
    """Return set attention with two heads of three values for one set of five elements."""
    q, k, v = (getattr(layer, name)(x) for name in ("query", "key", "value"))
    rows = []
    for i in range(5):
        attended = []
        for head in (slice(0, 3), slice(3, 6)):
            powers = [math.exp(float(q[i, head] @ k[j, head]) / math.sqrt(6)) for j in range(5)]
            attended.append(sum(p / sum(powers) * v[j, head] for j, p in enumerate(powers)))
        hidden = q[i] + torch.cat(attended)
        rows.append(hidden + (layer.output.weight @ hidden + layer.output.bias).clamp(min=0))
    return torch.stack(rows)


def test_heads_that_do_not_divide_the_width_are_refused():
    """The error gives both numbers."""
    with pytest.raises(PartError, match="heads must divide width, but got heads = 3 and width = 8"):
        SetAttention(4, 8, heads=3)


def test_deep_sets_equals_its_equation():
    """The layer equals Γ(x) − Λ(max x), both of two layers."""
    torch.manual_seed(0)
    layer = DeepSets(3, 2, reduction="max", depth=2).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    (a, _, b), (c, _, d) = layer.gamma, layer.lambda_

    largest = x.max(dim=1).values
    pooled = (largest @ c.weight.T).clamp(min=0) @ d.weight.T
    expected = (x @ a.weight.T + a.bias).clamp(min=0) @ b.weight.T + b.bias - pooled[:, None]

    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("reduction", "expected"), [("max", [3.0, 4.0]), ("mean", [2.0, 2.0]), ("sum", [4.0, 4.0])]
)
def test_pooling_reduces_one_axis(reduction, expected):
    """Maximum, mean and sum of two elements are the numbers given."""
    x = torch.tensor([[[1.0, 0.0], [3.0, 4.0]]])

    assert pool(x, 1, reduction).tolist() == [expected]


def test_equal_maxima_share_the_gradient():
    """Two equal maxima get half of it each."""
    x = torch.tensor([[2.0, 1.0], [2.0, 5.0], [0.0, 5.0]], requires_grad=True)

    pool(x, 0, "max").backward(torch.tensor([4.0, 6.0]))

    assert x.grad.tolist() == [[2.0, 0.0], [2.0, 3.0], [0.0, 3.0]]


def test_the_gradient_of_max_equals_that_of_amax():
    """It is torch's gradient, with many equal maxima."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5).relu().requires_grad_()
    twin = x.detach().clone().requires_grad_()
    gradient = torch.randn(3, 5)

    pool(x, 1, "max").backward(gradient)
    twin.amax(1).backward(gradient)

    torch.testing.assert_close(x.grad, twin.grad)


def test_initial_weights_have_the_published_std():
    """The standard deviation is that of the equation, and biases lie within ±1e-4."""
    torch.manual_seed(0)
    layer = DWSLayer((), (), 1, set_layer=SetAttention, reduction="max", depth=1)
    layer.maps["probe"] = perceptron((100, 400))

    initialise(layer, scale=0.5)

    weight, bias = layer.maps["probe"][0].weight, layer.maps["probe"][0].bias
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 500) * math.sqrt(200 / 400) * 0.5, rel=0.02)
    assert 0.9e-4 < bias.abs().max() <= 1e-4

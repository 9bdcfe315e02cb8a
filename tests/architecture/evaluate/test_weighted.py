"""Layers with weights compute what torch's modules compute, for several networks at once."""

import pytest
import torch
from described import Scaled, assert_agrees, behind_scale, of_module
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.architecture.evaluate import evaluate
from sneframe.errors import ArchitectureError

few = settings(max_examples=25, deadline=None)
sizes = st.integers(1, 4)


@few
@given(
    inputs=sizes,
    outputs=sizes,
    bias=st.booleans(),
    shape=st.lists(sizes, min_size=1, max_size=3),
    networks=sizes,
)
def test_linear(inputs, outputs, bias, shape, networks):
    """A linear layer acts on the last axis, whatever axes are before it."""
    module = nn.Linear(inputs, outputs, bias=bias)
    assert_agrees(of_module(module, "linear"), module, torch.randn(*shape, inputs), networks=networks)


def convolution_settings(module):
    given = {"stride": list(module.stride), "dilation": list(module.dilation)}
    padding = module.padding
    given["padding"] = padding if isinstance(padding, str) else list(padding)
    if module.groups != 1:
        given["groups"] = module.groups
    if module.transposed:
        given["output_padding"] = list(module.output_padding)
    if module.padding_mode != "zeros":
        given["padding_mode"] = module.padding_mode
    return given


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # torch's, about its own copy
@few
@given(
    data=st.data(),
    ndim=st.integers(1, 3),
    groups=st.sampled_from([1, 1, 2, 3]),
    bias=st.booleans(),
    networks=st.integers(1, 3),
    examples=st.integers(1, 3),
)
def test_convolutions(data, ndim, groups, bias, networks, examples):
    """Convolutions of any stride, padding, dilation, groups and padding mode."""
    each = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731  # short
    kernel, dilation, stride = each(1, 3), each(1, 2), each(1, 3)
    mode = data.draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    padding = each(0, 2)
    if data.draw(st.booleans()):
        padding, stride = data.draw(st.sampled_from(["same", "valid"])), (1,) * ndim
    module = getattr(nn, f"Conv{ndim}d")(
        groups * data.draw(sizes),
        groups * data.draw(sizes),
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        padding_mode=mode,
    )
    architecture = of_module(module, f"conv{ndim}d", attributes=convolution_settings(module))
    x = torch.randn(examples, module.in_channels, *each(5, 7))
    assert_agrees(architecture, module, x, networks=networks)


@few
@given(data=st.data(), ndim=st.integers(1, 3), groups=st.sampled_from([1, 2]), bias=st.booleans())
def test_transposed_convolutions(data, ndim, groups, bias):
    """Transposed convolutions of any stride, padding, output padding, dilation and groups."""
    each = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731  # short
    stride, dilation = each(1, 3), each(1, 2)
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    module = getattr(nn, f"ConvTranspose{ndim}d")(
        groups * data.draw(sizes),
        groups * data.draw(sizes),
        each(2, 3),
        stride=stride,
        padding=each(0, 1),
        output_padding=extra,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    architecture = of_module(module, f"conv_transpose{ndim}d", attributes=convolution_settings(module))
    assert_agrees(architecture, module, torch.randn(2, module.in_channels, *each(3, 5)))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_behind_a_convolution(groups):
    """A convolution reads values that differ from network to network, in whatever order they are stored."""
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1, groups=groups),
        nn.Tanh(),
        nn.ConvTranspose2d(6, 3, 2, stride=2),
    )
    layers = [
        Layer(
            kind=kind,
            parameters=[
                Parameter(name=f"{n}.{name}", shape=tuple(value.shape), role=name)
                for name, value in module[n].named_parameters()
            ],
            inputs=inputs,
            activation=activation,
            attributes=convolution_settings(module[n]),
        )
        for n, kind, inputs, activation in (
            (0, "conv2d", (), "relu"),
            (2, "conv2d", (0,), "tanh"),
            (4, "conv_transpose2d", (1,), "none"),
        )
    ]
    assert_agrees(Architecture(layers=layers, outputs=[2]), module, torch.randn(3, 2, 9, 8))


def test_the_gradient_of_a_convolution_has_a_gradient():
    """Second derivatives exist, as a penalty on gradients needs them."""
    module = nn.Conv2d(1, 2, 3, stride=2, dilation=2)
    architecture = of_module(module, "conv2d", attributes=convolution_settings(module), activation="tanh")
    weights = torch.randn(2, architecture.num_weights, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda w, x: evaluate(architecture, w, x), (weights, x))


NORMS = {
    "batch_norm-1d": (nn.BatchNorm1d(4), "batch_norm", {"eps": 1e-5}, (3, 4)),
    "batch_norm-2d": (nn.BatchNorm2d(4, eps=0.1), "batch_norm", {"eps": 0.1}, (3, 4, 5, 2)),
    "batch_norm-plain": (nn.BatchNorm2d(4, affine=False), "batch_norm", {"eps": 1e-5}, (3, 4, 5, 2)),
    "instance_norm": (nn.InstanceNorm2d(4, affine=True), "instance_norm", {"eps": 1e-5}, (3, 4, 5, 2)),
    "instance_norm-1d": (nn.InstanceNorm1d(4, affine=True), "instance_norm", {"eps": 1e-5}, (3, 4, 5)),
    "layer_norm": (nn.LayerNorm(6), "layer_norm", {"eps": 1e-5, "shape": [6]}, (3, 5, 6)),
    "layer_norm-2": (nn.LayerNorm((5, 6)), "layer_norm", {"eps": 1e-5, "shape": [5, 6]}, (3, 5, 6)),
    "layer_norm-no-bias": (
        nn.LayerNorm(6, bias=False),
        "layer_norm",
        {"eps": 1e-5, "shape": [6]},
        (3, 6),
    ),
    "rms_norm": (nn.RMSNorm(6, eps=1e-3), "rms_norm", {"eps": 1e-3, "shape": [6]}, (3, 5, 6)),
    "rms_norm-dtype": (nn.RMSNorm(6), "rms_norm", {"eps": "dtype", "shape": [6]}, (3, 5, 6)),
    "group_norm": (nn.GroupNorm(2, 4), "group_norm", {"eps": 1e-5, "num_groups": 2}, (3, 4, 5, 2)),
    "group_norm-1": (nn.GroupNorm(1, 4, eps=0.1), "group_norm", {"eps": 0.1, "num_groups": 1}, (3, 4)),
    "prelu": (nn.PReLU(4), "prelu", {}, (3, 4, 5)),
    "prelu-1": (nn.PReLU(), "prelu", {}, (3, 4, 5)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name):
    """Norms and PReLU, with and without parameters."""
    module, kind, attributes, shape = NORMS[name]
    assert_agrees(of_module(module, kind, attributes=attributes), module, torch.randn(shape))


@pytest.mark.parametrize(
    ("kind", "attributes", "function"),
    [
        ("layer_norm", {"eps": 1e-5, "shape": [4]}, lambda x: nn.functional.layer_norm(x, (4,))),
        ("rms_norm", {"eps": 1e-3, "shape": [4]}, lambda x: nn.functional.rms_norm(x, (4,), eps=1e-3)),
        ("group_norm", {"eps": 1e-5, "num_groups": 3}, lambda x: nn.functional.group_norm(x, 3)),
        ("instance_norm", {"eps": 1e-5}, nn.functional.instance_norm),
    ],
)
def test_norms_without_parameters(kind, attributes, function):
    """A norm needs no parameters of its own."""
    layer = Layer(kind=kind, attributes=attributes, inputs=[0])
    assert_agrees(behind_scale(layer), Scaled(function), torch.randn(2, 3, 5, 4))


@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_embedding(shape):
    """An embedding looks up rows of its table."""
    module = nn.Embedding(7, 3)
    assert_agrees(of_module(module, "embedding"), module, torch.randint(7, shape))


def test_a_mixture_of_another_number_of_words_is_refused():
    """A mixture has one number for each word."""
    architecture = of_module(nn.Embedding(4, 3), "embedding")
    with pytest.raises(ArchitectureError, match="it mixes 4 words, but got 5"):
        evaluate(architecture, torch.zeros(1, 12), torch.zeros(1, 5))


def test_a_mixture_of_words():
    """Floating-point inputs mix the rows of an embedding, so that a probe can be learned."""
    module = nn.Embedding(4, 3)
    architecture = of_module(module, "embedding")
    weights = torch.randn(2, 12)
    words = torch.tensor([[0, 3], [2, 2]])
    one_hot = nn.functional.one_hot(words, 4).float()
    torch.testing.assert_close(
        evaluate(architecture, weights, one_hot), evaluate(architecture, weights, words)
    )
    mixed = evaluate(architecture, weights, torch.full((1, 1, 4), 0.25))
    torch.testing.assert_close(mixed, weights.reshape(2, 1, 1, 4, 3).mean(3))


def test_the_statistics_of_a_batch_norm_have_gradients():
    """The description is differentiable in all weights, also in those that torch only stores."""
    architecture = of_module(nn.BatchNorm1d(2), "batch_norm", attributes={"eps": 1e-5})
    weights = torch.rand(2, 8, dtype=torch.float64) + 0.5
    x = torch.randn(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: evaluate(architecture, w, x), weights.requires_grad_())

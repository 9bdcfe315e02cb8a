"""Activations, poolings, rearrangements and element-wise operations compute what torch computes."""

import math

import pytest
import torch
import torch.nn.functional as F
from described import EXACT, Scaled, assert_agrees, behind_scale, of_module
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.architecture.evaluate import evaluate
from sneframe.architecture.operations import KNOWN_ACTIVATIONS

few = settings(max_examples=25, deadline=None)

ACTIVATIONS = {
    "none": (nn.Identity(), {}),
    "relu": (nn.ReLU(), {}),
    "leaky_relu": (nn.LeakyReLU(0.3), {"negative_slope": 0.3}),
    "elu": (nn.ELU(), {}),
    "elu-alpha": (nn.ELU(0.4), {"alpha": 0.4}),
    "celu": (nn.CELU(0.4), {"alpha": 0.4}),
    "selu": (nn.SELU(), {}),
    "gelu": (nn.GELU(), {}),
    "gelu-tanh": (nn.GELU(approximate="tanh"), {"approximate": "tanh"}),
    "silu": (nn.SiLU(), {}),
    "mish": (nn.Mish(), {}),
    "softplus": (nn.Softplus(), {}),
    "softplus-beta": (nn.Softplus(2.0, 3.0), {"beta": 2.0, "threshold": 3.0}),
    "tanh": (nn.Tanh(), {}),
    "sigmoid": (nn.Sigmoid(), {}),
    "hardswish": (nn.Hardswish(), {}),
    "hardsigmoid": (nn.Hardsigmoid(), {}),
    "hardtanh": (nn.ReLU6(), {"min": 0.0, "max": 6.0}),
    "erf": (torch.erf, {}),
    "glu": (nn.GLU(), {"axis": -1}),
    "glu-1": (nn.GLU(1), {"axis": 1}),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    """Each activation with its settings."""
    function, options = ACTIVATIONS[name]
    attributes = {"activation_options": options} if options else {}
    layer = Layer(kind="activation", inputs=[0], activation=name.partition("-")[0], attributes=attributes)
    assert_agrees(behind_scale(layer), Scaled(function), 4 * torch.randn(3, 4, 6))


def test_every_known_activation_can_be_evaluated():
    """The only exceptions are an unknown activation, and PReLU, which is a layer of its own."""
    tested = {name.partition("-")[0] for name in ACTIVATIONS} | {"sine", "cosine"}
    assert set(KNOWN_ACTIVATIONS) - tested == {"other", "prelu"}


@pytest.mark.parametrize(("name", "function"), [("sine", torch.sin), ("cosine", torch.cos)])
@pytest.mark.parametrize(("factor", "shift"), [(30.0, 0.0), (1, 0.5), (-2.5, 1.5)])
def test_factor_and_shift_come_before_the_activation(name, function, factor, shift):
    """A layer computes activation(factor · z + shift)."""
    module = nn.Linear(2, 3)
    attributes = {"factor": factor, "shift": shift}
    architecture = of_module(module, "linear", activation=name, attributes=attributes)
    weights = torch.randn(2, 9, dtype=torch.float64)
    x = torch.randn(4, 2, dtype=torch.float64)
    expected = [function(factor * F.linear(x, row[:6].reshape(3, 2), row[6:]) + shift) for row in weights]
    torch.testing.assert_close(evaluate(architecture, weights, x), torch.stack(expected), **EXACT)


#: by name: kind, attributes, the function, and the shape of the input
OPERATIONS = {
    "softmax": ("softmax", {"axis": 1}, lambda x: x.softmax(1), (2, 3, 4)),
    "softmax-last": ("softmax", {"axis": -1}, lambda x: x.softmax(-1), (2, 3, 4)),
    "log_softmax": ("log_softmax", {"axis": -2}, lambda x: x.log_softmax(-2), (2, 3, 4)),
    "cumsum": ("cumsum", {"axis": 1}, lambda x: x.cumsum(1), (2, 3, 4)),
    "flatten": ("flatten", {}, lambda x: x.flatten(1), (2, 3, 4, 2)),
    "flatten-2": ("flatten", {"start": 2}, lambda x: x.flatten(2), (2, 3, 4, 2)),
    "flatten-1-2": ("flatten", {"start": 1, "stop": 2}, lambda x: x.flatten(1, 2), (2, 3, 4, 2)),
    "flatten-last": ("flatten", {"start": -2, "stop": -1}, lambda x: x.flatten(-2), (2, 3, 4, 2)),
    "reshape": ("reshape", {"shape": [-1, 6, 2]}, lambda x: x.reshape(-1, 6, 2), (2, 3, 4)),
    "reshape-K": ("reshape", {"shape": [1, "K", 12]}, lambda x: x.reshape(1, 2, 12), (2, 3, 4)),
    "transpose": ("transpose", {"order": [0, 2, 1]}, lambda x: x.permute(0, 2, 1), (2, 3, 4)),
    "transpose-0": ("transpose", {"order": [1, 0, 2]}, lambda x: x.permute(1, 0, 2), (2, 3, 4)),
    "select": ("select", {"axis": 1, "index": 2}, lambda x: x[:, 2], (2, 3, 4)),
    "select-last": ("select", {"axis": -1, "index": -1}, lambda x: x[..., -1], (2, 3, 4)),
    "slice": ("slice", {"axis": 2, "start": 1, "stop": 3}, lambda x: x[..., 1:3], (2, 3, 4)),
    "slice-step": (
        "slice",
        {"axis": -2, "start": 0, "stop": 3, "step": 2},
        lambda x: x[:, 0:3:2],
        (2, 3, 4),
    ),
    "slice-open": ("slice", {"axis": 1, "start": 1}, lambda x: x[:, 1:], (2, 3, 4)),
    "take": ("take", {"axis": 1, "indices": [2, 0, 2]}, lambda x: x[:, [2, 0, 2]], (2, 3, 4)),
    "expand": ("expand", {"shape": [-1, 5, -1]}, lambda x: x.expand(-1, 5, -1), (2, 1, 4)),
    "repeat": ("repeat", {"repeats": [1, 2, 3]}, lambda x: x.repeat(1, 2, 3), (2, 3, 4)),
    "repeat-new": ("repeat", {"repeats": [2, 1, 1, 3]}, lambda x: x.repeat(2, 1, 1, 3), (2, 3, 4)),
    "mean": ("mean", {"axes": [1, 2], "keepdim": False}, lambda x: x.mean((1, 2)), (2, 3, 4)),
    "mean-last": ("mean", {"axes": [-1], "keepdim": True}, lambda x: x.mean(-1, keepdim=True), (2, 3, 4)),
    "sum": ("sum", {"axes": [2], "keepdim": False}, lambda x: x.sum(2), (2, 3, 4)),
    "amax": ("amax", {"axes": [1], "keepdim": True}, lambda x: x.amax(1, keepdim=True), (2, 3, 4)),
    "amin": ("amin", {"axes": [1, 2], "keepdim": False}, lambda x: x.amin((1, 2)), (2, 3, 4)),
    "variance": (
        "variance",
        {"axes": [2], "keepdim": True, "correction": 1.0},
        lambda x: x.var(2, keepdim=True),
        (2, 3, 4),
    ),
    "norm": (
        "norm",
        {"axes": [-1], "keepdim": True, "ord": 2.0},
        lambda x: x.norm(dim=-1, keepdim=True),
        (2, 3, 4),
    ),
    "norm-inf": (
        "norm",
        {"axes": [-1], "keepdim": False, "ord": "inf"},
        lambda x: x.abs().amax(-1),
        (2, 3, 4),
    ),
    "global_average": ("global_average_pool", {"keepdim": False}, lambda x: x.mean((2, 3)), (2, 3, 4, 5)),
    "global_average-keep": (
        "global_average_pool",
        {"keepdim": True},
        nn.AdaptiveAvgPool2d(1),
        (2, 3, 4, 5),
    ),
    "global_max": ("global_max_pool", {"keepdim": False}, lambda x: x.amax(2), (2, 3, 4)),
    "global_max-keep": ("global_max_pool", {"keepdim": True}, nn.AdaptiveMaxPool2d(1), (2, 3, 4, 5)),
    "adaptive_avg": ("adaptive_avg_pool", {"size": [2, 3]}, nn.AdaptiveAvgPool2d((2, 3)), (2, 3, 5, 7)),
    "adaptive_avg-1d": ("adaptive_avg_pool", {"size": [2]}, nn.AdaptiveAvgPool1d(2), (2, 3, 5)),
    "adaptive_max": ("adaptive_max_pool", {"size": [2, 3]}, nn.AdaptiveMaxPool2d((2, 3)), (2, 3, 5, 7)),
    "pad": ("pad", {"amounts": [1, 2], "value": 0.5}, lambda x: F.pad(x, (1, 2), value=0.5), (2, 3, 4)),
    "pad-inf": (
        "pad",
        {"amounts": [1, 0, 0, 1], "value": "-inf"},
        lambda x: F.pad(x, (1, 0, 0, 1), value=-math.inf),
        (2, 3, 4),
    ),
    "pad-reflect": (
        "pad",
        {"amounts": [1, 2, 0, 1], "mode": "reflect"},
        nn.ReflectionPad2d((1, 2, 0, 1)),
        (2, 3, 4, 5),
    ),
    "pad-replicate": (
        "pad",
        {"amounts": [1, 2], "mode": "replicate"},
        nn.ReplicationPad1d((1, 2)),
        (2, 3, 4),
    ),
    "pad-circular": ("pad", {"amounts": [1, 2], "mode": "circular"}, nn.CircularPad1d((1, 2)), (2, 3, 4)),
    "upsample": (
        "upsample",
        {"scale": [2, 2], "mode": "nearest"},
        nn.Upsample(scale_factor=2),
        (2, 3, 4, 5),
    ),
    "upsample-linear": (
        "upsample",
        {"size": [7, 9], "mode": "bilinear", "align_corners": True},
        nn.Upsample((7, 9), mode="bilinear", align_corners=True),
        (2, 3, 4, 5),
    ),
    "upsample-1d": (
        "upsample",
        {"size": [7], "mode": "linear", "align_corners": False},
        nn.Upsample(7, mode="linear"),
        (2, 3, 4),
    ),
    "pixel_shuffle": ("pixel_shuffle", {"block": 2}, nn.PixelShuffle(2), (2, 8, 3, 3)),
    "pixel_unshuffle": ("pixel_unshuffle", {"block": 2}, nn.PixelUnshuffle(2), (2, 2, 4, 6)),
    "clamp": ("function", {"function": "clamp", "min": -0.1}, lambda x: x.clamp(min=-0.1), (2, 3)),
    "clamp-max": ("function", {"function": "clamp", "max": 0.1}, lambda x: x.clamp(max=0.1), (2, 3)),
    "pow": ("function", {"function": "pow", "exponent": 3}, lambda x: x**3, (2, 3)),
    **{
        name: ("function", {"function": name}, getattr(torch, name), (2, 3))
        for name in (
            *("abs", "asinh", "atan", "ceil", "cosh", "erfc", "exp", "exp2", "expm1", "floor", "neg"),
            *("reciprocal", "round", "sign", "sinh", "square", "tan", "trunc"),
        )
    },
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_one_value(name):
    """Operations along axes, poolings, rearrangements and functions, of values that differ by network."""
    kind, attributes, function, shape = OPERATIONS[name]
    architecture = behind_scale(Layer(kind=kind, inputs=[0], attributes=attributes))
    assert_agrees(
        architecture, Scaled(function), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    )


@pytest.mark.parametrize(
    "name", ["acos", "acosh", "asin", "atanh", "log", "log10", "log1p", "log2", "rsqrt", "sqrt"]
)
def test_functions_of_a_part_of_the_numbers(name):
    """Functions that are not defined for all numbers, where they are."""
    layer = Layer(kind="function", attributes={"function": name})
    parameter = Parameter(name="p", shape=(1,), role="p")
    last = Layer(kind="parameter", parameters=[parameter], inputs=[0], attributes={"operation": "add"})
    x = torch.tensor([[1.5, 2.5]] if name == "acosh" else [[0.25, 0.75]], dtype=torch.float64)
    found = evaluate(Architecture(layers=[layer, last], outputs=[1]), torch.ones(2, 1), x)
    torch.testing.assert_close(found, (getattr(torch, name)(x) + 1).expand(2, 1, 2), **EXACT)


@few
@given(data=st.data(), ndim=st.integers(1, 3), maximum=st.booleans(), ceil_mode=st.booleans())
def test_poolings_over_windows(data, ndim, maximum, ceil_mode):
    """Poolings of any window, stride, padding and dilation."""
    each = lambda low, high: [data.draw(st.integers(low, high)) for _ in range(ndim)]  # noqa: E731  # short
    kernel = each(1, 3)
    attributes = {
        "kernel": kernel,
        "stride": each(1, 3),
        "padding": [data.draw(st.integers(0, size // 2)) for size in kernel],
        "ceil_mode": ceil_mode,
    }
    if maximum:
        attributes["dilation"] = each(1, 2)
    elif data.draw(st.booleans()):
        attributes["count_include_pad"] = True
    else:
        attributes["count_include_pad"] = False
    torchs = {name.replace("kernel", "kernel_size"): value for name, value in attributes.items()}
    module = getattr(nn, f"{'Max' if maximum else 'Avg'}Pool{ndim}d")(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in torchs.items()}
    )
    layer = Layer(kind="max_pool" if maximum else "avg_pool", inputs=[0], attributes=attributes)
    assert_agrees(behind_scale(layer), Scaled(module), torch.randn(2, 3, *each(5, 7)))


def constant_of(numbers):
    """Return the layer of a constant."""
    attributes = {"shape": list(numbers.shape), "values": numbers.flatten().tolist()}
    return Layer(kind="constant", attributes=attributes)


@pytest.mark.parametrize(
    ("kind", "function"),
    [("add", torch.add), ("subtract", torch.sub), ("multiply", torch.mul), ("divide", torch.div)],
)
@pytest.mark.parametrize("other", [(2, 3, 4), (2, 1, 4), (4,), (1,)])
def test_operations_of_two_values_broadcast(kind, function, other):
    """Values of different numbers of axes are aligned at the last axis, as in one network."""
    numbers = torch.linspace(1, 2, math.prod(other), dtype=torch.float64).reshape(other)
    constant = constant_of(numbers)
    layer = Layer(kind=kind, inputs=[0, 1])
    architecture = behind_scale(constant, layer)
    assert_agrees(architecture, Scaled(lambda x: function(x, numbers)), torch.randn(2, 3, 4))


def test_sums_of_more_than_two_values():
    """A sum may have many terms, and a term may occur twice."""
    architecture = behind_scale(Layer(kind="add", inputs=[0, -1, 0, -2]))
    weights, x, y = torch.tensor([[2.0], [3.0]]), torch.ones(1, 2), torch.full((1, 2), 10.0)
    found = evaluate(architecture, weights, (x, y))
    assert found.tolist() == [[[15.0, 15.0]], [[17.0, 17.0]]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((2, 3, 4), (2, 4, 5)),
        ((2, 2, 3, 4), (2, 2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (4, 5)),
        ((4,), (4,)),
    ],
)
def test_matrix_products(first, second):
    """The product of two values is that of ``torch.matmul``, for vectors too."""
    numbers = torch.randn(second, dtype=torch.float64)
    architecture = behind_scale(constant_of(numbers), Layer(kind="matmul", inputs=[0, 1]))
    assert_agrees(architecture, Scaled(lambda x: x @ numbers), torch.randn(first))


def test_a_product_of_two_values_of_the_network():
    """Both factors may differ between networks."""
    flipped = Layer(kind="transpose", inputs=[0], attributes={"order": [0, 2, 1]})
    architecture = behind_scale(flipped, Layer(kind="matmul", inputs=[0, 1]))
    assert_agrees(architecture, Scaled(lambda x: x @ x.mT), torch.randn(2, 3, 4))


@pytest.mark.parametrize(
    ("kind", "axis"), [("concatenate", 1), ("concatenate", -1), ("stack", 1), ("stack", -1)]
)
def test_joining_values(kind, axis):
    """Values of the network, inputs, and constants that stand for all examples can be joined."""
    numbers = torch.randn(1, 3, 4, dtype=torch.float64)
    constant = constant_of(numbers)
    architecture = behind_scale(constant, Layer(kind=kind, inputs=[1, 0, -1], attributes={"axis": axis}))
    join = torch.cat if kind == "concatenate" else torch.stack
    found = torch.randn(2, 3, 4, dtype=torch.float64)
    weights = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    expected = [join([numbers.expand(2, -1, -1), row * found, found], axis) for row in weights]
    torch.testing.assert_close(evaluate(architecture, weights, found), torch.stack(expected), **EXACT)


def test_joining_examples():
    """Along the first axis, constants are not repeated."""
    constant = Layer(kind="constant", attributes={"shape": [1, 2], "values": [5.0, 6.0]})
    architecture = behind_scale(constant, Layer(kind="concatenate", inputs=[1, 0], attributes={"axis": 0}))
    found = evaluate(architecture, torch.tensor([[2.0]]), torch.ones(2, 2))
    assert found.tolist() == [[[5, 6], [2, 2], [2, 2]]]


def test_a_mask():
    """Elements under a mask are replaced, also by infinity."""
    mask = torch.tensor([[True, False], [False, True]])
    constant = Layer(
        kind="constant", attributes={"shape": [2, 2], "values": mask.flatten().tolist(), "dtype": "bool"}
    )
    filled = Layer(kind="masked_fill", inputs=[0, 1], attributes={"value": "-inf"})
    softmax = Layer(kind="softmax", inputs=[2], attributes={"axis": -1})
    architecture = behind_scale(constant, filled, softmax)
    module = Scaled(lambda x: x.masked_fill(mask, -math.inf).softmax(-1))
    assert_agrees(architecture, module, torch.randn(3, 2, 2))


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide"])
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (4,), (), (1, 3, 1)])
def test_a_parameter_and_a_value(operation, backward, shape):
    """A single parameter is combined with the value, in either order."""
    function = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div}[
        operation
    ]

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(shape))

        def forward(self, x):
            return function(self.position, x) if backward else function(x, self.position)

    attributes = {"operation": operation} | ({"reversed": True} if backward else {})
    assert_agrees(of_module(Module(), "parameter", attributes=attributes), Module(), torch.randn(2, 3, 4))


def test_a_token_of_the_network_is_joined_to_every_example():
    """A parameter is a value too, and stands for all examples."""

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 4))

        def forward(self, x):
            return torch.cat([self.token.expand(len(x), -1, -1), x], 1)

    token = Parameter(name="token", shape=(1, 1, 4), role="token")
    value = Layer(kind="parameter", parameters=[token], attributes={"operation": "value"})
    repeated = Layer(kind="expand", inputs=[0], attributes={"shape": ["K", -1, -1]})
    joined = Layer(kind="concatenate", inputs=[1, -1], attributes={"axis": 1})
    architecture = Architecture(layers=[value, repeated, joined], outputs=[2])
    assert_agrees(architecture, Module(), torch.randn(3, 2, 4))


class Tied(nn.Module):
    """A table that is also the matrix of the last layer, and the transpose of a matrix."""

    def __init__(self, *, transposed):
        super().__init__()
        self.table, self.transposed = nn.Parameter(torch.zeros(5, 3)), transposed

    def forward(self, words):
        x = self.table[words].tanh()
        x = x @ self.table.mT
        return x @ self.table if self.transposed else x


@pytest.mark.parametrize("use", ["table", {"parameter": "table", "steps": []}])
def test_a_parameter_that_an_earlier_layer_owns(use):
    """Tied weights are named in ``uses``."""
    table = Parameter(name="table", shape=(5, 3))
    first = Layer(kind="embedding", parameters=[table], activation="tanh")
    second = Layer(kind="linear", inputs=[0], attributes={"uses": {"weight": use}})
    architecture = Architecture(layers=[first, second], outputs=[1])
    assert_agrees(architecture, Tied(transposed=False), torch.tensor([[0, 4], [2, 2]]))


def test_a_parameter_that_is_rearranged_first():
    """``uses`` says how a parameter is rearranged before it is used."""
    table = Parameter(name="table", shape=(5, 3))
    first = Layer(kind="embedding", parameters=[table], activation="tanh")
    second = Layer(kind="linear", inputs=[0], attributes={"uses": {"weight": "table"}})
    use = {"parameter": "table", "steps": [["transpose", {"order": [1, 0]}]]}
    third = Layer(kind="linear", inputs=[1], attributes={"uses": {"weight": use}})
    architecture = Architecture(layers=[first, second, third], outputs=[2])
    assert_agrees(architecture, Tied(transposed=True), torch.tensor([[0, 4], [2, 2]]))

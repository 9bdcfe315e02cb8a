"""Verification: which architectures are refused, verified, or cannot be verified."""

import copy
import os
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import distributions, nn

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.symmetry import Unverifiable, verify

ROWS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A network with one hidden layer; a function of hidden neurons and outputs makes the result."""

    def __init__(self, last=lambda _h, y: y, width=8, outputs=3, activation=torch.relu):
        super().__init__()
        self.up, self.down = nn.Linear(4, width), nn.Linear(width, outputs)
        self.last, self.activation = last, activation

    def forward(self, x):
        h = self.activation(self.up(x))
        return self.last(h, self.down(h))


def changed(architecture, change):
    """Return an architecture after a function changed the JSON values of each parameter."""
    data = copy.deepcopy(architecture.to_json())
    for layer in data["layers"]:
        for parameter in layer["parameters"]:
            change(parameter)
    return Architecture.from_json(data)


def hidden(width=8, actions=("permute",), outputs=3):
    """Return the architecture of a :class:`Net`, whose hidden layer is one group."""
    architecture = Architecture.from_module(Net(width=width, outputs=outputs), ROWS)
    data = architecture.to_json()
    data["groups"][0]["actions"] = list(actions)
    return Architecture.from_json(data)


def without_columns(architecture):
    """Return an architecture in which the columns that read the group are fixed."""

    def change(parameter):
        if parameter["name"] == "down.weight":
            parameter["axes"][1] = [[parameter["shape"][1]]]
            parameter.pop("scale", None)

    return changed(architecture, change)


# -- groups and actions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_group_with_an_axis_left_out_is_refused(width, seed):
    """A group that misses one of its axes is refused, at every seed and size."""
    with pytest.raises(
        ArchitectureError, match="permuting the neurons of group 'hidden0' changes the outputs"
    ):
        verify(Net(width=width), without_columns(hidden(width)), ROWS, seed=seed)


def test_two_groups_that_only_move_together_are_refused():
    """Two factors of a product share one group; describing them as two groups is refused."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(2, 3)

        def forward(self, x):
            return self.c(self.a(x) * self.b(x))

    module = Product()
    true = Architecture.from_module(module, ROWS)
    (group,) = true.groups
    data = true.to_json()
    data["groups"] = [{"name": n, "size": 2, "actions": ["permute"], "parent": None} for n in ("x", "y")]
    for layer in data["layers"]:
        for parameter in layer["parameters"]:
            name = "y" if parameter["name"].startswith("b") else "x"
            parameter["axes"] = [
                [[name if f == group.name else f for f in s] for s in axis] for axis in parameter["axes"]
            ]
            parameter.pop("scale", None), parameter.pop("sign", None)
    for seed in range(5):
        with pytest.raises(ArchitectureError, match="no symmetry"):
            verify(module, Architecture.from_json(data), ROWS, seed=seed)


@pytest.mark.parametrize(("action", "word"), [("scale", "scaling"), ("sign", "flipping the signs of")])
def test_false_action_is_named(action, word):
    """Before a GELU, neurons can be permuted but not scaled or flipped; the error names the false action."""

    def change(parameter):
        parameter.pop("scale", None)
        rows = [[1 if axis == [["hidden0"]] else 0] for axis in parameter["axes"]]
        if parameter["name"] == "down.weight" and action == "scale":
            rows = [[-power[0]] for power in rows]
        if any(power[0] for power in rows):
            parameter[action] = rows

    wrong = changed(hidden(actions=("permute", action)), change)
    with pytest.raises(ArchitectureError, match=f"^{word} the neurons of group 'hidden0' changes"):
        verify(Net(activation=F.gelu), wrong, ROWS)


def test_action_that_moves_no_weight_is_refused():
    """An action without powers in any parameter is refused."""
    with pytest.raises(
        ArchitectureError, match="flipping the signs of the neurons of group 'hidden0' of Net moves no weight"
    ):
        verify(Net(), hidden(actions=("permute", "sign")), ROWS)


def test_scale_of_one_neuron_is_tested():
    """A group of one neuron cannot be permuted, but its scale is tested."""
    true = Architecture.from_module(Net(width=1), ROWS)
    assert verify(Net(width=1), true, ROWS).groups == len(true.groups)

    def change(parameter):
        powers = {"up.weight": [[1], [0]], "up.bias": [[1]], "down.weight": [[0], [1]]}
        if parameter["name"] in powers:
            axis = 1 if parameter["name"] == "down.weight" else 0
            parameter["axes"][axis] = [["one"]]
            parameter["scale"] = powers[parameter["name"]]

    wrong = true.to_json()
    wrong["groups"] = [{"name": "one", "size": 1, "actions": ["scale"], "parent": None}]
    for layer in wrong["layers"]:
        for parameter in layer["parameters"]:
            change(parameter)
    with pytest.raises(ArchitectureError, match="scaling the neurons of group 'one'"):
        verify(Net(width=1), Architecture.from_json(wrong), ROWS)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_false_first_layer_of_sixty_is_refused(activation):
    """A false first group is seen in a deep network, because suitable weights are drawn."""
    layers = [layer for _ in range(60) for layer in (nn.Linear(8, 8), activation())]
    module = nn.Sequential(nn.Linear(4, 8), activation(), *layers, nn.Linear(8, 2))

    def change(parameter):
        parameter.pop("scale", None), parameter.pop("sign", None)
        if parameter["name"] == "0.bias":
            parameter["axes"][0] = [[8]]

    data = Architecture.from_module(module, ROWS).to_json()
    data["groups"] = [{**group, "actions": ["permute"]} for group in data["groups"]]
    with pytest.raises(ArchitectureError, match="'hidden0' changes"):
        verify(module, changed(Architecture.from_json(data), change), ROWS)


def test_outputs_that_forget_a_group_cannot_be_verified():
    """The first of a hundred sigmoid layers change the outputs by less than a rounding error."""
    layers = [layer for _ in range(100) for layer in (nn.Linear(4, 4), nn.Sigmoid())]
    module = nn.Sequential(*layers, nn.Linear(4, 2))
    with pytest.raises(Unverifiable, match="hardly depend on group 'hidden0'"):
        verify(module, Architecture.from_module(module, ROWS), ROWS)


def test_group_without_any_influence_is_verified():
    """A group of neurons that nothing reads is verified, because no claim about it can be false."""
    module = Net(lambda h, y: y + 0 * h.sum(-1, keepdim=True))
    module.idle = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))
    module.last = lambda h, y: (y, module.idle(y).detach() * 0)[0]
    architecture = Architecture.from_module(module, ROWS)
    assert len(architecture.groups) == 3
    assert verify(module, architecture, ROWS).groups == 3


def test_passes_do_not_grow_with_the_number_of_groups():
    """Sixty groups need only a few more passes than one."""
    layers = [layer for _ in range(60) for layer in (nn.Linear(4, 4), nn.GELU())]
    module = nn.Sequential(*layers, nn.Linear(4, 2))
    few, many = (verify(m, Architecture.from_module(m, ROWS), ROWS) for m in (Net(), module))
    assert (few.groups, many.groups) == (1, 60)
    assert many.passes <= few.passes + 6


# -- each number by its own size -----------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [-1e20, float(torch.finfo(torch.float32).min), float("-inf")])
def test_masked_logit_hides_no_other_number(mask):
    """A very large or infinite number does not hide changes of the others in its tensor."""
    module = Net(lambda _h, y: y.masked_fill(torch.tensor([False, True, False]), mask))
    assert verify(module, hidden(), ROWS).error < 1e-10
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(module, without_columns(hidden()), ROWS)


def test_large_output_hides_no_small_one():
    """A change of hidden neurons in the outputs is seen beside numbers that are 1e12 times larger."""
    module = Net(lambda h, y: torch.cat([1e9 * y, 1e-3 * h], -1))
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(module, hidden(), ROWS)


class Frozen:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda h: {"deep": [(h,)]},
        lambda h: distributions.Categorical(logits=h),
        Frozen,
        lambda h: torch.complex(h, h),
        lambda h: h.to_sparse(),
        lambda h: float(h[0, 0]),
        lambda h: torch.nested.as_nested_tensor([h[0], h[1]]),
    ],
    ids=["nested", "distribution", "object", "complex", "sparse", "number", "ragged"],
)
def test_hidden_neurons_in_the_outputs_are_refused(wrap):
    """Hidden neurons in the outputs are found inside any object, beside an output that does not change."""
    with pytest.raises(ArchitectureError, match=r"at output\[1\]"):
        verify(Net(lambda h, y: (y, wrap(h))), hidden(), ROWS)


def test_output_that_cannot_be_opened_is_refused():
    """A function among the outputs is refused, because it may hold anything."""
    with pytest.raises(ArchitectureError, match=r"Net: output\[1\] is of type function"):
        verify(Net(lambda h, y: (y, lambda: h)), hidden(), ROWS)


@pytest.mark.parametrize(
    "last",
    [
        lambda _h, y: (y, torch.ones(3), torch.zeros(0), torch.arange(3), None),
        lambda _h, y: (y, y.argmax(-1), y > 0),
        lambda _h, y: torch.relu(y),
        lambda _h, y: (y, y.softmax(-1).sum(-1)),
        lambda _h, y: y.sort(-1),
    ],
    ids=["constant", "discrete", "off", "sum-of-one", "sorted"],
)
def test_outputs_of_every_kind_are_verified(last):
    """Constants, indices, numbers that are zero and numbers that are always one cause no error."""
    assert verify(Net(last), hidden(), ROWS).error < 1e-10


# -- precision and randomness --------------------------------------------------------------------------------


class Single(nn.Module):
    """A network that normalises in single precision, as Llama does."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = F.gelu(self.up(x))
        wide = h.to(torch.float32)
        return self.down((wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(h.dtype))


def test_single_precision_inside_is_measured():
    """The tolerance follows the precision: a true architecture is verified and a false one refused."""
    true = Architecture.from_module(Single(), ROWS)
    seen = verify(Single(), true, ROWS)
    assert seen.precision == "float32"
    assert 1e-10 < seen.tolerance < 1e-2
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(Single(), without_columns(true), ROWS)


def test_single_precision_of_constants_does_not_count():
    """Numbers in single precision that do not depend on the weights do not lower the precision."""

    class Positions(Net):
        def forward(self, x):
            return super().forward(x + torch.arange(4, dtype=torch.float32).cos().to(x.dtype))

    assert verify(Positions(), hidden(), ROWS).precision == "float64"


def test_half_precision_inside_cannot_be_verified():
    """In half precision, rounding changes the outputs more than a wrong move might."""

    class Half(Net):
        def forward(self, x):
            return super().forward(x.to(self.up.weight.dtype)).half().to(x.dtype)

    with pytest.raises(Unverifiable, match="Half computes in float16, and rounding alone changes output"):
        verify(Half(), hidden(), ROWS)


@pytest.mark.parametrize("depth", [4, 8])
def test_deep_siren_is_verified_and_a_false_one_refused(depth):
    """Rounding errors grow thirtyfold per layer; true groups are verified and false ones refused."""

    class Sine(nn.Module):
        def forward(self, x):
            return torch.sin(30 * x)

    layers = [layer for _ in range(depth - 1) for layer in (nn.Linear(16, 16), Sine())]
    module = nn.Sequential(nn.Linear(4, 16), Sine(), *layers, nn.Linear(16, 1))
    true = Architecture.from_module(module, ROWS)
    assert verify(module, true, ROWS).groups == depth

    def change(parameter):
        if parameter["name"] == "2.bias":
            parameter["axes"][0] = [[16]]
            parameter.pop("sign", None)

    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(module, changed(true, change), ROWS)


def test_module_without_double_precision_uses_its_own():
    """A module that multiplies by a constant in single precision is run in its own precision."""
    summing = torch.ones(8, 1)

    class Table(Net):
        def forward(self, x):
            h = torch.relu(self.up(x))
            return torch.cat([self.down(h), h @ summing], -1)

    seen = verify(Table(), hidden(), ROWS)
    assert seen.precision == "float32"


def test_tensors_made_in_a_forward_are_double():
    """``torch.zeros`` in a forward makes numbers in double precision."""

    class Started(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.rnn(x, torch.zeros(1, len(x), 5))[0])

    example = torch.randn(2, 3, 4)
    seen = verify(Started(), Architecture.from_module(Started(), example), example)
    assert (seen.groups, seen.precision) == (1, "float64")


def test_noise_on_the_outputs_is_no_obstacle():
    """Noise on the outputs is the same in each run, so a true group is verified."""
    module = Net(lambda _h, y: y + torch.randn_like(y))
    assert verify(module, hidden(), ROWS).error < 1e-10
    with pytest.raises(Unverifiable, match=r"differ by .* between runs with different random numbers"):
        verify(module, without_columns(hidden()), ROWS)


def test_noise_of_each_neuron_cannot_be_verified():
    """With noise on each neuron, a neuron that moves does not take its noise along."""
    module = Net(activation=lambda x: F.dropout(torch.relu(x), 0.5, training=True))
    with pytest.raises(Unverifiable, match="between runs with different random numbers"):
        verify(module, hidden(), ROWS)


@pytest.mark.parametrize("draw", [random.random, np.random.random])
def test_python_and_numpy_draw_the_same_in_each_run(draw):
    """Random numbers of Python and NumPy are the same in each run."""
    assert verify(Net(lambda _h, y: y * (1 + draw())), hidden(), ROWS).error < 1e-10


def test_irreproducible_outputs_cannot_be_verified():
    """Outputs that differ between two equal runs cannot be verified."""
    module = Net(lambda _h, y: y + os.urandom(1)[0] / 256)
    with pytest.raises(Unverifiable, match=r"the outputs of Net differ by .* between two equal runs"):
        verify(module, hidden(), ROWS)


@pytest.mark.parametrize("last", [lambda _h, y: 0 * y, lambda _h, y: y / 0 * 0, lambda _h, y: y.argmax(-1)])
def test_uninformative_outputs_cannot_be_verified(last):
    """Outputs that are all zero, all NaN or all integers cannot be verified."""
    with pytest.raises(Unverifiable, match=r"at random weights|no floating-point output"):
        verify(Net(last), hidden(), ROWS)


# -- buffers and inputs --------------------------------------------------------------------------------------


class Buffered(Net):
    def __init__(self, buffer, use):
        super().__init__()
        self.register_buffer("own", buffer)
        self.use = use

    def forward(self, x):
        return self.down(self.use(torch.relu(self.up(x)), self.own))


@pytest.mark.parametrize(
    ("buffer", "use"),
    [
        (torch.ones(8, dtype=torch.bool), lambda h, own: h * own),
        (torch.arange(8), lambda h, own: h * (own + 1)),
        (torch.arange(8), lambda h, own: h + h[:, own] ** 2),
        (torch.ones(8), lambda h, own: h * own),
    ],
    ids=["mask", "levels", "order", "float"],
)
def test_group_that_depends_on_buffer_values_is_refused(buffer, use):
    """A group that only holds for the values of a saved buffer is refused, since these may differ."""
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(Buffered(buffer, use), hidden(), ROWS)


@pytest.mark.parametrize(
    ("buffer", "use"),
    [
        (torch.tensor([0, 0, 1]), lambda h, own: h * h.mean(-1, keepdim=True)[:, own[:1]]),
        (torch.tensor(7), lambda h, own: h * own),
        (torch.tensor([1, 2]), lambda h, own: h * (1 / (own[1] - own[0] - 1) if own[0] > own[1] else 1)),
        (torch.tensor([1, 2]), lambda h, own: h.unflatten(1, (int(own[1]), -1)).flatten(1)),
    ],
    ids=["table", "counter", "needed-as-it-is", "a-size"],
)
def test_other_buffers_are_no_obstacle(buffer, use):
    """Buffers that the group does not depend on, or that the module needs as they are, cause no error."""
    assert verify(Buffered(buffer, use), hidden(), ROWS).error < 1e-10


def test_input_of_zeros_is_redrawn():
    """An input of zeros, at which the first layer does nothing, is drawn again."""

    def change(parameter):
        if parameter["name"] == "up.weight":
            parameter["axes"][0] = [[8]]
            parameter.pop("scale", None)

    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(Net(), changed(hidden(), change), torch.zeros(2, 4))


def test_strict_module_keeps_its_example_input():
    """If a module fails on drawn inputs, its example input is used."""

    class Strict(Net):
        def forward(self, x):
            assert bool((x.sum(-1) == 2).all())
            return super().forward(x)

    example = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0]])
    assert verify(Strict(), hidden(), example).error < 1e-10


# -- what verify is given ------------------------------------------------------------------------------------


def test_complex_weights_are_refused_by_name():
    """Complex weights raise an error that names the parameter."""
    module = Net()
    module.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ArchitectureError, match="'phase' holds complex numbers"):
        verify(module, hidden(), ROWS)


def test_empty_tensors_are_no_obstacle():
    """An empty parameter, an empty buffer and an empty output cause no error."""
    module = Net(lambda _h, y: (y, y[:0]))
    module.none = nn.Parameter(torch.zeros(0, 3))
    module.register_buffer("nothing", torch.zeros(0, dtype=torch.int64))
    assert verify(module, Architecture.from_module(module, ROWS), ROWS).groups == 1


def test_module_that_fails_raises_one_error():
    """The error says what a module that fails raised."""
    with pytest.raises(ArchitectureError, match="Net fails on the example input: RuntimeError"):
        verify(Net(), hidden(), torch.randn(2, 5))


def test_tied_weight_moves_in_one_way():
    """An architecture that moves a tied tensor in two ways under its two names is refused."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.c(F.gelu(self.b(F.gelu(self.a(x)))))

    chain = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4))
    data = Architecture.from_module(chain, ROWS).to_json()
    assert len(data["groups"]) == 2
    for layer, name in zip(data["layers"], "abc", strict=True):
        for parameter in layer["parameters"]:
            parameter["name"] = f"{name}.{parameter['role']}"
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(Tied(), Architecture.from_json(data), ROWS)


def test_verifying_leaves_the_module_unchanged():
    """Weights, modes, types, hooks, attributes and all random states are unchanged afterwards."""
    module = Net(lambda _h, y: y + torch.randn_like(y) + random.random() + np.random.random())  # noqa: NPY002
    module.train()
    module.down.eval()
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    before = copy.deepcopy(module.state_dict())
    architecture = hidden()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    verify(module, architecture, ROWS)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert (module.training, module.up.training, module.down.training) == (True, True, False)
    assert len(module._forward_hooks) == 1
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002
    assert torch.get_default_dtype() == torch.float32


def test_runs_do_not_affect_each_other():
    """A module that changes its inputs, its buffers and its attributes is verified."""

    class Untidy(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()), persistent=False)
            self.last_state = None

        def forward(self, x):
            x += 1
            self.seen += 1
            state = self.up(x).relu()
            y = self.down(state if self.last_state is None else state + self.last_state)
            self.last_state = state
            return y + self.seen

    assert verify(Untidy(), hidden(), ROWS.clone()).error < 1e-10


def test_architecture_without_groups_is_verified():
    """Without groups nothing moves, so nothing can be wrong."""
    data = hidden().to_json()
    for layer in data["layers"]:
        for parameter in layer["parameters"]:
            parameter["axes"] = [[[size]] for size in parameter["shape"]]
            parameter.pop("scale", None)
    fixed = Architecture.from_json({**data, "groups": []})
    seen = verify(Net(), fixed, ROWS)
    assert (seen.groups, seen.actions, seen.passes, seen.error) == (0, 0, 0, 0.0)

"""Verification: what is refused, what is verified, and what cannot be told."""

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
    """A network with one hidden layer; what it returns is made by a function of hidden layer and answer."""

    def __init__(self, last=lambda _h, y: y, width=8, outputs=3, activation=torch.relu):
        super().__init__()
        self.up, self.down = nn.Linear(4, width), nn.Linear(width, outputs)
        self.last, self.activation = last, activation

    def forward(self, x):
        h = self.activation(self.up(x))
        return self.last(h, self.down(h))


def changed(architecture, change):
    """Return a description in which a function changed the JSON values of each parameter."""
    data = copy.deepcopy(architecture.to_json())
    for layer in data["layers"]:
        for parameter in layer["parameters"]:
            change(parameter)
    return Architecture.from_json(data)


def hidden(width=8, actions=("permute",), outputs=3):
    """Return the description of a :class:`Net`: its hidden layer is one group."""
    architecture = Architecture.from_module(Net(width=width, outputs=outputs), ROWS)
    data = architecture.to_json()
    data["groups"][0]["actions"] = list(actions)
    return Architecture.from_json(data)


def without_columns(architecture):
    """Return a description in which the layer that reads the group does not move with it."""

    def change(parameter):
        if parameter["name"] == "down.weight":
            parameter["axes"][1] = [[parameter["shape"][1]]]
            parameter.pop("scale", None)

    return changed(architecture, change)


# -- groups and actions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_a_group_with_an_axis_left_out_is_refused(width, seed):
    """At every seed and size, groups of two neurons too."""
    with pytest.raises(
        ArchitectureError, match="permuting the neurons of group 'hidden0' changes the outputs"
    ):
        verify(Net(width=width), without_columns(hidden(width)), ROWS, seed=seed)


def test_two_groups_that_only_move_together_are_refused():
    """Two halves of a product of neurons are one group of two neurons each, said to be two."""

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
def test_the_action_that_is_false_is_named(action, word):
    """Behind a GELU neurons can be permuted, but neither scaled nor flipped."""

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


def test_an_action_that_moves_no_weight_is_refused():
    """A sign that stands in no parameter says nothing."""
    with pytest.raises(ArchitectureError, match="flipping the signs of the neurons of group 'hidden0' of Net moves no weight"):
        verify(Net(), hidden(actions=("permute", "sign")), ROWS)


def test_the_scale_of_one_neuron_is_tested():
    """A group of one neuron cannot be permuted, but scaled."""
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
def test_a_fault_in_the_first_of_sixty_layers_is_seen(activation):
    """Weights are drawn that a deep network does not forget."""
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


def test_a_group_that_the_outputs_forget_cannot_be_verified():
    """Of a hundred sigmoid layers the first change nothing that is larger than a rounding error."""
    layers = [layer for _ in range(100) for layer in (nn.Linear(4, 4), nn.Sigmoid())]
    module = nn.Sequential(*layers, nn.Linear(4, 2))
    with pytest.raises(Unverifiable, match="hardly depend on group 'hidden0'"):
        verify(module, Architecture.from_module(module, ROWS), ROWS)


def test_a_group_without_any_influence_is_verified():
    """Nothing that is said of neurons that nobody reads is false."""
    module = Net(lambda h, y: y + 0 * h.sum(-1, keepdim=True))
    module.idle = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))
    module.last = lambda h, y: (y, module.idle(y).detach() * 0)[0]
    architecture = Architecture.from_module(module, ROWS)
    assert len(architecture.groups) == 3
    assert verify(module, architecture, ROWS).groups == 3


def test_passes_do_not_grow_with_the_number_of_groups():
    """Sixty groups take a few passes more than one."""
    layers = [layer for _ in range(60) for layer in (nn.Linear(4, 4), nn.GELU())]
    module = nn.Sequential(*layers, nn.Linear(4, 2))
    few, many = (verify(m, Architecture.from_module(m, ROWS), ROWS) for m in (Net(), module))
    assert (few.groups, many.groups) == (1, 60)
    assert many.passes <= few.passes + 6


# -- each number by its own size --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [-1e20, float(torch.finfo(torch.float32).min), float("-inf")])
def test_a_masked_logit_hides_no_other(mask):
    """A number that is large, or infinite, says nothing of the others in its tensor."""
    module = Net(lambda _h, y: y.masked_fill(torch.tensor([False, True, False]), mask))
    assert verify(module, hidden(), ROWS).error < 1e-10
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(module, without_columns(hidden()), ROWS)


def test_a_large_output_hides_no_small_one():
    """The hidden neurons are an output of their own, a trillionth of the other's size."""
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
def test_hidden_neurons_that_are_an_output_are_refused(wrap):
    """Whatever the object is that they lie in, even beside an answer that does not change."""
    with pytest.raises(ArchitectureError, match=r"at output\[1\]"):
        verify(Net(lambda h, y: (y, wrap(h))), hidden(), ROWS)


def test_what_cannot_be_opened_is_refused():
    """A function among the outputs might hold anything."""
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
    """Constants, indices, numbers that are off, and numbers that are always one, do not stand in the way."""
    assert verify(Net(last), hidden(), ROWS).error < 1e-10


# -- precision and randomness -----------------------------------------------------------------------------------------


class Single(nn.Module):
    """Normalises in single precision, as Llama does."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = F.gelu(self.up(x))
        wide = h.to(torch.float32)
        return self.down((wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(h.dtype))


def test_single_precision_inside_is_measured():
    """The tolerance follows, so that what is true is verified and what is false is refused."""
    true = Architecture.from_module(Single(), ROWS)
    seen = verify(Single(), true, ROWS)
    assert seen.precision == "float32"
    assert 1e-10 < seen.tolerance < 1e-2
    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(Single(), without_columns(true), ROWS)


def test_single_precision_off_the_path_does_not_count():
    """Positions in single precision do not depend on the weights."""

    class Positions(Net):
        def forward(self, x):
            return super().forward(x + torch.arange(4, dtype=torch.float32).cos().to(x.dtype))

    assert verify(Positions(), hidden(), ROWS).precision == "float64"


def test_half_precision_inside_cannot_be_verified():
    """What is lost by rounding is more than a wrong move might change."""

    class Half(Net):
        def forward(self, x):
            return super().forward(x.to(self.up.weight.dtype)).half().to(x.dtype)

    with pytest.raises(Unverifiable, match="Half computes in float16, and rounding alone changes output"):
        verify(Half(), hidden(), ROWS)


@pytest.mark.parametrize("depth", [4, 8])
def test_a_deep_siren_is_verified_and_a_false_one_refused(depth):
    """Its rounding errors grow thirtyfold in each layer."""

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


def test_a_module_that_fails_in_double_precision_runs_in_its_own():
    """A matrix of its own, in single precision, is multiplied by what the weights make."""
    summing = torch.ones(8, 1)

    class Table(Net):
        def forward(self, x):
            h = torch.relu(self.up(x))
            return torch.cat([self.down(h), h @ summing], -1)

    seen = verify(Table(), hidden(), ROWS)
    assert seen.precision == "float32"


def test_a_first_state_made_in_the_forward_is_of_the_right_type():
    """``torch.zeros`` in a forward makes what the network computes in."""

    class Started(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.rnn(x, torch.zeros(1, len(x), 5))[0])

    example = torch.randn(2, 3, 4)
    seen = verify(Started(), Architecture.from_module(Started(), example), example)
    assert (seen.groups, seen.precision) == (1, "float64")


def test_noise_on_the_outputs_does_not_stand_in_the_way():
    """The random numbers of a run are the same in each one."""
    module = Net(lambda _h, y: y + torch.randn_like(y))
    assert verify(module, hidden(), ROWS).error < 1e-10
    with pytest.raises(Unverifiable, match=r"differ by .* between runs with different random numbers"):
        verify(module, without_columns(hidden()), ROWS)


def test_noise_of_each_neuron_cannot_be_verified():
    """A neuron that moves does not take its random numbers along."""
    module = Net(activation=lambda x: F.dropout(torch.relu(x), 0.5, training=True))
    with pytest.raises(Unverifiable, match="between runs with different random numbers"):
        verify(module, hidden(), ROWS)


@pytest.mark.parametrize("draw", [random.random, np.random.random])
def test_random_numbers_of_python_and_numpy_are_the_same_in_each_run(draw):
    """They may be drawn anywhere in a forward."""
    assert verify(Net(lambda _h, y: y * (1 + draw())), hidden(), ROWS).error < 1e-10


def test_outputs_that_differ_between_equal_runs_are_named():
    """Nothing can be compared with them."""
    module = Net(lambda _h, y: y + os.urandom(1)[0] / 256)
    with pytest.raises(Unverifiable, match=r"the outputs of Net differ by .* between two equal runs"):
        verify(module, hidden(), ROWS)


@pytest.mark.parametrize("last", [lambda _h, y: 0 * y, lambda _h, y: y / 0 * 0, lambda _h, y: y.argmax(-1)])
def test_outputs_that_show_nothing_cannot_be_verified(last):
    """Zero, not a number, or whole numbers alone."""
    with pytest.raises(Unverifiable, match=r"at random weights|no floating-point output"):
        verify(Net(last), hidden(), ROWS)


# -- buffers and inputs -----------------------------------------------------------------------------------------------


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
def test_a_group_that_holds_by_the_values_of_a_buffer_is_refused(buffer, use):
    """Buffers in the state dict are the network's: another network may have others."""
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
def test_other_buffers_do_not_stand_in_the_way(buffer, use):
    """Numbers without an axis stay; those that the module needs as they are stay too."""
    assert verify(Buffered(buffer, use), hidden(), ROWS).error < 1e-10


def test_an_input_of_zeros_is_redrawn():
    """At zero the first layer does nothing, and a mistake in it would not be seen."""

    def change(parameter):
        if parameter["name"] == "up.weight":
            parameter["axes"][0] = [[8]]
            parameter.pop("scale", None)

    with pytest.raises(ArchitectureError, match="no symmetry"):
        verify(Net(), changed(hidden(), change), torch.zeros(2, 4))


def test_an_input_that_must_be_as_it_is_stays():
    """Where the module fails on a drawn input the example is taken."""

    class Strict(Net):
        def forward(self, x):
            assert bool((x.sum(-1) == 2).all())
            return super().forward(x)

    example = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0]])
    assert verify(Strict(), hidden(), example).error < 1e-10


# -- what verify is given ----------------------------------------------------------------------------------------------


def test_complex_weights_are_refused_by_name():
    """A description of the real ones says nothing of these."""
    module = Net()
    module.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ArchitectureError, match="'phase' holds complex numbers"):
        verify(module, hidden(), ROWS)


def test_empty_tensors_are_no_obstacle():
    """An empty parameter, an empty buffer and an empty output."""
    module = Net(lambda _h, y: (y, y[:0]))
    module.none = nn.Parameter(torch.zeros(0, 3))
    module.register_buffer("nothing", torch.zeros(0, dtype=torch.int64))
    assert verify(module, Architecture.from_module(module, ROWS), ROWS).groups == 1


def test_a_module_that_fails_is_one_error():
    """It says what the module raised."""
    with pytest.raises(ArchitectureError, match="Net fails on the example input: RuntimeError"):
        verify(Net(), hidden(), torch.randn(2, 5))


def test_a_tied_weight_moves_in_one_way():
    """A description that moves one tensor in two ways under its two names is refused."""

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


def test_the_module_is_left_as_it_is():
    """Weights, modes, types, hooks, attributes and all random numbers."""
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


def test_a_run_leaves_no_trace_in_the_next():
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


def test_a_description_without_groups_claims_nothing():
    """Nothing moves, and nothing is wrong."""
    data = hidden().to_json()
    for layer in data["layers"]:
        for parameter in layer["parameters"]:
            parameter["axes"] = [[[size]] for size in parameter["shape"]]
            parameter.pop("scale", None)
    fixed = Architecture.from_json({**data, "groups": []})
    seen = verify(Net(), fixed, ROWS)
    assert (seen.groups, seen.actions, seen.passes, seen.error) == (0, 0, 0, 0.0)

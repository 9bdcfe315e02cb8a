"""Every tensor in the output of a forward is found, and an object that cannot be opened is refused."""

import dataclasses
import io
import threading
from collections import OrderedDict, deque, namedtuple

import attrs
import numpy as np
import pytest
import torch
from torch import distributions, nn

from sneframe.architecture import Architecture
from sneframe.architecture.outputs import leaves, tensors
from sneframe.errors import ArchitectureError

ONE, TWO, THREE = torch.ones(1), torch.ones(2), torch.ones(3)
Pair = namedtuple("Pair", ["left", "right"])


@dataclasses.dataclass
class Data:
    logits: torch.Tensor
    name: str = "x"


@attrs.frozen
class Slotted:
    logits: torch.Tensor
    parts: list


class Hidden:
    __slots__ = ("__secret",)

    def __init__(self, value):
        self.__secret = value


class OfClass:
    boxes = TWO


class Answer(OrderedDict):
    """A mapping whose entries are also attributes, like the outputs of transformers."""

    def __init__(self, **entries):
        super().__init__(**entries)
        vars(self).update(entries)


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        (ONE, {"output": ONE}),
        ([ONE, (TWO, {"a": THREE})], {"output[0]": ONE, "output[1][0]": TWO, "output[1][1]['a']": THREE}),
        (Pair(ONE, None), {"output.left": ONE}),
        (deque([ONE]), {"output[0]": ONE}),
        ({"a": {3: ONE}}, {"output['a'][3]": ONE}),
        ({"a": ONE}.values(), {"output[0]": ONE}),
        (Data(ONE), {"output.logits": ONE}),
        ([Data(ONE)], {"output[0].logits": ONE}),
        (Slotted(ONE, [TWO]), {"output.logits": ONE, "output.parts[0]": TWO}),
        (Hidden(ONE), {"output.__secret": ONE}),
        (OfClass(), {"output.boxes": TWO}),
        (Answer(logits=ONE), {"output.logits": ONE}),
        (("word", None, torch.float32, torch.device("cpu"), {"a", "b"}, range(3)), {}),
    ],
)
def test_tensors_are_found_with_their_paths(output, paths):
    """Containers and objects of every kind are opened, at any depth."""
    found = dict(tensors(output))
    assert found.keys() == paths.keys()
    assert all(found[path] is value for path, value in paths.items())


def test_tensor_at_two_paths_is_found_once():
    """A tensor that occurs twice is returned once, with its first path."""
    assert [path for path, _ in tensors((ONE, {"again": ONE}))] == ["output[0]"]


def test_cyclic_output_is_searched_once():
    """An output that contains itself does not loop forever."""
    output = [ONE]
    output.append(output)
    assert [path for path, _ in tensors(output)] == ["output[0]"]


def test_very_deep_outputs_are_opened():
    """The depth is not limited by Python's recursion."""
    output = ONE
    for _ in range(5000):
        output = [output]
    assert len(tensors(output)) == 1


def test_numbers_are_leaves_but_no_tensors():
    """A number is among the leaves, and not among the tensors."""
    output = (ONE, 2.5, {"steps": 3})
    assert [path for path, _ in leaves(output)] == ["output[0]", "output[1]", "output[2]['steps']"]
    assert [path for path, _ in tensors(output)] == ["output[0]"]


def test_parts_of_a_packed_sequence_are_found():
    """The values and the batch sizes of a packed sequence are found."""
    packed = nn.utils.rnn.pack_sequence([THREE, TWO])
    assert [path for path, _ in tensors(packed)] == ["output.data", "output.batch_sizes"]


def normal():
    return distributions.Normal(torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize(
    ("distribution", "ends"),
    [
        (distributions.Categorical(logits=THREE), {"logits"}),
        (distributions.Categorical(probs=THREE), {"probs"}),
        (normal(), {"loc", "scale"}),
        (distributions.Independent(normal(), 1), {"base_dist.loc", "base_dist.scale"}),
        (
            distributions.TransformedDistribution(normal(), distributions.AffineTransform(THREE, 2 * THREE)),
            {"base_dist.loc", "base_dist.scale", "transforms[0].loc", "transforms[0].scale"},
        ),
        (
            distributions.MixtureSameFamily(distributions.Categorical(logits=THREE), normal()),
            {
                "_mixture_distribution.logits",
                "_component_distribution.loc",
                "_component_distribution.scale",
            },
        ),
    ],
)
def test_parameters_of_a_distribution_are_found(distribution, ends):
    """The parameters of a distribution, and of those inside it, are found."""
    assert {path.removeprefix("output.") for path, _ in tensors(distribution)} >= ends


@pytest.mark.parametrize(
    "closed",
    [
        np.zeros(3),
        (each for each in (ONE,)),
        iter([ONE]),
        lambda: ONE,
        nn.Linear(1, 1),
        io.BytesIO(b"x"),
        threading.Lock(),
        torch.Generator(),
        {ONE},
    ],
    ids=lambda value: type(value).__name__,
)
def test_unknown_objects_are_refused_by_path_and_type(closed):
    """An object that cannot be opened raises an error with the module, the path and the type."""
    with pytest.raises(ArchitectureError, match=r"Net: output\[0\]\.logits is of type .*cannot be searched"):
        tensors([Data(closed)], of="Net")


class Actor(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.up, self.down, self.wrap = nn.Linear(4, 8), nn.Linear(8, 3), wrap

    def forward(self, x):
        return self.wrap(self.down(torch.relu(self.up(x))))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: (distributions.Categorical(logits=y), y.detach()),
        lambda y: {"a": [Data(y)]},
        lambda y: Slotted(None, [{"deep": y}]),
        lambda y: distributions.Independent(
            distributions.Normal(y, torch.ones(5, 3), validate_args=False), 1
        ),
    ],
)
def test_axes_of_nested_outputs_are_fixed(wrap):
    """Neurons in a nested output are fixed, so only the hidden neurons are a group."""
    architecture = Architecture.from_module(Actor(wrap), torch.randn(5, 4))
    assert [group.size for group in architecture.groups] == [8]


def test_module_that_returns_a_function_is_refused():
    """A module that returns a function is refused, because its values cannot be known."""
    with pytest.raises(ArchitectureError, match="Actor: output is of type function"):
        Architecture.from_module(Actor(lambda y: lambda: y), torch.randn(5, 4))


class Odd(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.linear, self.odd = nn.Linear(3, 2), nn.Parameter(value)

    def forward(self, x):
        return self.linear(x)


def test_complex_weights_are_refused_by_name():
    """Complex weights raise an error that names the parameter."""
    with pytest.raises(ArchitectureError, match="'odd' holds complex numbers"):
        Architecture.from_module(Odd(torch.zeros(2, dtype=torch.complex64)), torch.randn(2, 3))


def test_weights_on_the_meta_device_are_refused_by_name():
    """Weights on the meta device raise an error that names the parameter."""
    with pytest.raises(ArchitectureError, match="'odd' is on the meta device"):
        Architecture.from_module(Odd(torch.zeros(2, device="meta")), torch.randn(2, 3))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_tensor_without_elements_is_left_out(shape):
    """A parameter without elements is not described."""
    architecture = Architecture.from_module(Odd(torch.zeros(shape)), torch.randn(2, 3))
    assert [parameter.name for parameter in architecture.parameters] == ["linear.weight", "linear.bias"]


def test_empty_tensor_used_by_the_forward_is_left_out():
    """An operation on a parameter without elements does not break the derivation."""

    class Joined(Odd):
        def forward(self, x):
            return self.linear(torch.cat([x, self.odd.expand(len(x), 0)], 1))

    architecture = Architecture.from_module(Joined(torch.zeros(1, 0)), torch.randn(2, 3))
    assert len(architecture.parameters) == 2

"""Layouts are equal for networks that differ only in their activations."""

import torch
from attrs import evolve
from torch import nn

from sneframe.architecture import Architecture, NeuronGroup, Parameter
from sneframe.architecture.layer import INPUT
from sneframe.architecture.layout import difference, layout
from sneframe.testing import mlp


def network(activation, width=4):
    return nn.Sequential(nn.Linear(2, width), activation, nn.Linear(width, 3))


def test_layout_ignores_activations():
    # ReLU allows scales, tanh allows signs, and a sigmoid neither: three architectures.
    """Networks that differ only in their activations have the same layout."""
    found = [
        Architecture.from_module(network(activation), torch.zeros(1, 2))
        for activation in (nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    ]
    assert len(set(found)) == 3
    assert len(set(map(layout, found))) == 1


def test_layout_keeps_parameters_and_permutations():
    """A layout keeps the parameters and groups, without scales and signs."""
    relu = Architecture.from_module(network(nn.ReLU()), torch.zeros(1, 2))
    found = layout(relu)
    assert [(p.name, p.shape, p.axes) for p in found.parameters] == [
        (p.name, p.shape, p.axes) for p in relu.parameters
    ]
    assert found.groups == tuple(evolve(group, actions=("permute",)) for group in relu.groups)
    assert not any(parameter.powers for parameter in found.parameters)


def test_layout_of_a_layout_is_itself():
    """The layout of a layout is itself."""
    found = layout(mlp(1, 4, 1))
    assert layout(found) == found


def test_other_widths_have_another_layout():
    """Networks of different widths have different layouts."""
    assert layout(mlp(1, 4, 1)) != layout(mlp(1, 5, 1))


def test_neurons_that_cannot_be_permuted_make_another_layout():
    """A group that may not be permuted makes a different layout."""
    free = mlp(1, 4, 1)
    bound = evolve(free, groups=[NeuronGroup(name="hidden0", size=4, actions=())])
    assert layout(free) != layout(bound)


def test_difference_names_parameters_or_groups():
    """If two layouts have the same sizes, the error says which names or groups differ."""
    one = Architecture.from_module(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)))
    other = Architecture.from_module(
        nn.Sequential(nn.Linear(2, 4), nn.Identity(), nn.ReLU(), nn.Linear(4, 1))
    )
    message = difference(layout(one), layout(other))
    assert message == f"{one.summary} with '2.weight' (1, 4), but got '3.weight' (1, 4) instead"

    def plain(layer):
        return [Parameter(name=p.name, shape=p.shape, role=p.role) for p in layer.parameters]

    fixed = Architecture(layers=[evolve(layer, parameters=plain(layer)) for layer in one.layers])
    message = difference(layout(one), layout(fixed))
    assert "with other neuron groups (origin of the symmetry: expected derived, but got none)" in message


def test_layout_has_the_origin_of_its_architecture():
    """A layout has the origin of symmetry of its architecture, even if an equal one has another."""
    derived = Architecture.from_module(network(nn.ReLU()))
    assert [layout(evolve(derived, symmetry=s)).symmetry for s in ("verified", "guessed")] == [
        "verified",
        "guessed",
    ]


def test_a_layout_has_nothing_that_only_an_evaluation_needs():
    """Factors, shifts, settings of activations, inputs and outputs make no other layout."""
    plain = mlp(1, 4, 1)
    first, *others = plain.layers
    options = {"factor": 30.0, "shift": 0.5, "activation_options": {"negative_slope": 0.1}}
    full = evolve(
        plain,
        layers=[evolve(first, inputs=(INPUT,), attributes=options), *others],
        input_shapes=[(1,)],
        outputs=[len(others)],
    )
    assert full != plain
    assert layout(full) == layout(plain)


def test_a_layout_keeps_the_stride():
    """How a convolution reads its input is part of the layout."""
    first, second = (
        Architecture.from_module(
            nn.Sequential(nn.Conv2d(1, 2, 3, stride), nn.Flatten()), torch.zeros(1, 1, 9, 9)
        )
        for stride in (1, 2)
    )
    assert layout(first) != layout(second)

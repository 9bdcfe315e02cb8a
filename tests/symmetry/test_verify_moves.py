"""Verification moves each claim, by elements other than the identity."""

from itertools import permutations

import pytest
import torch

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.symmetry.act import moves
from sneframe.symmetry.moves import claims, element, idle, part, sets


def one(group, *parameters, parents=()):
    return Architecture(layers=[Layer(kind="linear", parameters=parameters)], groups=[*parents, group])


def bias(axes, **powers):
    shape = tuple(sum(8 if isinstance(f, str) else f for s in axis for f in s) for axis in axes)
    return Parameter(name="b", shape=shape, role="bias", axes=axes, **powers)


def drawn(architecture, turn, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return element(architecture, claims(architecture), generator, turn=turn)


def test_permutation_of_one_neuron_is_no_claim():
    """A group of one neuron has claims for scale and sign, and none for its permutation."""
    group = NeuronGroup(name="g", size=1, actions=("permute", "scale", "sign"))
    parameter = Parameter(name="b", shape=(1,), axes=((("g",),),), scale=((1,),), sign=((1,),))
    assert [claim.action for claim in claims(one(group, parameter))] == ["scale", "sign"]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("turn", range(6))
def test_element_is_never_the_identity(size, turn):
    """Each claim of a drawn element moves a neuron."""
    group = NeuronGroup(name="g", size=size, actions=("permute", "scale", "sign"))
    parameter = Parameter(name="b", shape=(size,), axes=((("g",),),), scale=((1,),), sign=((1,),))
    architecture = one(group, parameter)
    for seed in range(20):
        acting = drawn(architecture, turn, seed)
        for claim in claims(architecture):
            assert moves(part(acting, [claim]), parameter)


def test_all_neurons_move_in_turn_0():
    """In turn 0 every neuron moves."""
    architecture = one(NeuronGroup(name="g", size=8), bias([[("g",)]]))
    order = drawn(architecture, 0).permutations["g"]
    assert bool((order[0] != torch.arange(8)).all())


@pytest.mark.parametrize("size", [2, 3, 4])
def test_elements_of_a_few_turns_generate_every_permutation(size):
    """The permutations of a few turns generate all permutations of the group."""
    architecture = one(
        NeuronGroup(name="g", size=size), Parameter(name="b", shape=(size,), axes=((("g",),),))
    )
    made = {tuple(range(size))}
    steps = {tuple(drawn(architecture, turn, seed=turn).permutations["g"][0].tolist()) for turn in range(5)}
    while (more := made | {tuple(a[i] for i in b) for a in made for b in steps}) != made:
        made = more
    assert made == {*permutations(range(size))}


def test_nested_group_moves_in_only_some_outer_elements():
    """After turn 0, a nested group moves in some elements of its parent and stays in others."""
    heads = NeuronGroup(name="h", size=4)
    nested = NeuronGroup(name="n", size=2, parent="h")
    architecture = one(nested, Parameter(name="b", shape=(8,), axes=((("h", "n"),),)), parents=[heads])
    orders = [drawn(architecture, turn, seed=turn).permutations["n"][0] for turn in range(1, 12)]
    moved = torch.stack([(order != torch.arange(2)).any(-1) for order in orders])
    assert bool(moved.any(-1).all())
    assert bool((~moved).any(0).all())
    assert bool(moved.any(0).all())


@pytest.mark.parametrize(
    ("group", "parameter", "action"),
    [
        (NeuronGroup(name="g", size=8, actions=("permute", "scale")), bias([[("g",)]]), "scale"),
        (NeuronGroup(name="g", size=8, actions=("sign",)), bias([[("g",)]]), "sign"),
        (NeuronGroup(name="g", size=8), bias([[(8,)]]), "permute"),
        (
            NeuronGroup(name="g", size=1, actions=("scale",)),
            Parameter(name="b", shape=(1, 1), axes=((("g",),), (("g",),)), scale=((1,), (-1,))),
            "scale",
        ),
    ],
)
def test_action_that_moves_no_weight_is_found(group, parameter, action):
    """A claim moves no weight if its powers are missing, its powers cancel, or no axis has its group."""
    assert idle(one(group, parameter)).action == action


def test_scale_on_both_axes_moves_a_weight():
    """A scale on both axes moves a weight, because the scales of two neurons differ."""
    parameter = bias([[("g",)], [("g",)]], scale=((1,), (-1,)))
    assert idle(one(NeuronGroup(name="g", size=8, actions=("scale",)), parameter)) is None


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_each_claim_moves_while_each_other_one_stays(count):
    """For every two claims, one of the sets moves the first and not the second."""
    found = sets(count, 2 * max(1, (count - 1).bit_length()), torch.Generator().manual_seed(0))
    assert all(found)
    for a in range(count):
        assert any(a in half for half in found)
        for b in {*range(count)} - {a}:
            assert any(a in half and b not in half for half in found)

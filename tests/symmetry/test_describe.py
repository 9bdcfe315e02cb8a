"""Architectures of modules are verified if possible, and otherwise a warning says that they are not."""

import copy

import pytest
import torch
from attrs import evolve
from torch import nn

from sneframe import from_modules
from sneframe.architecture import NeuronGroup
from sneframe.errors import ArchitectureError, Unverifiable
from sneframe.symmetry import describe as describing
from sneframe.symmetry.describe import Descriptions, describe


def mlp(width=4):
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))


class Flat(nn.Module):
    """A module for which no input can be made up from its first layer."""

    def __init__(self):
        super().__init__()
        self.layers = mlp()

    def forward(self, pair):
        return self.layers(torch.cat(pair, -1))


PAIR = (torch.ones(3, 1), torch.ones(3, 1))


def test_module_is_verified_with_a_made_up_input():
    """Without an example input, the made-up one is also used to verify."""
    assert describe(mlp()).symmetry == "verified"


def test_module_is_verified_with_the_given_input():
    """A module is derived and verified with the given example input."""
    assert describe(Flat(), ([*PAIR],)).symmetry == "verified"


def test_stored_example_input_is_used():
    """The attribute example_input_array of a module, as in Lightning, is used as example input."""
    module = Flat()
    with pytest.raises(ArchitectureError, match="pass example_input"):
        describe(module)
    module.example_input_array = ([*PAIR],)
    assert describe(module).symmetry == "verified"


def test_module_without_groups_is_verified():
    """A module whose neurons are all fixed has no groups, and its symmetry is verified."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.b(self.a(x).cumsum(-1))

    found = describe(Net())
    assert (found.groups, found.symmetry) == ((), "verified")


def test_unverifiable_module_stays_derived_with_a_warning(monkeypatch):
    """If a module cannot be verified, its symmetry is derived, and a warning gives the reason."""

    def refuse(*args, **kwargs):
        raise Unverifiable("two equal runs differ")

    monkeypatch.setattr(describing, "verify", refuse)
    with pytest.warns(UserWarning, match="Sequential: derived, not verified: two equal runs differ"):
        assert describe(mlp()).symmetry == "derived"


def test_very_large_modules_are_not_verified(monkeypatch):
    """A module with more weights than LARGEST is derived, and a warning says that it is not verified."""
    monkeypatch.setattr(describing, "LARGEST", 10)
    with pytest.warns(UserWarning, match="it has 17 weights, more than 10"):
        assert describe(mlp()).symmetry == "derived"


def test_false_group_is_an_error(monkeypatch):
    """An architecture that running the module refutes is an error, not a warning."""

    def wrong(module, example_input):
        found = true(module, example_input)
        layers = list(found.architecture.layers)
        weight = layers[0].parameters[0]
        layers[0] = evolve(
            layers[0], parameters=(evolve(weight, axes=(((4,),), ((2,),))), *layers[0].parameters[1:])
        )
        return evolve(found, architecture=evolve(found.architecture, layers=layers))

    true = describing.derived
    monkeypatch.setattr(describing, "derived", wrong)
    with pytest.raises(ArchitectureError, match="hidden0"):
        describe(mlp())


def test_equal_modules_are_verified_once(monkeypatch):
    """Modules with the same fingerprint are verified once."""
    calls = []
    monkeypatch.setattr(describing, "verify", lambda module, *args: calls.append(module))
    modules = [mlp(), mlp(), mlp(3), mlp()]
    batch = from_modules(modules)
    assert calls == [modules[0], modules[2]]
    assert [architecture.symmetry for architecture in batch.architectures] == ["verified"] * 2


def test_example_input_of_another_shape_is_described_anew(monkeypatch):
    """A module is derived again for an input of another shape, since its forward may depend on it."""
    calls = []
    monkeypatch.setattr(
        describing, "verify", lambda module, architecture, example: calls.append(example.shape)
    )
    known = Descriptions()
    for example in (torch.ones(3, 2), torch.zeros(3, 2), torch.ones(3, 5, 2)):
        known.of(mlp(), example)
    assert calls == [(3, 2), (3, 5, 2)]


def test_one_example_input_per_module_is_needed():
    """from_modules takes one example input for each module, and refuses any other number."""
    batch = from_modules([Flat(), Flat()], [([*PAIR],)] * 2)
    assert len(batch) == 2
    with pytest.raises(ArchitectureError, match="each of the 2 modules needs an example input, but got 1"):
        from_modules([mlp(), mlp()], [None])


def test_batch_keeps_the_weakest_symmetry(monkeypatch):
    """Among equal architectures, the one with the least reliable symmetry represents all."""
    found = describe(mlp())
    modules = [mlp(), mlp()]
    weights = [module.state_dict() for module in modules]
    batch = describing.stacked([(found, weights[0]), (evolve(found, symmetry="guessed"), weights[1])])
    assert len(batch.architectures) == 1
    assert batch.architectures[0].symmetry == "guessed"


def test_describing_changes_no_weight():
    """Describing changes no weight of a module."""
    module = mlp()
    before = copy.deepcopy(module.state_dict())
    describe(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_hand_written_groups_are_stated():
    """An architecture written by hand is stated, and equals the derived one."""
    found = describe(mlp())
    by_hand = type(found)(
        layers=found.layers,
        groups=[NeuronGroup(name=g.name, size=g.size, actions=g.actions) for g in found.groups],
    )
    assert by_hand == found
    assert (by_hand.symmetry, found.weakened("stated").symmetry) == ("stated", "stated")


def test_unused_head_leaves_the_trunk_unverified():
    """A head that the run does not use may read neurons of the trunk, so these are not verified."""

    class Tasks(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.one, self.other = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 3)

        def forward(self, x, task="one"):
            return getattr(self, task)(self.trunk(x).relu())

    with (
        pytest.warns(UserWarning, match="the forward pass does not use 'other.weight', 'other.bias'"),
        pytest.warns(
            UserWarning,
            match="derived, not verified: its forward does not use 'other.weight', which may read",
        ),
    ):
        found = describe(Tasks(), torch.randn(2, 4))
    assert found.symmetry == "derived"


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 3))])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_scripted_module_is_verified(make):
    """A scripted or traced module is verified like any other."""
    module = make(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
    assert describe(module, torch.randn(2, 3)).symmetry == "verified"

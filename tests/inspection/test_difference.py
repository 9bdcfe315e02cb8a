"""What changed from one network to another, also after the neurons of the second were permuted."""

import copy
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sneframe
from sneframe.errors import ArchitectureError, FileError
from sneframe.inspection import difference as module
from sneframe.symmetry import apply, sample


def cnn(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 12),
            nn.ReLU(),
            nn.Linear(12, 4),
        )


def tuned(module, *names, scale=0.05, rank=None):
    """Return a copy of a network of which some parameters have moved a little."""
    other = copy.deepcopy(module)
    for number, name in enumerate(names):
        parameter = other.get_parameter(name)
        change = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        if rank is not None:
            left, values, right = torch.linalg.svd(change, full_matrices=False)
            change = left[:, :rank] * values[:rank] @ right[:rank]
        parameter.data += scale * parameter.data.std() * change
    return other


def permuted(network, seed=3):
    """Return a network whose neurons stand in another order and which computes the same."""
    batch = sneframe.from_modules([network])
    moved = apply(batch, sample(batch, actions=("permute",), seed=seed, step=0)).networks[0]
    other = copy.deepcopy(network)
    other.load_state_dict({name: value[0] for name, value in moved.parameters().items()})
    return other


CHANGED = ("0.weight", "6.weight", "6.bias")


@pytest.mark.parametrize("move", [False, True], ids=["in place", "permuted"])
def test_the_changed_parameters_are_named(move):
    """Exactly the tuned parameters differ, also if all neurons of the tuned network were permuted."""
    base = cnn()
    other = tuned(base, *CHANGED)
    x = torch.randn(2, 1, 7, 7)
    if move:
        other, before = permuted(other), other(x)
        assert torch.allclose(other(x), before, atol=1e-5)
    found = sneframe.difference(base, other)
    assert [each.name for each in found.changes if each.changed] == list(CHANGED)
    assert (found.verdict, bool(found.moved)) == ("related", move)
    assert found.matched == "the neurons of 3 groups were matched"


def test_without_matching_all_permuted_parameters_differ():
    """A permuted copy looks like another network if its neurons are not matched."""
    base = cnn()
    other = permuted(base)
    assert sneframe.difference(base, other).verdict == "equal"
    found = sneframe.difference(base, other, match=False)
    assert found.verdict != "equal"
    assert found.matched == "neurons were not matched, as asked"
    assert sum(each.changed for each in found.changes) >= 6


def test_the_numbers_of_a_change():
    """Relative change, cosine and rank are those of the two matrices."""
    base = cnn()
    other = tuned(base, "6.weight", rank=2)
    (change,) = (each for each in sneframe.difference(base, other).changes if each.changed)
    one, two = base.get_parameter("6.weight").detach(), other.get_parameter("6.weight").detach()
    assert change.relative == pytest.approx(float((two - one).norm() / one.norm()), rel=1e-5)
    assert change.cosine == pytest.approx(float((one * two).sum() / one.norm() / two.norm()), rel=1e-5)
    assert (change.name, change.shape, change.rank) == ("6.weight", (12, 8), 2)


def test_independent_networks_are_unrelated():
    """Two networks of one architecture from different starts are not called relatives."""
    found = sneframe.difference(cnn(0), cnn(1))
    assert found.verdict == "unrelated"
    assert abs(found.cosine) < module.RELATED


def test_other_layers_are_named():
    """Parameters that only one network has, or with another shape, are listed, and the rest is compared."""
    base, other = cnn(), cnn()
    other[8] = nn.Linear(12, 7)
    other.add_module("9", nn.Linear(7, 2))
    found = sneframe.difference(base.state_dict(), other.state_dict())
    assert found.only_second == ("9.weight", "9.bias")
    assert found.reshaped == {"8.weight": ((4, 12), (7, 12)), "8.bias": ((4,), (7,))}
    assert [each.name for each in found.changes if each.changed] == []
    assert found.matched == "neurons were not matched: the architectures differ"
    assert found.verdict == "related"
    nothing = sneframe.difference({"weight": torch.ones(2, 3)}, {"weight": torch.ones(3, 3)})
    assert nothing.verdict == "different architectures"


def test_values_that_are_not_finite_are_marked():
    """A change that is not finite has no number, and counts as changed."""
    base = cnn()
    other = copy.deepcopy(base)
    other[0].bias.data[0] = math.nan
    found = sneframe.difference(base.state_dict(), other.state_dict())
    (change,) = (each for each in found.changes if each.changed)
    assert (change.name, change.relative, change.cosine) == ("0.bias", None, None)


def test_files_in_half_precision_are_compared(tmp_path):
    """A file in half precision differs by rounding from its original, in every rounded parameter."""
    base = cnn()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    save_file({n: v.half() for n, v in base.state_dict().items()}, tmp_path / "half.safetensors")
    found = sneframe.difference(tmp_path / "base.safetensors", tmp_path / "half.safetensors")
    assert found.verdict == "related"
    assert max(each.relative for each in found.changes) < 1e-3


def test_what_is_no_network_is_refused(tmp_path):
    """A missing file and a wrong object are refused with the name of the fault."""
    with pytest.raises(FileError, match=r"nowhere\.pt"):
        sneframe.difference(cnn(), tmp_path / "nowhere.pt")
    with pytest.raises(ArchitectureError, match="got int"):
        sneframe.difference(cnn(), 3)

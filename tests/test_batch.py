"""Batches: order, selection, and the way back from per-architecture rows."""

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import sneframe
from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.batch import Networks, from_state_dicts, join
from sneframe.errors import ArchitectureError
from sneframe.symmetry.describe import from_modules


def vector(size: int) -> Architecture:
    return Architecture(layers=[Layer(kind="linear", parameters=[Parameter(name="w", shape=(size,))])])


def mixed():
    """Networks 0..5 of three architectures; weight 0 of network i is i."""
    ids = {vector(2): [4, 0], vector(3): [1, 5, 2], vector(1): [3]}
    weights = {
        a: torch.tensor(i, dtype=torch.float32)[:, None].expand(-1, a.num_weights).clone()
        for a, i in ids.items()
    }
    return join(weights, ids)


def first_weights(batch):
    return batch.restore([networks.weights[:, 0] for networks in batch.networks]).tolist()


def test_a_joined_batch_is_in_the_order_of_its_ids():
    """Joining sorts the networks of all architectures by their ids."""
    batch = mixed()
    assert batch.ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert first_weights(batch) == [0, 1, 2, 3, 4, 5]


@given(positions=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_a_selection_is_in_the_given_order(positions):
    """Selected networks come in the order of the given positions, repeated ones too."""
    selected = mixed().select(positions)
    assert selected.ids.tolist() == positions
    assert first_weights(selected) == positions


@given(positions=st.permutations(range(6)))
def test_rows_is_the_inverse_of_restore(positions):
    """Splitting values into rows per architecture and restoring them changes nothing."""
    batch = mixed().select(positions)
    values = torch.arange(6.0)
    assert torch.equal(batch.restore(batch.rows(values)), values)


def test_parameters_are_views_in_the_architectures_order():
    """Parameters are read without a copy."""
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    batch = from_modules([module])
    for name, value in module.state_dict().items():
        found = batch.networks[0].parameters()[name]
        assert torch.equal(found[0], value)
        assert found.untyped_storage().data_ptr() == batch.networks[0].weights.untyped_storage().data_ptr()


def test_modules_keep_their_order():
    """Modules of several architectures keep their order in a batch."""
    modules = [nn.Sequential(nn.Linear(1, n), nn.ReLU(), nn.Linear(n, 1)) for n in (3, 4, 3)]
    batch = sneframe.from_modules(modules)
    assert len(batch.networks) == 2
    assert first_weights(batch) == [float(m[0].weight[0, 0].detach()) for m in modules]


def test_state_dicts_give_the_batch_of_their_modules():
    """State dicts give the same batch as the modules that they are from."""
    modules = [nn.Sequential(nn.Linear(1, n), nn.ReLU(), nn.Linear(n, 1)) for n in (3, 4)]
    one, other = from_modules(modules), from_state_dicts([m.state_dict() for m in modules], activation="relu")
    assert one.architectures == other.architectures
    assert all(torch.equal(a.weights, b.weights) for a, b in zip(one.networks, other.networks, strict=True))


def test_weights_of_another_size_are_refused():
    """Weights must have the size of the architecture."""
    with pytest.raises(ArchitectureError, match=r"must be \(B, 3\).*got \(2, 4\)"):
        Networks(architecture=vector(3), weights=torch.zeros(2, 4))


def test_an_empty_batch_is_refused():
    """A batch needs at least one network."""
    with pytest.raises(ArchitectureError, match="at least one network"):
        from_modules([])


def test_a_selection_may_leave_an_architecture_out():
    """An architecture without a selected network is no longer in the batch."""
    selected = mixed().select(np.array([3]))
    assert [a.num_weights for a in selected.architectures] == [1]


def normalised():
    """The networks of :func:`mixed` after a normalisation that halves each weight."""
    batch = mixed()
    return batch.replace(networks.weights / 2 for networks in batch.networks).normalised_from(batch)


def stored_weights(batch):
    return batch.restore([networks.stored[:, 0] for networks in batch.networks]).tolist()


def test_weights_that_no_part_has_changed_are_the_stored_ones():
    """Without a normalisation there are no separate original weights."""
    batch = mixed()
    assert all(networks.original is None for networks in batch.networks)
    assert stored_weights(batch) == first_weights(batch)


@pytest.mark.parametrize(
    "carry",
    [
        lambda batch: batch.select(range(6)),
        lambda batch: batch.to(dtype=torch.float64),
        lambda batch: batch.replace(n.weights for n in batch.networks).normalised_from(batch),
    ],
    ids=["select", "to", "normalised again, to the same weights"],
)
def test_original_weights_are_carried_along(carry):
    """The networks keep the weights from before the normalisation."""
    carried = carry(normalised())
    assert first_weights(carried) == [0, 0.5, 1, 1.5, 2, 2.5]
    assert stored_weights(carried) == [0, 1, 2, 3, 4, 5]


def test_blocks_carry_original_weights():
    """Each batch of one architecture has the original weights of its own networks."""
    blocks = list(normalised().blocks())
    assert [stored_weights(block) for block in blocks] == [block.ids.tolist() for block in blocks]
    assert len(blocks) == 3


def test_a_joined_batch_has_the_original_weights_of_all_its_networks():
    """Also if some of the networks were not normalised."""
    one = vector(2)
    batch = join({one: torch.ones(2, 2)}, {one: [0, 1]})
    other = evolve(batch.networks[0], architecture=one, original=torch.full((2, 2), 3.0))
    both = evolve(batch, networks=(batch.networks[0], other), order=np.arange(4), ids=np.arange(4))
    assert stored_weights(both.joined(one)) == [1, 1, 3, 3]
    assert first_weights(both.joined(one)) == [1, 1, 1, 1]


def test_other_weights_are_other_networks():
    """A batch with replaced weights stores these weights, whatever was normalised before."""
    batch = normalised()
    assert stored_weights(batch.replace(n.weights + 7 for n in batch.networks)) == [7, 7.5, 8, 8.5, 9, 9.5]


def test_original_weights_of_another_shape_are_refused():
    """The error names both shapes."""
    with pytest.raises(ArchitectureError, match=r"original weights must be \(3, 2\).* got \(1, 2\)"):
        Networks(architecture=vector(2), weights=torch.ones(3, 2), original=torch.ones(1, 2))

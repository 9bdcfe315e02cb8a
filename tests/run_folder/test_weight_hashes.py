"""A weight hash recognises a network in another zoo, and no other network."""

import numpy as np
import pytest
import torch

from sneframe.batch import join
from sneframe.errors import RunError
from sneframe.run_folder.training_networks import read_weight_hashes, weight_hashes
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp


def batch_of(weights, ids=None):
    architecture = mlp(1, 3, 1)
    tensor = torch.as_tensor(weights, dtype=torch.float32)
    return join({architecture: tensor}, {architecture: ids if ids is not None else np.arange(len(tensor))})


def found(*batches):
    return dict(weight_hashes(batches))


@pytest.fixture
def weights():
    return torch.randn(4, mlp(1, 3, 1).num_weights, generator=torch.Generator().manual_seed(0))


def test_networks_differ(weights):
    """Four networks have four weight hashes."""
    assert len(set(found(batch_of(weights)).values())) == 4


def test_it_does_not_depend_on_the_batch_or_the_id(weights):
    """A network has its weight hash wherever it is."""
    whole = found(batch_of(weights))
    assert found(batch_of(weights[2:3], [7])) == {7: whole[2]}


def test_one_bit_is_enough(weights):
    """A network with one changed weight is another one."""
    moved = weights.clone()
    moved[0, 0] = torch.nextafter(moved[0, 0], torch.tensor(9.0))
    same = [found(batch_of(weights))[row] == found(batch_of(moved))[row] for row in range(4)]
    assert same == [False, True, True, True]


def test_moved_neurons_and_the_sign_of_zero_do_not_matter(weights):
    """A copy with permuted neurons is the same network, and −0 is 0."""
    weights[:, 0] = 0
    batch = batch_of(weights)
    moved = apply(batch, sample(batch, seed=0, step=0, actions=("permute",)))
    assert not torch.equal(moved.networks[0].weights, batch.networks[0].weights)
    negative = weights.clone()
    negative[:, 0] = -0.0
    assert found(moved) == found(batch) == found(batch_of(negative))


@pytest.mark.parametrize("text", ['{"networks": 3, "magnitudes": {}}', None])
def test_a_run_that_recorded_none_is_refused(tmp_path, text):
    """Nobody can tell which networks such a run was trained on."""
    path = tmp_path / "training.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RunError, match=r"training\.json: (does not record|no such file)"):
        read_weight_hashes(path)

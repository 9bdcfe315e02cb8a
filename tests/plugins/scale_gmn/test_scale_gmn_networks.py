"""ScaleGMN on many kinds of networks: invariant to what it says, and what it cannot use is said."""

import numpy as np
import pytest
import torch
from networks import NETWORKS
from sneframe_scale_gmn.aggregator import ScaleReadout
from sneframe_scale_gmn.editing import WeightChanges
from sneframe_scale_gmn.layer_encoder import ScaleLayers
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.errors import ArchitecturesRefused, PartError
from sneframe.parts.part import Spec
from sneframe.symmetry import apply, sample


def drawn(architecture, count=2):
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(count, architecture.num_weights, generator=generator, dtype=torch.float64)
    ids = np.arange(count)
    return Batch(networks=[Networks(architecture=architecture, weights=weights)], order=ids, ids=ids)


def built(*architectures, read="graph", **options):
    """Return a layer encoder, and a function from a batch to embeddings."""
    torch.manual_seed(0)
    spec = Spec(carrier=Networks, width=1, architectures=architectures)
    encoder = ScaleLayers(ScaleLayers.Config(width=6, layers=2, **options), spec)
    readout = ScaleReadout(ScaleReadout.Config(read=read, width=8), encoder.out)
    for module in (encoder, readout):
        module.double().eval()
        for parameter in module.parameters():
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return encoder, lambda batch: readout(encoder(batch.networks))[0].values


def perceptron(activation, *, norm=False):
    """Return the architecture of an MLP with this activation, perhaps with a batch norm."""
    norms = [nn.BatchNorm1d(5)] if norm else []
    layers = [nn.Linear(3, 5), *norms, activation(), nn.Linear(5, 4), activation(), nn.Linear(4, 2)]
    return Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 3))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "gpt"])
def test_permuted_neurons_give_the_same_embedding(name):
    """Whatever the layers are, a permutation changes nothing, and every parameter is read."""
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    architecture = Architecture.from_module(make(), example)
    batch = drawn(architecture)
    _, model = built(architecture)
    weights = batch.networks[0].weights.requires_grad_()
    given = model(batch)
    given.square().sum().backward()
    parts = weights.grad.split([parameter.size for parameter in architecture.parameters], dim=1)
    names = [parameter.name for parameter in architecture.parameters]
    assert [n for n, part in zip(names, parts, strict=True) if not part.abs().max() > 0] == []
    with torch.no_grad():
        moved = model(apply(batch, sample(batch, seed=0, step=1)))
    torch.testing.assert_close(moved, given.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize(
    ("activation", "action"),
    [(nn.ReLU, "scale"), (nn.Tanh, "sign"), (nn.Identity, "scale"), (nn.Identity, "sign")],
)
def test_neurons_that_are_scaled_or_flipped_give_the_same_embedding(activation, action, back):
    """The embedding does not change under the action of the activation, and changes under noise."""
    architecture = perceptron(activation)
    batch = drawn(architecture)
    encoder, model = built(architecture, back=back)
    given = model(batch)
    moved = model(apply(batch, sample(batch, seed=0, step=1, actions=("permute", action))))
    torch.testing.assert_close(moved, given, rtol=1e-9, atol=1e-9)
    noisy = batch.replace([n.weights + 0.1 * torch.randn_like(n.weights) for n in batch.networks])
    assert (model(noisy) - given).abs().max() > 1e-4
    assert encoder.leaves_out(architecture) is None


def test_one_zoo_can_mix_activations():
    """With ReLU and tanh in one network and in one zoo, each layer keeps its own symmetry."""
    layers = [nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)]
    mixed = Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 3))
    _, model = built(mixed, perceptron(nn.Tanh))
    batch = drawn(mixed)
    moved = apply(batch, sample(batch, seed=0, step=1, actions=("permute", "scale", "sign")))
    torch.testing.assert_close(model(moved), model(batch), rtol=1e-9, atol=1e-9)


def test_an_activation_without_known_symmetry_is_permuted_only_and_said():
    """GELU neurons have neither scales nor signs."""
    architecture = perceptron(nn.GELU)
    encoder, _ = built(architecture)
    assert encoder.leaves_out(architecture) == (
        "the neurons of 2 of 2 hidden layers (with gelu) are treated as permuted only: "
        "no scale or sign of their values is known that leaves the network the same"
    )


def test_a_scale_that_does_not_change_all_weights_of_a_neuron_is_not_used():
    """The scale after a norm does not change the weights before it, so these neurons are only permuted."""
    architecture = perceptron(nn.ReLU, norm=True)
    encoder, _ = built(architecture)
    assert "the neurons of 1 of 2 hidden layers (with relu)" in encoder.leaves_out(architecture)


def test_a_kind_of_neuron_that_no_training_network_has_is_refused():
    """A model of ReLU networks cannot read tanh networks."""
    _, model = built(perceptron(nn.ReLU))
    with pytest.raises(
        PartError, match="no training network has neurons that keep their function under a change of sign"
    ):
        model(drawn(perceptron(nn.Tanh)))


def test_another_number_of_outputs_is_refused():
    """If outputs are read in their order, all networks must have the same number of them."""
    wide = Architecture.from_module(
        nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4)), torch.zeros(1, 3)
    )
    with pytest.raises(ArchitecturesRefused, match=r"but got 3 and 2, 3 and 4; aggregator\.read = 'graph'"):
        built(perceptron(nn.ReLU), wide, read="ends")


@pytest.mark.parametrize(("activation", "action"), [(nn.ReLU, "scale"), (nn.Tanh, "sign")])
def test_changes_of_weights_move_with_the_neurons(activation, action):
    """The change of a moved network is the moved change."""
    architecture = perceptron(activation)
    torch.manual_seed(0)
    model = WeightChanges(architecture, width=6, layers=2).double().eval()
    batch = drawn(architecture)
    elements = sample(batch, seed=0, step=1, actions=("permute", action))
    found = batch.replace([model(networks) for networks in batch.networks])
    moved = model(apply(batch, elements).networks[0])
    torch.testing.assert_close(moved, apply(found, elements).networks[0].weights, rtol=1e-9, atol=1e-12)
    assert found.networks[0].weights.abs().max() > 1e-6

"""Neural graphs of many kinds of networks: complete, equivariant, and the same alone as in a batch."""

import numpy as np
import pytest
import torch
from networks import NETWORKS
from sneframe_neural_graph.aggregator import Readout
from sneframe_neural_graph.gnn_layer_encoder import GraphNetwork
from sneframe_neural_graph.transformer_layer_encoder import LARGEST, GraphTransformer

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.errors import ArchitecturesRefused
from sneframe.parts.part import Spec
from sneframe.symmetry import apply, sample


def described(name):
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    return Architecture.from_module(make(), example)


def drawn(architecture, count=2):
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(count, architecture.num_weights, generator=generator, dtype=torch.float64)
    ids = np.arange(count)
    return Batch(networks=[Networks(architecture=architecture, weights=weights)], order=ids, ids=ids)


def built(architecture, part, **options):
    """Return a function from a batch to embeddings."""
    torch.manual_seed(0)
    spec = Spec(carrier=Networks, width=1, architectures=(architecture,))
    encoder = part(part.Config(width=6, frequencies=3, layers=2, **options), spec)
    readout = Readout(Readout.Config(read="graph", hidden=(8,)), encoder.out)
    for module in (encoder, readout):
        module.double().eval()
        for parameter in module.parameters():
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return lambda batch: readout(encoder(batch.networks))[0].values


@pytest.mark.parametrize("name", NETWORKS)
def test_permuted_neurons_give_the_same_embedding(name):
    """A group element changes nothing, and another network gets another embedding."""
    architecture = described(name)
    batch = drawn(architecture)
    model = built(architecture, GraphNetwork)
    given = model(batch)
    moved = model(apply(batch, sample(batch, seed=0, step=1)))
    torch.testing.assert_close(moved, given, rtol=1e-9, atol=1e-9)
    assert (given[0] - given[1]).abs().max() > 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_read(name):
    """The embedding depends on some weight of every parameter."""
    architecture = described(name)
    batch = drawn(architecture, 1)
    weights = batch.networks[0].weights.requires_grad_()
    built(architecture, GraphNetwork)(batch).square().sum().backward()
    parts = weights.grad[0].split([parameter.size for parameter in architecture.parameters])
    names = [parameter.name for parameter in architecture.parameters]
    assert [n for n, part in zip(names, parts, strict=True) if not part.abs().max() > 0] == []


@pytest.mark.parametrize("name", ["small-cnn", "lenet", "gpt", "vgg"])
def test_the_transformer_takes_it_or_says_that_it_is_too_large(name):
    """A permuted network has the same embedding; a network with too many neurons is refused in one line."""
    architecture = described(name)
    batch = drawn(architecture)
    try:
        model = built(architecture, GraphTransformer, edge_width=4, attention=4, heads=2)
    except ArchitecturesRefused as error:
        assert f"at most {LARGEST} neurons" in str(error)  # noqa: PT017  # either is right
        return
    moved = model(apply(batch, sample(batch, seed=0, step=1)))
    torch.testing.assert_close(moved, model(batch), rtol=1e-9, atol=1e-9)

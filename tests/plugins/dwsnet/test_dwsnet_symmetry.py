"""DWS layers are equivariant to permutations of hidden neurons, and the embedding is invariant."""

import pytest
import torch

from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

OPTIONS = {"width": 4, "heads": 2, "hidden_layers": 2}
WIDTHS = [(2, 5, 4, 3), (1, 4, 6, 5, 2), (3, 4, 3, 5, 4, 1)]

every = pytest.mark.parametrize("widths", WIDTHS, ids=["depth 3", "depth 4", "depth 5"])
every_set_layer = pytest.mark.parametrize("set_layer", ["sab", "deepsets"])
every_reduction = pytest.mark.parametrize("reduction", ["max", "mean", "sum"])


@every
@every_set_layer
@every_reduction
def test_layers_are_equivariant(model, networks, widths, set_layer, reduction):
    """Permuting hidden neurons permutes the features on them."""
    architecture = mlp(*widths)
    encode = model(architecture, set_layer=set_layer, reduction=reduction, **OPTIONS).features
    batch = networks(architecture)
    elements = sample(batch, seed=0, step=0)
    features, moved = encode(batch), encode(apply(batch, elements))

    for number, (weight, bias) in enumerate(zip(features.weights, features.biases, strict=True)):
        rows = elements[0].permutations.get(f"hidden{number}")
        columns = elements[0].permutations.get(f"hidden{number - 1}")
        expected = permute(permute(weight, rows, 2), columns, 3)
        torch.testing.assert_close(moved.weights[number], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(moved.biases[number], permute(bias, rows, 2), rtol=0, atol=1e-9)


@every
@every_set_layer
@every_reduction
def test_the_embedding_is_invariant(model, networks, widths, set_layer, reduction):
    """Permuting hidden neurons does not change the embedding."""
    architecture = mlp(*widths)
    embed = model(architecture, set_layer=set_layer, reduction=reduction, **OPTIONS)
    batch = networks(architecture)
    moved = apply(batch, sample(batch, seed=0, step=0))

    assert not torch.equal(moved.networks[0].weights, batch.networks[0].weights)
    torch.testing.assert_close(embed(moved), embed(batch), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"])
def test_permuting_one_parameter_alone_matters(model, networks, name):
    """Permuting the neurons of one parameter and not of the next changes the embedding."""
    architecture = mlp(2, 5, 4, 3)
    embed = model(architecture, **OPTIONS)
    batch = networks(architecture)
    parameters = batch.networks[0].parameters()
    # The hidden axis of a parameter is its rows, and in the last weight its columns.
    parameters[name] = parameters[name].flip(2 if name == "2.weight" else 1)
    weights = torch.cat([p.flatten(1) for p in parameters.values()], dim=1)

    difference = embed(batch.replace([weights])) - embed(batch)

    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize(("name", "axis"), [("0.weight", 2), ("2.weight", 1), ("2.bias", 1)])
def test_the_order_of_inputs_and_outputs_matters(model, networks, name, axis):
    """Exchanging inputs or outputs changes the embedding."""
    architecture = mlp(2, 5, 4, 3)
    embed = model(architecture, **OPTIONS)
    batch = networks(architecture)
    parameters = batch.networks[0].parameters()
    parameters[name] = parameters[name].flip(axis)
    weights = torch.cat([p.flatten(1) for p in parameters.values()], dim=1)

    difference = embed(batch.replace([weights])) - embed(batch)

    assert difference.abs().max() > 1e-4


def test_every_weight_has_a_gradient(model, networks):
    """Each weight of a network has an effect on the embedding."""
    architecture = mlp(2, 3, 4, 2)
    embed = model(architecture, reduction="mean", **OPTIONS)
    weights = networks(architecture).networks[0].weights.requires_grad_()
    batch = networks(architecture)

    embed(batch.replace([weights])).square().sum().backward()

    assert (weights.grad != 0).all()


def test_a_network_is_the_same_alone_and_in_a_batch(model, networks):
    """In evaluation, embeddings do not depend on the batch."""
    architecture = mlp(2, 5, 4, 3)
    embed = model(architecture, **OPTIONS)
    batch = networks(architecture)

    alone = torch.cat([embed(batch.select([position])) for position in range(len(batch))])

    torch.testing.assert_close(alone, embed(batch), rtol=0, atol=1e-12)


def permute(x, order, axis):
    """Return ``x (B, …)`` permuted along an axis by ``order (B, n)``; unchanged if the order is None."""
    if order is None:
        return x
    shape = [1] * x.ndim
    shape[0], shape[axis] = order.shape
    return x.take_along_dim(order.view(shape), axis)

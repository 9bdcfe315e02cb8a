"""Deep Sets compared with a loop over weights; its passes, invariances and recipes."""

import pytest
import torch
from sneframe_deepsets import sneframe_parts, sneframe_recipes
from sneframe_deepsets.layer_encoder import WeightSet

import sneframe
from sneframe.batch import join
from sneframe.parts.part import fault
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp, toy_zoo

# The normalisation is left unfitted on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

ONE, TWO, UNSEEN = mlp(2, 5, 4, 1), mlp(1, 6, 1), mlp(1, 3, 7, 3, 1)
CNN = sneframe.Architecture.from_state_dict(
    {
        "0.weight": torch.zeros(4, 1, 3, 3),
        "0.bias": torch.zeros(4),
        "1.weight": torch.zeros(2, 4),
        "1.bias": torch.zeros(2),
    }
)
SMALL = ("layer_encoder.width=16", "normalise.part=normalise/none")


def encoder(*words, architectures=(ONE, TWO)):
    torch.manual_seed(0)
    return sneframe.encoder("deepsets", architectures, *SMALL, *words).double().eval()


def networks(architecture, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, architecture.num_weights, generator=generator, dtype=torch.float64)


def mixed():
    weights = {ONE: networks(ONE, 3), TWO: networks(TWO, 2), UNSEEN: networks(UNSEEN, 2)}
    return join(weights, {ONE: [0, 2, 5], TWO: [1, 3], UNSEEN: [4, 6]})


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_the_registry_accepts_every_part(part):
    """No part has a fault."""
    assert fault(part) is None


# -- the equations -------------------------------------------------------------------------------------------


@torch.no_grad()
def literal(encoder, networks):
    """Return the embedding of each network, computed by a loop over its weights, one scalar at a time."""
    part, architecture = encoder.layer_encoder, networks.architecture
    rows = []
    for views in zip(*networks.parameters().values(), strict=True):
        parameters = []
        for number, view in enumerate(views):
            encoding = part.encoding(architecture, ((number,),), view)[0]
            codes = [affine_relu(part.phi, torch.cat([w[None], encoding])) for w in view.flatten()]
            parameters.append(affine_relu(encoder.aggregator.psi, sum(codes) / len(codes)))
        rows.append(affine_relu(encoder.aggregator.rho, sum(parameters) / len(parameters)))
    return torch.stack(rows)


def affine_relu(layers, x):
    """Return the output of a perceptron for a vector, computed by sums and products."""
    linear = [layer for layer in layers if hasattr(layer, "weight")]
    for number, layer in enumerate(linear):
        x = (layer.weight * x).sum(1) + layer.bias
        if number < len(linear) - 1:
            x = x.clamp(min=0)
    return x


@pytest.mark.parametrize("architecture", [ONE, TWO, UNSEEN, CNN], ids=lambda a: a.summary)
@pytest.mark.parametrize("depth", [2, 3])
def test_an_embedding_equals_a_loop_over_weights(architecture, depth):
    """The embedding equals the equations, computed for one weight at a time."""
    model = encoder(f"layer_encoder.depth={depth}")
    batch = join({architecture: networks(architecture, 2)}, {architecture: range(2)})
    with torch.no_grad():
        torch.testing.assert_close(model(batch), literal(model, batch.networks[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_passes_change_neither_codes_nor_gradients(size):
    """Encoding weights in passes of any size gives the same codes and gradients."""
    whole, parts = encoder(), encoder(f"layer_encoder.weights_per_pass={size}")
    batch = mixed()
    for model in (whole, parts):
        model(batch).square().sum().backward()

    torch.testing.assert_close(parts(batch), whole(batch), rtol=1e-12, atol=1e-12)
    for (name, one), other in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12, msg=name)


def test_memory_is_bounded_by_one_pass():
    """With several passes, none keeps its D numbers for each weight until the gradient."""
    architecture = mlp(1, 20, 20, 1)
    kept = []
    for size in (10**6, 64):
        model = encoder(f"layer_encoder.weights_per_pass={size}", architectures=(architecture,))
        saved = []
        pack = lambda tensor, saved=saved: saved.append(tensor.numel()) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.layer_encoder(
                join({architecture: networks(architecture, 8)}, {architecture: range(8)}).networks
            )
        kept.append(max(saved))
    weights = 8 * architecture.num_weights
    assert kept[0] >= weights * 16
    assert kept[1] <= weights


# -- what an embedding depends on ----------------------------------------------------------------------------


def test_permuting_neurons_changes_nothing():
    """The embedding is invariant to permutations of neurons."""
    model, batch = encoder(), mixed()
    moved = apply(batch, sample(batch, seed=0, step=0))
    assert not torch.equal(moved.networks[0].weights, batch.networks[0].weights)
    torch.testing.assert_close(model(moved), model(batch), rtol=0, atol=1e-12)


def test_reordering_a_parameter_changes_nothing():
    """Any order of the weights within a parameter gives the same embedding."""
    model, weights = encoder(), networks(ONE, 2)
    start, size = ONE.offsets[2], ONE.parameters[2].size
    shuffled = weights.clone()
    shuffled[:, start : start + size] = weights[:, start : start + size].flip(1)
    one, other = (join({ONE: w}, {ONE: range(2)}) for w in (weights, shuffled))
    torch.testing.assert_close(model(one), model(other), rtol=0, atol=1e-12)


def test_exchanging_weights_of_two_parameters_matters():
    """It changes the codes of these two parameters and no other code."""
    model, weights = encoder(), networks(ONE, 2)
    exchanged = weights.clone()
    exchanged[:, [0, ONE.offsets[2]]] = weights[:, [ONE.offsets[2], 0]]
    one, other = (join({ONE: w}, {ONE: range(2)}) for w in (weights, exchanged))
    before, after = (model.layer_encoder(b.networks)[0].codes for b in (one, other))
    changed = (before - after).abs().amax(2) > 1e-4
    assert changed.tolist() == [[True, False, True, False, False, False]] * 2
    assert not torch.equal(model(one), model(other))


def test_a_code_depends_on_its_own_parameter_only():
    """Changing all other parameters leaves the code unchanged."""
    model, batch = encoder(), mixed()
    other = batch.replace([n.weights.clone() for n in batch.networks])
    other.networks[0].weights[:, ONE.offsets[1] :] += 1.0
    one, two = (model.layer_encoder(b.networks)[0].codes for b in (batch, other))
    assert torch.equal(one[:, 0], two[:, 0])
    assert not torch.isclose(one[:, 1:], two[:, 1:]).all()


def test_all_trainable_weights_get_a_finite_gradient():
    """No tensor of the model is left without a gradient."""
    model = encoder()
    model(mixed()).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


@pytest.mark.parametrize("option", ["width=1", "depth=1", "weights_per_pass=0"])
def test_impossible_options_are_refused(option):
    """The error names the option."""
    name, _, value = option.partition("=")
    with pytest.raises(ValueError, match=name):
        WeightSet.Config(**{name: int(value)})


# -- recipes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe_recipes()[name]().recipe == name


@pytest.mark.parametrize("hidden", [((4, 4),), ((4, 4), (3,))], ids=["one architecture", "mixed"])
@pytest.mark.parametrize("recipe", ["deepsets/default", "deepsets/fair"])
def test_a_recipe_beats_the_mean(recipe, hidden, tmp_path):
    """It predicts better than the mean, on one architecture and on two."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60, hidden=hidden)
    words = (f"zoo.path={zoo}", "zoo.property=scale", "train.epochs=20", "train.batch_size=8")
    result = sneframe.run(sneframe.recipe(recipe, *words), tmp_path / "run", report=False)
    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]

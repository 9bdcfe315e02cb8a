"""The encoder of SNE: what codes and embeddings depend on, its size by hand, its encodings."""

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.batch import join
from sneframe.errors import PartError
from sneframe.nn.level_type_encoding import LevelTypeEncoding, sinusoid
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

# The normalisation is left unfitted on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

SMALL = ("layer_encoder.width=16", "layer_encoder.heads=2", "layer_encoder.points=3", "aggregator.heads=2")
ONE, TWO, UNSEEN = mlp(1, 5, 4, 1), mlp(1, 9, 1), mlp(1, 6, 7, 3, 1)


def encoder(*words, architectures=(ONE, TWO)):
    torch.manual_seed(0)
    return sneframe.encoder("sne", architectures, *SMALL, *words).eval()


def networks(architecture, count, seed=0):
    return torch.randn(count, architecture.num_weights, generator=torch.Generator().manual_seed(seed))


def mixed_batch():
    weights = {ONE: networks(ONE, 3), TWO: networks(TWO, 2), UNSEEN: networks(UNSEEN, 2)}
    return join(weights, {ONE: [0, 2, 5], TWO: [1, 3], UNSEEN: [4, 6]})


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("layer_encoder.unit=layer",),
        ("layer_encoder.attention=sab",),
        ("layer_encoder.chunks_per_pass=3",),
        ("tokenizer.chunk_size=5",),
        ("tokenizer.chunk_size=5", "tokenizer.max_chunks=3"),
    ],
)
def test_a_network_is_the_same_alone_and_in_a_batch(words):
    """Embeddings do not depend on the batch, for every setting of units, attention, passes and chunks."""
    model, batch = encoder(*words), mixed_batch()
    with torch.no_grad():
        together = model(batch)
        for position in range(len(batch)):
            alone = model(batch.select([position]))[0]
            assert torch.allclose(alone, together[position], rtol=1e-5, atol=1e-6)


def test_a_network_is_the_same_alone_and_in_the_batch_of_a_training_step():
    """The sample of chunks of a step does not depend on the batch, and another step has another."""
    model = encoder("tokenizer.chunk_size=5", "tokenizer.max_chunks=3").train()
    draw = Draw(seed=1, step=5, positions=np.arange(7), size=7)
    batch = evolve(mixed_batch(), draw=draw)
    with torch.no_grad():
        together = model(batch)
        for position in range(len(batch)):
            alone = model(batch.select([position]))[0]
            assert torch.allclose(alone, together[position], rtol=1e-5, atol=1e-6)
        assert torch.equal(model(batch), together)
        assert not torch.allclose(model(evolve(batch, draw=evolve(draw, step=6))), together, atol=1e-4)


def test_embeddings_follow_the_order_of_the_batch():
    """Reordering a mixed batch reorders its embeddings."""
    model, batch = encoder(), mixed_batch()
    order = [6, 0, 3, 1, 5, 2, 4]
    with torch.no_grad():
        assert torch.allclose(model(batch.select(order)), model(batch)[order], rtol=1e-5, atol=1e-6)


def test_weights_within_a_chunk_are_a_set():
    """The order of weights within a chunk does not matter."""
    model = encoder("tokenizer.chunk_size=64")
    batch = join({TWO: networks(TWO, 1)}, {TWO: [0]})
    shuffled = batch.networks[0].weights.clone()
    shuffled[:, :9] = shuffled[:, torch.randperm(9)]
    with torch.no_grad():
        assert torch.allclose(model(batch), model(batch.replace([shuffled])), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "size", "exact"),
    [
        (("tokenizer.conv_view=kernel", "tokenizer.linear_view=row"), 9, True),
        (("tokenizer.conv_view=out_channel", "tokenizer.linear_view=row"), 54, True),
        # A row of the second convolution has 54 weights, so two chunks of it hold fixed halves of the inputs.
        (("tokenizer.conv_view=out_channel", "tokenizer.linear_view=row"), 27, False),
        (("tokenizer.conv_view=kernel",), 9, False),
        ((), 9, False),
    ],
)
def test_chunks_along_neurons_are_invariant_if_a_chunk_holds_what_moves_together(words, size, exact):
    """Permutations change nothing if each kernel, or all weights of a neuron, are the set of one chunk."""
    convs = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 7, 3), nn.ReLU())
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 5))
    network = Architecture.from_module(nn.Sequential(*convs, *pooled), torch.zeros(1, 1, 8, 8))
    model = encoder(*words, f"tokenizer.chunk_size={size}", architectures=(network,)).double()
    weights = networks(network, 2).double()
    batch = join({network: weights}, {network: [0, 1]})
    moved = apply(batch, sample(batch, seed=0, step=1))
    assert not torch.equal(moved.networks[0].weights, weights)
    with torch.no_grad():
        change = float((model(batch) - model(moved)).abs().max())
    assert change < 1e-12 if exact else change > 1e-6


def test_parameters_that_are_all_zero_have_an_embedding_and_a_gradient():
    """Biases often start at zero; their scale has a finite logarithm."""
    model = encoder("layer_encoder.scale_encoding=true", architectures=(TWO,))
    weights = torch.zeros(1, TWO.num_weights, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(join({TWO: weights}, {TWO: [0]})).sum(), weights)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [False, True])
def test_encoded_scales_show_more_of_small_weights(scale):
    """Small weights and weights ten times smaller differ by 6 % of the embedding, and otherwise by 0.2 %."""
    model = encoder(f"layer_encoder.scale_encoding={str(scale).lower()}", architectures=(TWO,))
    small = 0.01 * networks(TWO, 1)
    with torch.no_grad():
        values = model(join({TWO: torch.cat([small, 0.1 * small])}, {TWO: [0, 1]}))
    change = float((values[0] - values[1]).norm() / values[0].norm())
    assert change > 0.03 if scale else change < 0.003


def test_the_layer_of_a_weight_matters():
    """Exchanging the weights of two layers changes the embedding."""
    architecture = mlp(1, 1, 1, 1)
    model = encoder(architectures=(architecture,))
    weights = torch.tensor([[1.0, 0, 2, 0, 1.0, 0], [2.0, 0, 1, 0, 1.0, 0]])
    with torch.no_grad():
        first, second = model(join({architecture: weights}, {architecture: [0, 1]}))
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_code_depends_on_its_own_unit_only():
    """Changing the other layers leaves the code of the first unit unchanged."""
    model, batch = encoder(), mixed_batch()
    other = batch.replace([n.weights.clone() for n in batch.networks])
    other.networks[0].weights[:, 5:] += 1.0
    with torch.no_grad():
        one, two = (model.layer_encoder(model.tokenizer(b))[0].codes for b in (batch, other))
    assert torch.equal(one[:, 0], two[:, 0])
    assert not torch.equal(one[:, 2], two[:, 2])


def test_units_are_parameters_or_layers():
    """There is one code for each of six parameters, or for each of three layers."""
    for unit, expected in (("parameter", 6), ("layer", 3)):
        model = encoder(f"layer_encoder.unit={unit}")
        codes = model.layer_encoder(model.tokenizer(mixed_batch()))[0]
        assert codes.codes.shape == (3, expected, 16)


def test_all_trainable_weights_get_a_finite_gradient():
    """No tensor of the model is left without a gradient."""
    model = encoder()
    model(mixed_batch()).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


def test_it_runs_under_bfloat16_autocast():
    """Embeddings stay finite."""
    model, batch = encoder(), mixed_batch()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(batch).isfinite().all()


def test_the_model_size_by_hand():
    """D = 16: a linear map has 272 weights (256 without bias), a norm 32, an MAB 4 · 272 + 2 · 32 = 1152."""
    d, types = 16, 2
    linear, norm = d * d + d, 2 * d
    mab = 4 * linear + 2 * norm
    scalar = 2 * (d + d) + d + linear + 2 * norm  # query and value with bias, key without
    pma = d + 3 * linear + d * d + 2 * norm
    isab = 3 * d + 2 * mab
    encoding = (types + 1) * d
    published = scalar + mab + encoding + pma + 2 * isab + encoding + pma + 2 * mab + pma
    words = ("layer_encoder.blocks=2", "layer_encoder.scale_encoding=false")
    assert sum(p.numel() for p in encoder(*words).parameters()) == published
    scale = 2 * (d + d)  # a linear map of one number for chunks, and one for parameters
    assert sum(p.numel() for p in encoder().parameters()) == published - mab + scale


@pytest.mark.parametrize(
    ("slot", "part"), [("layer_encoder", "sne/chunk-set"), ("aggregator", "sne/layer-set")]
)
def test_heads_that_do_not_divide_the_width_are_refused(slot, part):
    """The error names the part."""
    with pytest.raises(
        PartError, match=f"{slot} '{part}': heads must divide width, but got heads = 3 and width = 16"
    ):
        encoder(f"{slot}.heads=3")


def test_sinusoids_are_those_of_the_transformer():
    """Sines and cosines of a position have the frequencies of Vaswani et al. (2017)."""
    found = sinusoid(torch.tensor([0.0, 2.0]), 4)
    expected = torch.tensor([[0, 1, 0, 1], [2.0, 2.0, 0.02, 0.02]])
    expected[1] = torch.stack([f(x) for x, f in zip(expected[1], (torch.sin, torch.cos) * 2, strict=True)])
    assert torch.allclose(found, expected)


def test_an_unseen_type_is_encoded_as_no_type():
    """A parameter type that the training networks lack adds nothing to the encoding of the level."""
    conv = sneframe.Architecture.from_state_dict({"c.weight": torch.zeros(2, 1, 3, 3)})
    encoding = LevelTypeEncoding((ONE,), 8)
    found = encoding(conv, ((0,),), torch.zeros(1))
    only_level = torch.cat([sinusoid(torch.zeros(1), 4), sinusoid(torch.zeros(1), 4)], dim=1)
    assert torch.equal(found, only_level)

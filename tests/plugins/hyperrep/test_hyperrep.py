"""HyperRep: tokens of each layer, the latent, the decoder of one layout, and the loss by hand."""

import csv

import numpy as np
import pytest
import torch
from sneframe_hyperrep import sneframe_parts
from torch.nn import functional as F

import sneframe
from sneframe.batch import join
from sneframe.errors import ArchitecturesRefused, PartError
from sneframe.model import build_invariance, build_model
from sneframe.parts.part import fault
from sneframe.rng import Draw
from sneframe.run_folder import checkpoint
from sneframe.testing import mlp
from sneframe.zoo import create, open_zoo

ARCHITECTURE = mlp(2, 4, 3, 1)
SMALL = (
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.blocks=1",
    "aggregator.width=6",
    "invariance.width=8",
    "invariance.heads=2",
    "invariance.blocks=1",
    "invariance.projection=[5,4]",
)


def config_for(*words):
    return sneframe.recipe("hyperrep", *SMALL, *words)


def batch(count=4, seed=1, architecture=ARCHITECTURE):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(count, architecture.num_weights, generator=generator)
    return join({architecture: weights}, {architecture: range(count)})


def built(*words):
    torch.manual_seed(0)
    config = config_for(*words)
    model = build_model(config, (ARCHITECTURE,))
    model.encoder.normalise.fit([batch(16, seed=2)])
    return model, build_invariance(config, model)


def draw(count=4):
    return Draw(seed=3, step=5, positions=np.arange(count), size=count)


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_the_registry_accepts_every_part(part):
    """No part has a fault."""
    assert fault(part) is None


def test_each_layer_has_its_own_map_without_padding():
    """The vector of a neuron is W_l (row, bias) + b_l plus that of its position, in a loop over neurons."""
    model, _ = built()
    encoder, seen = model.encoder, []
    part = encoder.layer_encoder
    part.transformer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    networks = batch()
    encoder(networks)
    parameters = encoder.normalise(networks).networks[0].parameters()
    expected, place = [part.compression.expand(4, -1)], 0
    for layer in range(3):
        for neuron in range(ARCHITECTURE.parameters[2 * layer].shape[0]):
            row = parameters[f"{layer}.weight"][:, neuron]
            bias = parameters[f"{layer}.bias"][:, neuron, None]
            vector = part.embed[layer](torch.cat([row, bias], dim=1))
            expected.append(vector + part.position[place])
            place += 1
    torch.testing.assert_close(seen[0], torch.stack(expected, dim=1))


def test_the_embedding_is_a_latent_between_minus_one_and_one():
    """It is tanh of a linear map of the code of the compression token."""
    model, _ = built()
    encoder, networks = model.encoder, batch()
    (codes,) = encoder.layer_encoder(encoder.tokenizer(encoder.normalise(networks)))
    assert codes.codes.shape == (4, 1 + 8, 8)
    expected = torch.tanh(encoder.aggregator.linear(codes.codes[:, 0]))
    torch.testing.assert_close(encoder(networks), expected)


def test_a_network_is_encoded_alone_as_in_a_batch():
    """Batch-mates change nothing, whatever their weights are."""
    model, _ = built()
    encoder = model.encoder.eval()
    networks = batch()
    large = networks.replace(
        [torch.cat([networks.networks[0].weights[:1], 50 * batch().networks[0].weights[1:]])]
    )
    with torch.no_grad():
        alone = encoder(networks.select([0]))
        assert torch.allclose(alone, encoder(networks)[:1], atol=1e-6)
        assert torch.allclose(alone, encoder(large)[:1], atol=1e-6)


def test_the_decoder_puts_each_weight_in_its_place():
    """A decoded weight comes from the vector of its neuron, by the map of its layer, in a loop."""
    model, loss = built()
    embedding, decoder = model.encoder(batch()), loss.decoder
    flat = loss.decode(embedding, ARCHITECTURE)
    vectors = decoder.spread(embedding).unflatten(1, (8, 8)) + decoder.position
    codes, views, place = decoder.transformer(vectors), ARCHITECTURE.views(flat), 0
    for layer in range(3):
        for neuron in range(ARCHITECTURE.parameters[2 * layer].shape[0]):
            token = decoder.weights[layer](codes[:, place])
            torch.testing.assert_close(views[f"{layer}.weight"][:, neuron], token[:, :-1])
            torch.testing.assert_close(views[f"{layer}.bias"][:, neuron], token[:, -1])
            place += 1


@torch.no_grad()
def test_the_loss_by_hand():
    """γ NT-Xent of the projections plus β times the mean of the squared errors of all weights."""
    model, loss = built("invariance.erasing=0.5", "invariance.noise=0.1")
    networks = batch()
    term = loss(model, networks, None, draw())
    first, second = loss.config.pair(networks, draw())
    embeddings = [model.encoder(view.shown) for view in (first, second)]
    projected = torch.cat([loss.project(each) for each in embeddings])
    similarity = F.cosine_similarity(projected[:, None], projected[None], dim=2) / 0.1
    similarity.fill_diagonal_(float("-inf"))
    contrast = F.cross_entropy(similarity, torch.arange(8).roll(4), reduction="sum") / 2
    errors = []
    for view, embedding in zip((first, second), embeddings, strict=True):
        target = model.encoder.normalise(view.moved).networks[0].weights
        errors.append(float((loss.decoder(embedding) - target).square().mean(1).sum()))
    expected = 0.85 * float(contrast) + 0.15 * sum(errors) / 2
    assert float(term.total) == pytest.approx(expected, rel=1e-4)
    assert term.count == 4


@pytest.mark.parametrize(
    ("words", "lacks"),
    [("invariance.contrastive=0", "project"), ("invariance.reconstruction=0", "decoder")],
)
def test_a_term_can_be_left_out(words, lacks):
    """A term of weight 0 has no weights to train, and the loss is finite."""
    model, loss = built(words)
    assert getattr(loss, lacks) is None
    assert bool(loss(model, batch(), None, draw()).total.isfinite())


def test_a_decoder_refuses_another_layout():
    """A decoder that is asked for another layout than it has says which it has."""
    model, loss = built()
    other = mlp(2, 5, 3, 1)
    with pytest.raises(PartError, match=r"'hyperrep/self-supervised' was built for .* but got .*2×5"):
        loss.decode(torch.zeros(1, 6), other)
    with pytest.raises(PartError, match="was built for"):
        loss.reconstruct(model, batch(architecture=other))


def test_a_loss_without_decoder_reconstructs_nothing():
    """The error says which option left the decoder out."""
    _, loss = built("invariance.reconstruction=0")
    with pytest.raises(PartError, match="has no decoder, because reconstruction = 0"):
        loss.decode(torch.zeros(1, 6), ARCHITECTURE)


def test_a_mixed_zoo_is_refused():
    """One linear map per layer needs one layout."""
    with pytest.raises(ArchitecturesRefused, match="one layout, but the zoo has 2 layouts"):
        build_model(config_for(), (ARCHITECTURE, mlp(2, 5, 1)))


def test_split_neurons_are_refused():
    """The map of a layer reads whole neurons."""
    with pytest.raises(
        PartError, match=r"whole neurons as tokens, of at least 5 weights, but got tokens of 2"
    ):
        build_model(config_for("tokenizer.token_size=2"), (ARCHITECTURE,))


@pytest.fixture
def multiples(tmp_path):
    """Write a zoo of 60 networks, each a number times one network, so that a number tells all weights."""
    generator = np.random.default_rng(0)
    scale = generator.uniform(0.5, 2.0, 60)
    weights = {
        p.name: (np.ones((60, *p.shape)).T * scale).T.astype(np.float32)
        * 3
        * generator.standard_normal(p.shape)
        for p in ARCHITECTURE.parameters
    }
    path = tmp_path / "zoo.zarr"
    with create(path, name="multiples", description="one network times a number") as writer:
        writer.append(ARCHITECTURE, weights, {"scale": scale})
    return path


def test_a_reconstruction_is_in_the_unit_of_the_weights(multiples, tmp_path):
    """Test networks are reconstructed much better than by the mean network, in the unit of the zoo."""
    words = ("train.epochs=60", "train.batch_size=16", "invariance.contrastive=0", "invariance.erasing=0")
    words += ("invariance.actions=[]", "train.lr=0.01", f"zoo.path={multiples}", "device=cpu")
    run = sneframe.run(config_for(*words), tmp_path / "run", report=False)
    path = run.folder / "best.safetensors"
    model, _, _ = checkpoint.load_model(path)
    loss, networks = checkpoint.load_invariance(path, model), open_zoo(multiples).load()
    with (run.folder / "predictions.csv").open() as file:
        networks = networks.select([int(row["id"]) for row in csv.DictReader(file) if row["split"] == "test"])
    with torch.no_grad():
        found = loss.reconstruct(model, networks).networks[0].weights
    given = networks.networks[0].weights
    assert float((found - given).square().mean()) < 0.1 * float((given - given.mean(0)).square().mean())


def test_the_sizes_of_the_paper():
    """58 tokens of the Small CNN Zoo's network become 58 vectors of 512, and a latent of 1200."""
    config = sneframe.recipe("hyperrep/paper")
    assert config.layer_encoder.config.width == 512
    assert config.aggregator.config.width == 1200
    assert config.invariance.config.projection == (400, 400, 400, 50)

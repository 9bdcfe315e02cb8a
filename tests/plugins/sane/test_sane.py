"""SANE: codes of tokens of any architecture, windows, hidden tokens, and a loss that ignores padding."""

import numpy as np
import pytest
import torch
from attrs import evolve
from sneframe_sane import sneframe_parts
from sneframe_sane.windows import errors, hidden, windows
from torch.nn import functional as F

import sneframe
from sneframe.batch import join
from sneframe.errors import PartError
from sneframe.model import build_invariance, build_model
from sneframe.nn.perturb import streams_of
from sneframe.parts.part import fault
from sneframe.rng import Draw
from sneframe.run_folder import checkpoint
from sneframe.testing import mlp, toy_zoo
from sneframe.zoo import open_zoo

ONE, OTHER = mlp(2, 4, 3, 1), mlp(2, 6, 1)
SMALL = (
    "tokenizer.token_size=3",
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.blocks=1",
    "layer_encoder.latent=6",
    "invariance.width=8",
    "invariance.heads=2",
    "invariance.blocks=1",
    "invariance.projection=[5,4]",
    "invariance.window=4",
)


def config_for(*words):
    return sneframe.recipe("sane", *SMALL, *words)


def batch(*architectures, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    weights = {a: torch.randn(count, a.num_weights, generator=generator) for a in architectures}
    places = len(architectures)
    return join(weights, {a: range(n, n + count * places, places) for n, a in enumerate(architectures)})


def built(*words, architectures=(ONE, OTHER)):
    torch.manual_seed(0)
    config = config_for(*words)
    model = build_model(config, architectures)
    model.encoder.normalise.fit([batch(*architectures, count=8, seed=2)])
    return model, build_invariance(config, model)


def draw(count=6):
    return Draw(seed=3, step=5, positions=np.arange(count), size=count)


def tokens_of(model, networks):
    return model.encoder.tokenizer(model.encoder.normalise(networks))


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_the_registry_accepts_every_part(part):
    """No part has a fault."""
    assert fault(part) is None


def test_a_network_is_encoded_alone_as_in_a_batch():
    """Networks of two architectures have the same embedding alone and together."""
    model, _ = built()
    encoder, networks = model.encoder.eval(), batch(ONE, OTHER)
    with torch.no_grad():
        together = encoder(networks)
        alone = torch.cat([encoder(networks.select([position])) for position in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_an_unseen_architecture_has_an_embedding_and_a_reconstruction():
    """Deeper and wider networks than any in training are encoded and decoded."""
    model, loss = built()
    wide = batch(mlp(2, 9, 8, 7, 1))
    assert model.encoder(wide).shape == (3, 6)
    found = loss.reconstruct(model, wide)
    assert found.networks[0].weights.shape == wide.networks[0].weights.shape


def test_the_embedding_is_the_mean_code():
    """The mean runs over the tokens of a network."""
    model, _ = built()
    networks = batch(ONE)
    (codes,) = model.encoder.layer_encoder(tokens_of(model, networks))
    torch.testing.assert_close(model.encoder(networks), codes.codes.mean(1))


@torch.no_grad()
def test_positions_tell_tokens_apart():
    """A network whose neurons are all equal has different codes for them."""
    model, _ = built()
    networks = batch(ONE)
    networks = networks.replace([torch.ones_like(networks.networks[0].weights)])
    (codes,) = model.encoder.layer_encoder(tokens_of(model, networks))
    assert float((codes.codes[0, 0] - codes.codes[0, 1]).abs().max()) > 1e-4


def test_a_window_holds_consecutive_tokens():
    """A window has tokens, masks and positions of the network from its start on."""
    model, _ = built()
    networks = batch(ONE)
    (entry,) = tokens_of(model, networks)
    (stream,) = streams_of(networks, draw(3))
    found = windows(entry, 4, stream)
    assert found.extent == (3, 3)
    for row in range(3):
        start = int(found.positions[row, 0, 0])
        here = slice(start, start + 4)
        assert torch.equal(found.tokens[row], entry.tokens[row, here])
        assert torch.equal(found.mask[row], entry.mask[here])
        assert torch.equal(found.positions[row], entry.positions[here])


def test_windows_start_anywhere():
    """Over many networks, every start occurs, and none is too late."""
    model, _ = built()
    networks = batch(ONE, count=400)
    (entry,) = tokens_of(model, networks)
    (stream,) = streams_of(networks, draw(400))
    starts = windows(entry, 4, stream).positions[:, 0, 0].tolist()
    assert set(starts) == set(range(entry.tokens.shape[1] - 4 + 1))


def test_a_window_of_the_whole_network_is_the_network():
    """If a network has fewer tokens than a window, all of them are taken."""
    model, _ = built()
    (entry,) = tokens_of(model, batch(ONE))
    assert windows(entry, 99, torch.zeros(3, 1, dtype=torch.int64)) is entry


def test_a_window_has_the_codes_of_its_tokens_if_it_is_whole():
    """Positions of a window are those of the network: a whole window given per network changes nothing."""
    model, _ = built()
    (entry,) = tokens_of(model, batch(ONE))
    each = evolve(entry, mask=entry.mask.expand(3, -1, -1), positions=entry.positions.expand(3, -1, -1))
    encoder = model.encoder.layer_encoder
    torch.testing.assert_close(encoder((entry,))[0].codes, encoder((each,))[0].codes)


def test_hidden_tokens_are_replaced():
    """About half of the tokens become the hidden token, and the others stay."""
    model, _ = built()
    networks = batch(ONE, count=200)
    (entry,) = tokens_of(model, networks)
    (stream,) = streams_of(networks, draw(200))
    found = hidden(entry, 0.5, stream, torch.full((3,), 9.0)).tokens
    replaced = (found == 9.0).all(dim=2)
    assert 0.4 < float(replaced.float().mean()) < 0.6
    assert torch.equal(found[~replaced], entry.tokens[~replaced])


def test_the_error_ignores_padding():
    """Whatever the decoder says at the places of padding, the error is that of the true weights."""
    model, _ = built()
    (entry,) = tokens_of(model, batch(ONE))
    decoded = evolve(entry, tokens=entry.tokens + 2)
    assert errors(decoded, entry).tolist() == pytest.approx([4.0] * 3)
    for junk in (1e6, float("inf"), float("nan")):
        dirty = evolve(decoded, tokens=decoded.tokens.masked_fill(~entry.mask, junk))
        assert errors(dirty, entry).tolist() == pytest.approx([4.0] * 3)


@torch.no_grad()
def test_the_loss_by_hand():
    """γ NT-Xent of the projected mean codes plus β times the mean error of two windows."""
    model, loss = built("invariance.noise=0.2", "invariance.window=99")
    networks = batch(ONE, OTHER)
    term = loss(model, networks, None, draw())
    means, found = [], 0.0
    for view in loss.config.pair(networks, draw()):
        seen, target = tokens_of(model, view.shown), tokens_of(model, view.moved)
        codes = model.encoder.layer_encoder(seen)
        for code, entry in zip(codes, target, strict=True):
            decoded = loss.decoder(code.codes, entry).tokens
            for row in range(3):
                found += float((decoded[row] - entry.tokens[row])[entry.mask].square().mean()) / 2
        means.append(networks.restore([code.codes.mean(1) for code in codes]))
    projected = torch.cat([loss.project(mean) for mean in means])
    similarity = F.cosine_similarity(projected[:, None], projected[None], dim=2) / 0.1
    similarity.fill_diagonal_(float("-inf"))
    contrast = F.cross_entropy(similarity, torch.arange(12).roll(6), reduction="sum") / 2
    assert float(term.total) == pytest.approx(0.05 * float(contrast) + 0.95 * found, rel=1e-4)
    assert term.count == 6


@torch.no_grad()
def test_a_part_of_a_batch_has_its_part_of_the_reconstruction():
    """Without the contrast, two processes that share a batch have together the loss of one."""
    model, loss = built("invariance.contrastive=0", "invariance.masked=0.3", "invariance.noise=0.1")
    networks = batch(ONE, OTHER)
    whole = float(loss(model, networks, None, draw()).total)
    halves = 0.0
    for rank in range(2):
        positions = np.arange(6)[rank::2]
        part = Draw(seed=3, step=5, positions=positions, size=6)
        halves += float(loss(model, networks.select(positions), None, part).total)
    assert halves == pytest.approx(whole, rel=1e-5)


def test_hidden_tokens_are_learned():
    """With ``masked``, the token that stands for hidden ones gets a gradient; without, there is none."""
    model, loss = built("invariance.masked=0.5")
    loss(model, batch(ONE), None, draw(3)).total.backward()
    assert float(loss.hidden_token.grad.abs().sum()) > 0
    assert built()[1].hidden_token is None


def test_a_decoder_refuses_tokens_that_it_does_not_have():
    """Codes of another network, and tokens of another size, are refused."""
    model, loss = built()
    one, other = tokens_of(model, batch(ONE, OTHER))
    codes = model.encoder.layer_encoder((one,))[0].codes
    with pytest.raises(
        PartError, match=r"decodes 12 tokens of 3 weights, but linear 2×6 .* has 9 tokens of 3"
    ):
        loss.decode(codes, other)
    wide = evolve(one, tokens=torch.zeros(3, 12, 4))
    with pytest.raises(PartError, match="has 12 tokens of 4"):
        loss.decode(codes, wide)


def test_the_loss_needs_codes_of_tokens():
    """Behind another method there are no codes of tokens to decode."""
    config = sneframe.recipe("sne", "invariance.part=sane/self-supervised", "train.task_weight=0")
    model = build_model(config, (ONE,))
    with pytest.raises(PartError, match="decodes the codes of tokens, and the aggregator does not say"):
        build_invariance(config, model)


def test_a_reconstruction_is_in_the_unit_of_the_weights(tmp_path):
    """After a training the networks of two architectures are reconstructed better than by their mean."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=24, hidden=((3,), (4,)))
    words = ("train.epochs=100", "train.batch_size=16", "invariance.contrastive=0", "invariance.noise=0")
    words += ("invariance.actions=[]", "layer_encoder.latent=8", "invariance.window=99", "train.lr=0.01")
    run = sneframe.run(config_for(*words, f"zoo.path={zoo}", "device=cpu"), tmp_path / "run", report=False)
    path = run.folder / "best.safetensors"
    model, _, _ = checkpoint.load_model(path)
    loss, networks = checkpoint.load_invariance(path, model), open_zoo(zoo).load()
    with torch.no_grad():
        found = loss.reconstruct(model, networks)
    for own, given in zip(found.networks, networks.networks, strict=True):
        error = float((own.weights - given.weights).square().mean())
        assert error < 0.5 * float((given.weights - given.weights.mean(0)).square().mean())

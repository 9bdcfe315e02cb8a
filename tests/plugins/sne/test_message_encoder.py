"""``sne/message`` as a whole: what an embedding depends on, for networks of every family."""

import pytest
import torch
from networks import NETWORKS
from sneframe_sne.message.rounds import FUNCTIONS, Mixture
from torch import nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.batch import join
from sneframe.errors import PartError
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

# The normalisation is left unfitted on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

SMALL = ("layer_encoder.width=8", "layer_encoder.heads=2", "aggregator.heads=2")
WITH_CHUNKS = "layer_encoder.part=sne/message-chunk-set"


class Transposed(nn.Sequential):
    """Convolutions with groups: depthwise, transposed, and with a depth multiplier."""

    def __init__(self):
        super().__init__(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 6, 2, groups=6), nn.ReLU()),
            *(nn.ConvTranspose2d(6, 4, 2, groups=2), nn.ReLU(), nn.Conv2d(4, 8, 1, groups=4), nn.ReLU()),
            nn.Conv2d(8, 2, 1),
        )


FAMILIES = {**NETWORKS, "transposed": (Transposed, torch.randn(2, 3, 8, 8))}


def of_network(name):
    make, example = FAMILIES[name]
    torch.manual_seed(0)
    return Architecture.from_module(make(), example)


def encoder(*architectures, words=()):
    """Return an encoder with random changes to its weights, because some are 0 or 1 at initialisation."""
    torch.manual_seed(0)
    model = sneframe.encoder("sne/message", architectures, *words, *SMALL).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def networks(*architectures, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = {
        a: torch.randn(count, a.num_weights, generator=generator, dtype=torch.float64) / 3
        for a in architectures
    }
    return join(
        weights,
        {
            a: range(number, count * len(architectures), len(architectures))
            for number, a in enumerate(architectures)
        },
    )


def change(one, other):
    return float((one - other).detach().abs().max())


# -- of any network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_permutations_of_every_group_change_nothing(name):
    """Permuting the neurons of each group leaves the embedding as it is."""
    architecture = of_network(name)
    model, batch = encoder(architecture), networks(architecture)
    moved = apply(batch, sample(batch, seed=0, step=1))
    assert change(batch.networks[0].weights, moved.networks[0].weights) > 0.1
    with torch.no_grad():
        assert change(model(batch), model(moved)) < 1e-9


@pytest.mark.parametrize("name", FAMILIES)
def test_each_parameter_changes_the_embedding(name):
    """No parameter of a network is ignored."""
    architecture = of_network(name)
    model, batch = encoder(architecture), networks(architecture, count=1)
    flat = batch.networks[0].weights
    others = flat.repeat(len(architecture.parameters), 1)
    generator = torch.Generator().manual_seed(1)
    for row, (parameter, start) in enumerate(zip(architecture.parameters, architecture.offsets, strict=True)):
        others[row, start : start + parameter.size] += torch.randn(
            parameter.size, generator=generator
        ).double()
    with torch.no_grad():
        before = model(batch)
        after = model(join({architecture: others}, {architecture: range(len(others))}))
    ignored = [
        p.name for p, row in zip(architecture.parameters, after, strict=True) if change(row, before[0]) < 1e-5
    ]
    assert ignored == []


def test_connections_between_neurons_matter():
    """Permuting the columns of a layer, but not the rows before it, changes the embedding."""
    architecture = mlp(2, 5, 4, 1)
    model, batch = encoder(architecture), networks(architecture)
    rewired = batch.networks[0].weights.clone()
    columns = rewired[:, 15:35].unflatten(1, (4, 5))
    columns.copy_(columns.roll(1, dims=2))
    with torch.no_grad():
        assert change(model(batch), model(batch.replace([rewired]))) > 1e-3


def test_the_values_of_a_head_belong_to_its_queries():
    """Exchanging the queries and keys of heads, but not their values, changes the embedding."""
    architecture = of_network("vit")
    model, batch = encoder(architecture), networks(architecture)
    rewired = batch.networks[0].weights.clone()
    for parameter, start in zip(architecture.parameters, architecture.offsets, strict=True):
        if "blocks.0.attention.qkv" in parameter.name:
            rows = rewired[:, start : start + parameter.size].unflatten(1, (3, 3, 4, -1))
            rows[:, :2] = rows[:, :2].roll(1, dims=2)
    with torch.no_grad():
        assert change(model(batch), model(batch.replace([rewired]))) > 1e-4


# -- batches -------------------------------------------------------------------------------------------------

MIXED = (mlp(1, 5, 4, 1), mlp(1, 6, 1, activation="sine"), *map(of_network, ("lenet", "vit")))


def test_a_network_is_the_same_alone_and_in_a_batch():
    """The other networks of a batch, and their order, do not change an embedding."""
    model, batch = encoder(*MIXED), networks(*MIXED)
    with torch.no_grad():
        together = model(batch)
        for position in range(len(batch)):
            assert change(model(batch.select([position]))[0], together[position]) < 1e-9
        backwards = list(reversed(range(len(batch))))
        assert change(model(batch.select(backwards)), together[backwards]) < 1e-9


def test_unseen_architectures_are_encoded():
    """An encoder takes unseen architectures, and distinguishes two networks of them."""
    model = encoder(mlp(1, 4, 1))
    for unseen in (mlp(1, 7, 3, 5, 1), of_network("separable"), of_network("gru")):
        one, other = networks(unseen), networks(unseen, seed=1)
        with torch.no_grad():
            assert model(one).isfinite().all()
            assert change(model(one), model(other)) > 1e-3


@pytest.mark.parametrize("words", [(), ("layer_encoder.activation=recorded",), (WITH_CHUNKS,)])
def test_all_parameters_get_gradients_from_a_mixed_zoo(words):
    """A batch of many families gives each parameter of the encoder a finite gradient other than zero."""
    architectures = (*MIXED, of_network("gru"))
    model = encoder(*architectures, words=words)
    (model(networks(*architectures)) * torch.randn(10, 8, dtype=torch.float64)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("table.weight"):  # rows of types that no network has get 0
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("words", [(), ("layer_encoder.activation=recorded",), (WITH_CHUNKS,)])
@pytest.mark.parametrize("widths", [(1, 1), (3, 2), (1, 4, 1)])
def test_unused_parameters_get_a_gradient_too(widths, words):
    """Data-parallel training waits for the gradient of every parameter, whatever networks a process has."""
    model = encoder(mlp(*widths), words=words)
    model(networks(mlp(*widths))).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


# -- precision -----------------------------------------------------------------------------------------------

PRECISE = ("lenet", "separable", "grouped", "vit", "gru", "unet", "llama")


@pytest.mark.parametrize("name", PRECISE)
def test_single_precision_is_near_double(name):
    """Embeddings in float32 and float64 differ by less than 1e-4."""
    architecture = of_network(name)
    model, batch = encoder(architecture), networks(architecture)
    with torch.no_grad():
        exact = model(batch)
        single = model.float()(batch.to(dtype=torch.float32))
    assert single.dtype == torch.float32
    assert change(exact, single) < 1e-4


@pytest.mark.parametrize("words", [(), (WITH_CHUNKS,)])
@pytest.mark.parametrize("name", PRECISE)
def test_it_trains_under_bfloat16_autocast(name, words):
    """Under autocast, gradients are finite and embeddings stay near those of float32."""
    architecture = of_network(name)
    model, batch = encoder(architecture, words=words).float(), networks(architecture).to(dtype=torch.float32)
    with torch.no_grad():
        full = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch)
    half.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert change(full, half) < 0.2 * float(full.abs().max())


# -- options -------------------------------------------------------------------------------------------------


def phi(x, activation, *, recorded):
    with torch.no_grad():
        return Mixture(recorded=recorded)(x, activation)


def test_an_untrained_mixture_is_the_mean_of_its_functions():
    """Before training, the mixture is the mean of four functions, for any recorded activation."""
    x = torch.linspace(-2, 2, 9)
    mean = (x.relu() + x.tanh() + x.sin() + nn.functional.gelu(x)) / 4
    for activation in ("sine", "relu", "none", "made up"):
        assert torch.allclose(phi(x, activation, recorded=False), mean, atol=1e-6)


def test_recorded_takes_the_activation_if_there_is_one():
    """``recorded`` applies the layer's activation, and the mixture for none or an unknown one."""
    x = torch.linspace(-2, 2, 9)
    assert torch.equal(phi(x, "sine", recorded=True), x.sin())
    assert torch.equal(phi(x, "leaky_relu", recorded=True), nn.functional.leaky_relu(x))
    for activation in ("none", "made up"):
        assert torch.equal(phi(x, activation, recorded=True), phi(x, activation, recorded=False))
    assert "none" not in FUNCTIONS


def test_the_activation_matters_only_under_recorded():
    """Equal weights with different activations differ under ``recorded``, not under ``mixture``."""
    relu, sine = mlp(1, 5, 1), mlp(1, 5, 1, activation="sine")
    for activation, differs in (("mixture", False), ("recorded", True)):
        model = encoder(relu, sine, words=(f"layer_encoder.activation={activation}",))
        with torch.no_grad():
            assert (change(model(networks(relu)), model(networks(sine))) > 1e-3) == differs


def test_the_number_of_rounds_matters():
    """Two rounds have two sets of maps, and give another embedding than one round."""
    architecture = mlp(1, 5, 1)
    one, two = (encoder(architecture, words=(f"layer_encoder.rounds={rounds}",)) for rounds in (1, 2))
    assert [len(model.layer_encoder.rounds) for model in (one, two)] == [1, 2]
    with torch.no_grad():
        assert change(one(networks(architecture)), two(networks(architecture))) > 1e-3


def test_the_model_size_is_that_counted_by_hand():
    """For D = 8, the encoder has as many trainable weights as its equations say."""
    d, types = 8, 2
    direction = (
        2 * d + (d * d + d) + 2 * 36 * d + 4 + (3 * d * d + d) + 2 * d + (2 * d * d + 2 * d) + (2 * d * d + d)
    )
    pma = d + 3 * (d * d + d) + d * d + 4 * d
    expected = 2 * 2 * direction + 2 * (types + 1) * d + d + 6 * d + 2 * d + pma
    model = encoder(mlp(1, 5, 1))
    assert sum(p.numel() for p in model.layer_encoder.parameters()) == expected


def test_there_is_a_code_for_each_group_and_the_outputs():
    """An MLP with two hidden layers has three codes, each of a weight and a bias."""
    model, batch = encoder(mlp(2, 5, 4, 1)), networks(mlp(2, 5, 4, 1))
    (codes,) = model.layer_encoder(model.tokenizer(batch))
    assert codes.codes.shape == (2, 3, 8)
    assert codes.units == ((0, 1), (2, 3), (4, 5))


def test_chunk_codes_follow_those_of_messages():
    """``sne/message-chunk-set`` gives the codes of messages, then one code for each parameter."""
    model, batch = (
        encoder(mlp(2, 5, 4, 1), words=(WITH_CHUNKS, "layer_encoder.chunk_size=4")),
        networks(mlp(2, 5, 4, 1)),
    )
    part, tokens = model.layer_encoder, model.tokenizer(batch)
    with torch.no_grad():
        (codes,), (own,) = part(tokens), part.message(tokens)
        (chunks,) = part.chunk_set((part.cut.cut(tokens[0]),))
    assert codes.units == ((0, 1), (2, 3), (4, 5), (0,), (1,), (2,), (3,), (4,), (5,))
    assert torch.equal(codes.codes, torch.cat([own.codes, chunks.codes], dim=1))


def test_chunks_make_messages_lose_their_invariance():
    """``sne/message`` claims permutations; with chunks the part claims none, and the embedding changes."""
    architecture = mlp(1, 6, 5, 1)
    batch = networks(architecture)
    moved = apply(batch, sample(batch, seed=0, step=1))
    model = encoder(architecture, words=(WITH_CHUNKS, "layer_encoder.chunk_size=4"))
    assert "permute" not in model.layer_encoder.keeps
    assert "permute" in encoder(architecture).layer_encoder.keeps
    with torch.no_grad():
        assert change(model(batch), model(moved)) > 1e-4


def test_statistics_follow_the_codes_of_messages():
    """``sne/message-statistics`` adds one code for each parameter, made of its seven statistics."""
    architecture = mlp(1, 6, 5, 1)
    batch = networks(architecture)
    layers = encoder(architecture, words=("layer_encoder.part=sne/message-statistics",)).layer_encoder
    (codes,), (own,) = layers(batch.networks), layers.message(batch.networks)
    assert codes.units == own.units + tuple((number,) for number in range(len(architecture.parameters)))
    assert torch.equal(codes.codes[:, : len(own.units)], own.codes)
    weight = batch.networks[0].parameters()["1.weight"].flatten(1)
    numbers = torch.stack(
        [
            weight.mean(1),
            weight.var(1),
            *weight.quantile(torch.tensor([0, 0.25, 0.5, 0.75, 1]).double(), dim=1),
        ],
        dim=1,
    )
    encoding = layers.encoding(architecture, ((2,),), weight)
    expected = layers.perceptron(torch.asinh(numbers / 0.01)) + encoding
    torch.testing.assert_close(codes.codes[:, len(own.units) + 2], expected)


def test_messages_with_statistics_are_invariant():
    """Permuting neurons does not change the embedding of ``sne/message-statistics``."""
    architecture = mlp(1, 6, 5, 1)
    batch = networks(architecture)
    model = encoder(architecture, words=("layer_encoder.part=sne/message-statistics",))
    assert "permute" in model.layer_encoder.keeps
    with torch.no_grad():
        assert change(model(batch), model(apply(batch, sample(batch, seed=0, step=1)))) < 1e-5


@pytest.mark.parametrize("part", ["sne/message", "sne/message-chunk-set", "sne/message-statistics"])
def test_heads_that_do_not_divide_the_width_are_refused(part):
    """The error names the part, the heads and the width."""
    with pytest.raises(
        PartError, match=f"layer_encoder '{part}': heads must divide width, but got heads = 3 and width = 8"
    ):
        sneframe.encoder(
            "sne/message", (mlp(1, 5, 1),), f"layer_encoder.part={part}", *SMALL, "layer_encoder.heads=3"
        )


def test_messages_refuse_chunks():
    """A tokenizer that gives chunks before ``sne/message`` is an error that says so."""
    with pytest.raises(PartError, match="'sne/message' takes Networks, but got ChunkTokens"):
        encoder(mlp(1, 5, 1), words=("tokenizer.part=sne/pad-chunk",))

"""The parts of NFN: their outputs, their invariances, what they refuse, and training."""

import pytest
import sneframe_nfn
import torch
from attrs import evolve
from sneframe_nfn.aggregator import HNPPool, NPPool
from sneframe_nfn.encoding import LayerEmbedding
from sneframe_nfn.layer_encoder import AttentionBlocks, HNPLayers, NPLayers
from sneframe_nfn.tokenizer import NFNChannels

from sneframe.architecture.chain import read_chain
from sneframe.batch import Batch
from sneframe.errors import PartError
from sneframe.parts.carriers import Embedding, NeuronFeatures, WeightFeatures
from sneframe.parts.part import Spec, fault
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp
from sneframe.testing.compare import difference

LAYERS = {
    "NP": (NPLayers, {"widths": (4, 6)}),
    "NP without embeddings": (NPLayers, {"widths": (4, 6), "embedding": False}),
    "HNP": (HNPLayers, {"widths": (4, 6)}),
    "attention": (AttentionBlocks, {"width": 6, "blocks": 2, "heads": 2}),
}


@pytest.fixture(params=LAYERS)
def layers(request):
    return LAYERS[request.param]


def spec(*architectures, carrier=Batch):
    return Spec(carrier=carrier, width=1, architectures=architectures)


# -- outputs -------------------------------------------------------------------------------------------------


def test_the_registry_accepts_every_part():
    """No part has a fault."""
    assert [fault(part) for part in sneframe_nfn.sneframe_parts()] == [None] * 6


def test_the_tokenizer_gives_weights_and_biases(build, networks, flat_cnn):
    """Without options, features are the weights and biases themselves, as one channel."""
    batch = networks(flat_cnn)
    given = batch.networks[0].parameters()

    (features,) = build(flat_cnn)(batch)

    assert [tuple(w.shape) for w in features.weights] == [
        (3, 1, 5, 2, 3, 3),
        (3, 1, 4, 5, 2, 2),
        (3, 1, 3, 36),
    ]
    assert [tuple(b.shape) for b in features.biases] == [(3, 1, 5), (3, 1, 4), (3, 1, 3)]
    for number, name in enumerate(("0", "2", "5")):
        assert torch.equal(features.weights[number][:, 0], given[f"{name}.weight"])
        assert torch.equal(features.biases[number][:, 0], given[f"{name}.bias"])


def test_encodings_are_appended_as_channels(build, networks, flat_cnn):
    """The last channel is the sum of the positions of layer, input and output."""
    batch = networks(flat_cnn)

    (plain,) = build(flat_cnn)(batch)
    chain = build(flat_cnn, bands=2)
    (encoded,) = chain(batch)

    assert chain[0].out.width == 1 + 5
    assert torch.equal(encoded.weights[2][:, :1], plain.weights[2])
    # Layer 3 of 3 has position 1, and outputs 1 to 3 have positions -1, 0 and 1; all 36 columns are alike.
    last = encoded.weights[2][0, -1]
    torch.testing.assert_close(last, torch.tensor([0.0, 1.0, 2.0]).double()[:, None].expand(3, 36))
    # Layer 1 has position -1, and inputs 1 and 2 have positions -1 and 1; all entries of a kernel are alike.
    last = encoded.weights[0][0, -1]
    torch.testing.assert_close(last, torch.tensor([-2.0, 0.0]).double()[:, None, None].expand(5, 2, 3, 3))


def test_the_specs_match_the_outputs(build, networks, flat_cnn, layers):
    """Each part gives the carrier and the width that it declares."""
    chain = build(flat_cnn, layers, HNPPool, frequencies=3)
    batch = networks(flat_cnn)

    tokens = chain[0](batch)
    (features,) = chain[1](tokens)
    (embedding,) = chain[2]((features,))

    assert (chain[0].out.carrier, chain[0].out.width) == (WeightFeatures, 6)
    assert tokens[0].weights[0].shape[1] == 6
    assert (chain[1].out.carrier, chain[1].out.width) == (WeightFeatures, 6)
    assert [tuple(w.shape) for w in features.weights] == [
        (3, 6, 5, 2, 3, 3),
        (3, 6, 4, 5, 2, 2),
        (3, 6, 3, 36),
    ]
    assert [tuple(b.shape) for b in features.biases] == [(3, 6, 5), (3, 6, 4), (3, 6, 3)]
    # first weight 2 · 9, bias 1, weight 4, bias 1, last weight 3 · 9, bias 3
    assert (chain[2].out.carrier, chain[2].out.width) == (Embedding, 6 * (18 + 1 + 4 + 1 + 27 + 3))
    assert embedding.values.shape == (3, chain[2].out.width)


def test_the_np_pool_averages_over_neurons_only(build, flat_cnn):
    """All weights at one position are equal here, so each mean is known: layer + position / 100."""
    architecture = flat_cnn
    weights, biases = [], []
    for number, link in enumerate(read_chain(architecture), start=1):
        values = number + torch.arange(link.positions).double() / 100
        weights.append(values.expand(link.outputs, link.inputs, -1).reshape(link.weight.shape)[None, None])
        biases.append(torch.full((1, 1, link.outputs), number + 0.5).double())
    features = WeightFeatures(architecture=architecture, weights=weights, biases=biases)

    (embedding,) = NPPool(NPPool.Config(), spec(architecture, carrier=WeightFeatures))((features,))

    expected = [
        1.00, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.5,
        2.00, 2.01, 2.02, 2.03, 2.5,
        3.00, 3.01, 3.02, 3.03, 3.04, 3.05, 3.06, 3.07, 3.08, 3.5,
    ]  # fmt: skip
    torch.testing.assert_close(embedding.values, torch.tensor([expected]).double())


def test_pools_take_neuron_features(flat_cnn):
    """Weights are 1, 2 and 3 by layer, and ten times that in the second channel; biases are 0.5."""
    links = read_chain(flat_cnn)
    weights = [
        torch.full((1, 2, link.outputs, link.inputs), n) * torch.tensor([1.0, 10.0])[:, None, None]
        for n, link in enumerate(links, start=1)
    ]
    biases = [torch.full((1, 2, link.outputs), 0.5) for link in links]
    features = NeuronFeatures(architecture=flat_cnn, weights=weights, biases=biases)
    given = evolve(spec(flat_cnn, carrier=NeuronFeatures), width=2)

    np_pool, hnp_pool = (pool(pool.Config(), given) for pool in (NPPool, HNPPool))

    assert np_pool((features,))[0].values.tolist() == [[1, 10, 0.5, 0.5, 2, 20, 0.5, 0.5, 3, 30, 0.5, 0.5]]
    first, last = [1, 10] * 2, [3, 30] * 3
    expected = [*first, 0.5, 0.5, 2, 20, 0.5, 0.5, *last, *[0.5] * 6]
    assert hnp_pool((features,))[0].values.tolist() == [expected]
    assert hnp_pool.out.width == len(expected)


def test_layer_embeddings_are_equal_at_all_positions():
    """All positions of a kernel get the same vector."""
    links = read_chain(mlp(2, 3, 1))
    embedding = LayerEmbedding([evolve(link, positions=2) for link in links], 2)
    zeros = [torch.zeros(1, 3, 2, 4), torch.zeros(1, 3, 2), torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 2)]

    first, bias, last, last_bias = embedding(zeros)

    expected = embedding.weights[0] + embedding.inputs[1]
    torch.testing.assert_close(first[0, 2, 1], torch.cat([expected, expected]))
    torch.testing.assert_close(bias[0, 1], embedding.biases[0])
    torch.testing.assert_close(last[0, 0, 2, 2:], embedding.weights[1] + embedding.outputs[0])
    torch.testing.assert_close(last_bias[0, 0], embedding.biases[1] + embedding.outputs[0])


# -- invariances ---------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("pool", [HNPPool, NPPool])
@pytest.mark.parametrize("kind", ["pooled", "flat"])
def test_features_of_cnns_move_with_the_neurons(build, networks, small_cnn, flat_cnn, kind, layers, pool):
    """Features move with the neurons, and the embedding does not change."""
    architecture = flat_cnn if kind == "flat" else small_cnn((4, 5, 3), channels=2, outputs=3)
    chain = build(architecture, layers, pool, frequencies=2, bands=2)
    batch = networks(architecture)
    elements = sample(batch, seed=0, step=0)

    stayed = chain[1](chain[0](batch))
    moved = chain[1](chain[0](apply(batch, elements)))

    assert difference(stayed, moved) > 1e-3
    expected = tuple(f.act(g) for f, g in zip(stayed, elements, strict=True))
    assert difference(expected, moved) < 1e-12
    assert difference(chain[2](stayed), chain[2](moved)) < 1e-12


def exchange(batch, architecture):
    """Exchange the two inputs and the two outputs of an MLP."""
    link, *_, last = read_chain(architecture)
    views = {name: view.clone() for name, view in batch.networks[0].parameters().items()}
    views[link.weight.name] = views[link.weight.name].flip(2)
    for parameter in (last.weight, last.bias):
        views[parameter.name] = views[parameter.name].flip(1)
    return batch.replace([torch.cat([view.flatten(1) for view in views.values()], 1)])


@torch.no_grad()
@pytest.mark.parametrize(
    ("part", "tokens", "blind"),
    [
        pytest.param((NPLayers, {"embedding": False}), {}, True, id="NP"),
        pytest.param((AttentionBlocks, {"embedding": False}), {}, True, id="attention"),
        pytest.param((NPLayers, {"embedding": True}), {}, False, id="NP with embeddings"),
        pytest.param((NPLayers, {"embedding": False}), {"bands": 3}, False, id="NP with encodings"),
        pytest.param((AttentionBlocks, {"embedding": True}), {}, False, id="attention with embeddings"),
        pytest.param((HNPLayers, {}), {}, False, id="HNP"),
    ],
)
def test_what_distinguishes_inputs_and_outputs(build, networks, part, tokens, blind):
    """HNP layers, embeddings and encodings do; NP layers and attention alone do not."""
    architecture = mlp(2, 5, 4, 2)
    chain = build(architecture, part, NPPool, **tokens)
    batch = networks(architecture)

    change = difference(chain(batch), chain(exchange(batch, architecture)))

    assert (change < 1e-12) == blind
    assert blind or change > 1e-4


# -- refusals ------------------------------------------------------------------------------------------------


def test_a_network_that_is_no_chain_is_refused():
    """The error is one line that says why."""
    with pytest.raises(PartError) as caught:
        NFNChannels(NFNChannels.Config(), spec(mlp(1, 4)))

    message = str(caught.value)
    assert message.startswith(
        "tokenizer 'nfn/weight-features' takes a chain of at least 2 layers with weight and bias, "
        "but there is one"
    )
    assert "\n" not in message


def test_a_mixed_zoo_is_refused():
    """The error says how many layouts the zoo has."""
    with pytest.raises(PartError, match="one layout, but the zoo has 2 layouts"):
        NFNChannels(NFNChannels.Config(), spec(mlp(1, 4, 4, 1), mlp(1, 8, 8, 1)))


@pytest.mark.parametrize("carrier", [Batch, NeuronFeatures])
@pytest.mark.parametrize("part", [NPLayers, HNPLayers, AttentionBlocks])
def test_layers_refuse_other_carriers(part, carrier):
    """The error names both carriers."""
    with pytest.raises(PartError, match=f"takes WeightFeatures, but got {carrier.__name__}"):
        part(part.Config(), spec(mlp(1, 4, 1), carrier=carrier))


@pytest.mark.parametrize("pool", [HNPPool, NPPool])
def test_pools_refuse_other_carriers(pool):
    """The error names the carriers."""
    with pytest.raises(PartError, match="takes NeuronFeatures or WeightFeatures, but got Batch"):
        pool(pool.Config(), spec(mlp(1, 4, 1)))


def test_networks_of_another_architecture_are_refused(build, networks):
    """The error shows both architectures."""
    with pytest.raises(PartError, match=r"was built for .*1×4.*, but got .*1×8"):
        build(mlp(1, 4, 1))(networks(mlp(1, 8, 1)))


def test_shared_projections_are_refused_on_convolutions(build, small_cnn):
    """The error names the parameter."""
    with pytest.raises(
        PartError, match=r"shared_projections needs one weight for each pair of neurons, but '0.weight' has 9"
    ):
        build(small_cnn(), (AttentionBlocks, {"shared_projections": True}))


def test_heads_that_do_not_divide_the_width_are_refused(build):
    """The error gives both numbers."""
    with pytest.raises(PartError, match="heads must divide width, but got heads = 3 and width = 8"):
        build(mlp(1, 4, 1), (AttentionBlocks, {"width": 8, "heads": 3}))


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (NPLayers, {"widths": ()}),
        (HNPLayers, {"widths": (0,)}),
        (HNPLayers, {"dropout": 1.0}),
        (AttentionBlocks, {"blocks": 0}),
        (NFNChannels, {"scale": 0.0}),
        (NFNChannels, {"bands": -1}),
    ],
)
def test_impossible_options_are_refused(part, options):
    """The error names the option."""
    with pytest.raises(ValueError, match=next(iter(options))):
        part.Config(**options)


# -- training ------------------------------------------------------------------------------------------------


def test_all_trainable_weights_get_a_gradient(build, networks, flat_cnn, layers):
    """No tensor of the model is left without a gradient."""
    chain = build(flat_cnn, layers, HNPPool, frequencies=2).train()

    chain(networks(flat_cnn))[0].values.square().sum().backward()

    assert [name for name, p in chain.named_parameters() if p.grad is None] == []


def test_dropout_drops_whole_channels_in_training(build, networks):
    """A channel of a network is dropped on all neurons, or doubled on all; in evaluation none is dropped."""
    architecture = mlp(2, 5, 4, 3)
    chain = build(architecture, (HNPLayers, {"widths": (32,), "dropout": 0.5}))
    batch = networks(architecture)

    (kept,) = chain(batch)
    (dropped,) = chain.train()(batch)

    gone = (dropped.weights[1] == 0).flatten(2).all(2)  # (networks, channels)
    assert 0.2 < gone.double().mean() < 0.8
    torch.testing.assert_close(dropped.weights[1][~gone], 2 * kept.weights[1][~gone])
    gone = (dropped.weights[0] == 0).flatten(2).all(2)
    torch.testing.assert_close(dropped.weights[0][~gone], 2 * kept.weights[0][~gone])


@torch.no_grad()
def test_attention_dropout_is_off_in_evaluation(build, networks):
    """Outputs are random in training only."""
    architecture = mlp(2, 5, 4, 3)
    chain = build(architecture, (AttentionBlocks, {"width": 4, "heads": 2, "dropout": 0.5}))
    batch = networks(architecture)

    assert difference(chain(batch), chain(batch)) == 0
    chain.train()
    assert difference(chain(batch), chain(batch)) > 1e-3


def test_no_value_is_read_on_the_host(build, networks, flat_cnn, layers):
    """A tensor on the meta device has no values, so code that reads one fails."""

    chain = build(flat_cnn, layers, HNPPool, frequencies=2, bands=2).train().to("meta")

    (embedding,) = chain(networks(flat_cnn).to("meta"))

    assert embedding.values.shape == (3, chain[2].out.width)

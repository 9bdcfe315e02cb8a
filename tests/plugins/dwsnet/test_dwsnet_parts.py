"""The parts of DWSNet: their size, their outputs, what they refuse, and training."""

import numpy as np
import pytest
import sneframe_dwsnet
import torch
from attrs import evolve
from sneframe_dwsnet.aggregator import InvariantPooling
from sneframe_dwsnet.layer_encoder import DWSLayers
from sneframe_dwsnet.tokenizer import DWSChannels
from torch import nn

from sneframe.batch import Batch, join
from sneframe.errors import PartError
from sneframe.nn.chain_tensors import fold
from sneframe.parts.carriers import Embedding, NeuronFeatures, WeightFeatures
from sneframe.parts.part import Spec, fault
from sneframe.testing import mlp

OPTIONS = {"width": 8, "heads": 2, "hidden_layers": 2}


def spec(*architectures):
    return Spec(carrier=Batch, width=1, architectures=architectures)


def tokenizer(*architectures):
    return DWSChannels(DWSChannels.Config(), spec(*architectures))


# -- size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "values", "expected"),
    [pytest.param(2, 10, 552_650, id="MNIST, published"), pytest.param(1, 1, 390_657, id="sine")],
)
def test_the_defaults_have_the_published_size(model, inputs, values, expected):
    """With a head of ten classes, the published MNIST setting has 552 650 weights."""
    built = model(mlp(inputs, 32, 32, 1))
    head = nn.Linear(built.pooling.out.width, values)

    assert sum(p.numel() for module in (built, head) for p in module.parameters()) == expected


# -- outputs -------------------------------------------------------------------------------------------------


def test_the_registry_accepts_every_part():
    """No part has a fault."""
    assert [fault(part) for part in sneframe_dwsnet.sneframe_parts()] == [None] * 3


def test_the_tokenizer_gives_weights_and_biases(networks):
    """Features are the weights and biases themselves, as one channel."""
    architecture = mlp(2, 5, 4, 3)
    batch = networks(architecture)
    given = batch.networks[0].parameters()

    (features,) = tokenizer(architecture)(batch)

    assert [tuple(w.shape) for w in features.weights] == [(3, 1, 5, 2), (3, 1, 4, 5), (3, 1, 3, 4)]
    assert [tuple(b.shape) for b in features.biases] == [(3, 1, 5), (3, 1, 4), (3, 1, 3)]
    for number in range(3):
        assert torch.equal(features.weights[number][:, 0], given[f"{number}.weight"])
        assert torch.equal(features.biases[number][:, 0], given[f"{number}.bias"])


def test_the_specs_match_the_outputs(model, networks):
    """Each part gives the carrier and the width that it declares."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, **OPTIONS)
    batch = networks(architecture)

    assert (built.tokenizer.out.carrier, built.tokenizer.out.width) == (WeightFeatures, 1)
    assert (built.encoder.out.carrier, built.encoder.out.width) == (NeuronFeatures, 8)
    assert built.pooling.out.carrier is Embedding
    assert built(batch).shape == (3, built.pooling.out.width)
    features = built.features(batch)
    assert [tuple(w.shape) for w in features.weights] == [(3, 8, 5, 2), (3, 8, 4, 5), (3, 8, 3, 4)]
    assert [tuple(b.shape) for b in features.biases] == [(3, 8, 5), (3, 8, 4), (3, 8, 3)]


@pytest.mark.parametrize("carrier", [WeightFeatures, NeuronFeatures])
def test_pooling_keeps_inputs_and_outputs_separate(carrier):
    """Each tensor is pooled over hidden axes only, and the tensors are in the original's order."""
    architecture = mlp(2, 3, 3, 2)
    # Channel c of W[o, i] is 100 · layer + 10 · o + i + 1000 · c, so each maximum is known.
    weights = [number_weights(layer, *shape) for layer, shape in enumerate([(3, 2), (3, 3), (2, 3)])]
    biases = [number_weights(layer, size, 1)[..., 0] + 0.5 for layer, size in enumerate([3, 3, 2])]
    features = carrier(architecture=architecture, weights=weights, biases=biases)
    given = evolve(spec(architecture), carrier=carrier, width=2)

    (embedding,) = InvariantPooling(InvariantPooling.Config(), given)((features,))

    inner, first = [122, 1122], [20, 1020, 21, 1021]
    last, hidden_biases, last_bias = (
        [202, 1202, 212, 1212],
        [20.5, 1020.5, 120.5, 1120.5],
        [200.5, 1200.5, 210.5, 1210.5],
    )
    assert embedding.values.tolist() == [[*inner, *first, *last, *hidden_biases, *last_bias]]


def number_weights(layer, rows, columns):
    values = 100 * layer + 10 * torch.arange(rows)[:, None] + torch.arange(columns)
    return torch.stack([values, values + 1000])[None].float()


# -- refusals ------------------------------------------------------------------------------------------------


def test_chains_of_two_layers_are_refused():
    """The error is one line that says how many layers are needed."""
    shallow = evolve(spec(mlp(1, 4, 1)), carrier=WeightFeatures)
    with pytest.raises(PartError) as caught:
        DWSLayers(DWSLayers.Config(), shallow)

    message = str(caught.value)
    assert message.startswith(
        "layer_encoder 'dwsnet/dws-layers' takes a chain of at least 3 layers with weight and bias, "
        "but there are 2 layers with parameters in "
    )
    assert "\n" not in message


def test_a_mixed_zoo_is_refused():
    """The error says how many layouts the zoo has."""
    with pytest.raises(PartError, match="one layout, but the zoo has 2 layouts"):
        tokenizer(mlp(1, 4, 4, 1), mlp(1, 8, 8, 1))


@pytest.mark.parametrize("carrier", [Batch, NeuronFeatures])
def test_layers_refuse_other_carriers(carrier):
    """The error names both carriers."""
    with pytest.raises(PartError, match=f"takes WeightFeatures, but got {carrier.__name__}"):
        DWSLayers(DWSLayers.Config(), evolve(spec(mlp(1, 4, 4, 1)), carrier=carrier))


def test_pooling_refuses_other_carriers():
    """The error names the carriers."""
    with pytest.raises(PartError, match="takes NeuronFeatures or WeightFeatures, but got Batch"):
        InvariantPooling(InvariantPooling.Config(), spec(mlp(1, 4, 4, 1)))


def test_networks_of_another_architecture_are_refused(networks):
    """The error shows both architectures."""
    with pytest.raises(PartError, match=r"was built for .*1×4.*, but got .*1×8"):
        tokenizer(mlp(1, 4, 4, 1))(networks(mlp(1, 8, 8, 1)))


@pytest.mark.parametrize(
    "options",
    [{"width": 0}, {"hidden_layers": 0}, {"heads": 0}, {"depth": 0}, {"dropout": 1.0}, {"init_scale": 0.0}],
)
def test_impossible_options_are_refused(options):
    """The error names the option."""
    with pytest.raises(ValueError, match=next(iter(options))):
        DWSLayers.Config(**options)


# -- training ------------------------------------------------------------------------------------------------


def test_all_trainable_weights_get_a_gradient(model, networks):
    """No tensor of the model is left without a gradient."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, depth=2, **OPTIONS).train()

    built(networks(architecture)).square().sum().backward()

    assert [name for name, p in built.named_parameters() if p.grad is None] == []


def test_dropout_is_off_in_evaluation(model, networks):
    """Outputs are random in training only."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, dropout=0.5, **OPTIONS)
    batch = networks(architecture)

    assert torch.equal(built(batch), built(batch))
    built.encoder.dropout.train()
    assert not torch.equal(built(batch), built(batch))


def test_dropout_before_pooling_is_off_in_evaluation(model, networks):
    """Embeddings are random in training only."""
    architecture = mlp(2, 5, 4, 3)
    given = model(architecture, **OPTIONS)
    features = (given.features(networks(architecture)),)
    pooling = InvariantPooling(InvariantPooling.Config(dropout=0.5), given.encoder.out)

    dropped = pooling(features)[0].values
    kept = pooling.eval()(features)[0].values

    assert not torch.equal(dropped, kept)
    assert torch.equal(pooling(features)[0].values, kept)


def test_batch_norm_takes_statistics_per_tensor_and_channel(model, networks):
    """The running mean is that over networks, neurons and inputs."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, **OPTIONS).train()
    batch = networks(architecture, count=4)
    encoder = built.encoder
    (features,) = built.tokenizer(batch)
    given = fold(features, encoder.input_members)
    (first, *_) = encoder.layers[0](given)
    norm = encoder.norms[0]["weight_0"]
    before = norm.running_mean.clone()

    built(batch)

    # W_0 has the shape (B, 5, 2 · 8), so the mean of each of 8 channels is over 4 · 5 · 2 values.
    mean = first.reshape(4 * 5 * 2, 8).mean(0)
    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * mean)


def test_float32_and_bf16_autocast_follow_float64(model, networks):
    """Their errors are below 1e-5 and 5 % of the largest value."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, **OPTIONS)
    batch = networks(architecture)
    exact = built(batch)
    built, batch = built.float(), batch.to(dtype=torch.float32)
    scale = exact.abs().max().item()

    torch.testing.assert_close(built(batch).double(), exact, rtol=0, atol=1e-5 * scale)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = built(batch)
    torch.testing.assert_close(rough.double(), exact, rtol=0, atol=0.05 * scale)


def test_bf16_autocast_trains(model, networks):
    """Gradients are finite."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, **OPTIONS).float().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = built(networks(architecture, dtype=torch.float32)).square().sum()

    loss.backward()

    assert all(torch.isfinite(p.grad).all() for p in built.parameters())


def test_no_value_is_read_on_the_host(model, networks):
    """A tensor on the meta device has no values, so code that reads one fails."""
    architecture = mlp(2, 5, 4, 3)
    built = model(architecture, dropout=0.1, **OPTIONS).train()
    embedding = built.to("meta")(networks(architecture).to("meta"))

    assert embedding.shape == (3, built.pooling.out.width)


def test_a_state_dict_round_trip_keeps_the_embedding(model, networks):
    """A model with a loaded state dict gives the same embeddings."""
    architecture = mlp(2, 5, 4, 3)
    batch = networks(architecture)
    built = model(architecture, **OPTIONS)
    twin = type(built)(architecture, **OPTIONS).double().eval()
    assert not torch.equal(twin(batch), built(batch))

    twin.load_state_dict(built.state_dict())

    assert torch.equal(twin(batch), built(batch))


def test_a_model_learns_the_scale_of_the_weights(model):
    """After some steps the loss is under half the variance of the property."""
    torch.manual_seed(0)
    architecture = mlp(1, 4, 4, 1)
    scale = torch.rand(64) + 0.5
    weights = torch.randn(64, architecture.num_weights) * scale[:, None]
    batch = join({architecture: weights}, {architecture: np.arange(64)})
    built = model(architecture, width=4, heads=1, hidden_layers=1).float().train()
    head = nn.Linear(built.pooling.out.width, 1)
    optimiser = torch.optim.AdamW([*built.parameters(), *head.parameters()], lr=1e-2, fused=True)
    for _ in range(30):
        optimiser.zero_grad()
        loss = (head(built(batch)).squeeze(1) - scale).square().mean()
        loss.backward()
        optimiser.step()

    assert loss.item() < 0.5 * scale.var().item()


def test_batch_norm_refuses_a_step_of_one_network(model, networks):
    """The error is one line that names the keys to change; evaluation works."""
    architecture = mlp(1, 4, 4, 1)
    built = model(architecture, **OPTIONS).train()
    with pytest.raises(
        PartError, match="batch norm needs at least two networks in each step, but got one"
    ) as said:
        built(networks(architecture, 1))
    assert "\n" not in str(said.value)
    assert built.eval()(networks(architecture, 1)).shape[0] == 1


def test_heads_that_do_not_divide_the_width_are_refused(model):
    """The error names the part; DeepSets has no heads, so there any number is taken."""
    with pytest.raises(
        PartError,
        match="layer_encoder 'dwsnet/dws-layers': heads must divide width, but got heads = 3 and width = 8",
    ):
        model(mlp(1, 4, 4, 1), width=8, heads=3)
    model(mlp(1, 4, 4, 1), width=8, heads=3, set_layer="deepsets", hidden_layers=1)

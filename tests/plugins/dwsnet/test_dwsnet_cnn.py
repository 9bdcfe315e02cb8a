"""DWSNet on CNNs: the entries of a kernel, and the positions of a flattened map, are channels."""

import numpy as np
import pytest
import torch
from sneframe_dwsnet.aggregator import InvariantPooling
from torch import nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.nn.chain_tensors import fold
from sneframe.parts.carriers import NeuronFeatures
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp
from sneframe.testing.compare import difference
from sneframe.zoo import create

OPTIONS = {"width": 4, "heads": 2, "hidden_layers": 2}
every_end = pytest.mark.parametrize("end", ["global pool", "flatten"])


class CNN(nn.Module):
    """Two convolutions, a global average pool or a flatten of 2 × 2 positions, and two linear layers."""

    def __init__(self, end: str, kernel: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 5, kernel), nn.Conv2d(5, 4, kernel)
        self.hidden = nn.Linear(4 if end == "global pool" else 16, 3)
        self.last = nn.Linear(3, 2)
        self.end = nn.AdaptiveAvgPool2d(1) if end == "global pool" else nn.Identity()

    def forward(self, x):
        for layer in (self.first, self.second):
            x = layer(x).relu()
        return self.last(self.hidden(self.end(x).flatten(1)).relu())


def architecture(end, **options):
    return Architecture.from_module(CNN(end, **options), torch.randn(2, 2, 6, 6))


# -- inputs and outputs --------------------------------------------------------------------------------------


def test_kernel_entries_are_input_channels(model, networks):
    """Nine entries of a 3 × 3 kernel are nine channels of the first DWS layer."""
    built, batch = model(architecture("global pool"), **OPTIONS), networks(architecture("global pool"))
    given = batch.networks[0].parameters()["second.weight"]

    folded = fold(built.tokenizer(batch)[0], built.encoder.input_members)

    # Inputs and outputs of the network are channels, too.
    sizes = [(3, 5, 9 * 2), (3, 4, 5, 9), (3, 3, 4, 1), (3, 3, 2), (3, 5, 1), (3, 4, 1), (3, 3, 1), (3, 2)]
    assert [tuple(x.shape) for x in folded] == sizes
    for entry in range(9):
        assert torch.equal(folded[1][..., entry], given[..., entry // 3, entry % 3])


def test_flattened_positions_are_input_channels(model, networks):
    """Four positions of a flattened map are four channels of the first DWS layer."""
    built, batch = model(architecture("flatten"), **OPTIONS), networks(architecture("flatten"))
    given = batch.networks[0].parameters()["hidden.weight"]

    folded = fold(built.tokenizer(batch)[0], built.encoder.input_members)[2]

    assert folded.shape == (3, 3, 4, 4)
    for position in range(4):
        assert torch.equal(folded[..., position], given[:, :, position::4])


@every_end
def test_layers_give_one_vector_per_kernel(model, networks, end):
    """The output has no kernel axes: one vector for each pair of channels."""
    built, batch = model(architecture(end), **OPTIONS), networks(architecture(end))

    features = built.features(batch)

    assert built.encoder.out.carrier is type(features) is NeuronFeatures
    assert [tuple(w.shape) for w in features.weights] == [
        (3, 4, 5, 2),
        (3, 4, 4, 5),
        (3, 4, 3, 4),
        (3, 4, 2, 3),
    ]
    assert [tuple(b.shape) for b in features.biases] == [(3, 4, 5), (3, 4, 4), (3, 4, 3), (3, 4, 2)]


@every_end
@torch.no_grad()
def test_pooling_takes_kernels(model, networks, end):
    """Features on kernels are pooled for each entry separately."""
    built, batch = model(architecture(end), **OPTIONS), networks(architecture(end))
    tokens = built.tokenizer(batch)
    pooling = InvariantPooling(InvariantPooling.Config(), built.tokenizer.out)
    positions = 1 if end == "global pool" else 4

    (embedding,) = pooling(tokens)

    # Weights between hidden layers, the first weight with its inputs, the last with its outputs, hidden
    # biases, and the last bias.
    assert embedding.values.shape == (3, 9 + positions + 9 * 2 + 2 + 3 + 2)
    largest = tokens[0].weights[1].amax((1, 2, 3)).flatten(1).relu()
    assert torch.equal(embedding.values[:, :9], largest)


# -- the equations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("set_layer", ["sab", "deepsets"])
def test_a_cnn_with_1x1_kernels_equals_an_mlp(model, networks, set_layer):
    """Keys, sizes and values are those of the MLP with the same widths."""
    cnn, perceptron = architecture("global pool", kernel=1), mlp(2, 5, 4, 3, 2)
    one, other = (model(a, set_layer=set_layer, **OPTIONS) for a in (cnn, perceptron))
    other.load_state_dict(one.state_dict(), strict=True)
    given, plain = networks(cnn), networks(perceptron)
    assert torch.equal(given.networks[0].weights, plain.networks[0].weights)

    torch.testing.assert_close(one(given), other(plain), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_first_layer_equals_its_equations(model, networks):
    """All maps into a kernel between two convolutions, written out for one pair of channels at a time."""
    described = architecture("flatten")
    built = model(described, set_layer="deepsets", reduction="mean", **OPTIONS)
    batch = networks(described, count=1)
    w0, b0, w1, b1, w2, b2, w3, b3 = (view[0] for view in batch.networks[0].parameters().values())
    encoder = built.encoder
    (features,) = built.tokenizer(batch)
    given = fold(features, encoder.input_members)
    actual = encoder.layers[0](given)[1][0]  # (4, 5, width): for the kernel to channel o from channel i

    def affine(name, x):
        return encoder.layers[0].maps[f"{name}"][0](x)

    def deep_sets(name, elements, index):
        layer = encoder.layers[0].maps[name]
        return layer.gamma(elements[index]) - layer.lambda_(sum(elements) / len(elements))

    mean = lambda elements: sum(elements) / len(elements)  # noqa: E731
    kernels = [[w1[o, i].flatten() for o in range(4)] for i in range(5)]
    by_input = [mean(kernels[i]) for i in range(5)]
    by_output = [mean([kernels[i][o] for i in range(5)]) for o in range(4)]
    first = [w0[i].flatten(1).T.flatten() for i in range(5)]  # the inputs of the first entry, then the next
    # After the flatten: from the four positions of channel o to each of three neurons.
    third = [[w2[n, 4 * o : 4 * o + 4] for n in range(3)] for o in range(4)]
    for i, o in ((0, 0), (3, 1), (4, 3)):
        expected = [
            deep_sets("weight_0_to_weight_1_along_1", first, i),
            affine("weight_1_to_weight_1_along_1_2", kernels[i][o]) / 4,
            affine("weight_1_to_weight_1_along_1", by_input[i]) / 4,
            affine("weight_1_to_weight_1_along_2", by_output[o]) / 4,
            affine("weight_1_to_weight_1_pooled", mean(by_input)) / 4,
            deep_sets("weight_2_to_weight_1_along_2", [mean(weights) for weights in third], o),
            affine("weight_3_to_weight_1_pooled", mean([w3[:, n] for n in range(3)])),
            deep_sets("bias_0_to_weight_1_along_1", list(b0[:, None]), i),
            deep_sets("bias_1_to_weight_1_along_2", list(b1[:, None]), o),
            affine("bias_2_to_weight_1_pooled", b2.mean()[None]),
            affine("bias_3_to_weight_1_pooled", b3),
        ]
        torch.testing.assert_close(actual[o, i], sum(expected) / 8, rtol=0, atol=1e-12)


# -- symmetry ------------------------------------------------------------------------------------------------


@every_end
@pytest.mark.parametrize("set_layer", ["sab", "deepsets"])
@pytest.mark.parametrize("reduction", ["max", "mean", "sum"])
@torch.no_grad()
def test_layers_are_equivariant_and_embeddings_invariant(model, networks, end, set_layer, reduction):
    """Permuting hidden channels moves features with them, and does not change the embedding."""
    described = architecture(end)
    built = model(described, set_layer=set_layer, reduction=reduction, **OPTIONS)
    batch = networks(described)
    (element,) = sample(batch, seed=0, step=0)
    moved = apply(batch, (element,))

    assert difference(batch, moved) > 0.1
    assert difference(built.features(batch).act(element), built.features(moved)) < 1e-9
    torch.testing.assert_close(built(moved), built(batch), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("conv", "size"), [(nn.Conv1d, (6,)), (nn.Conv3d, (6, 6, 6))])
@torch.no_grad()
def test_convolutions_of_other_dimensions_are_invariant(model, networks, conv, size):
    """One and three dimensions work like two."""
    module = nn.Sequential(conv(2, 3, 3), nn.ReLU(), conv(3, 4, 3), nn.ReLU(), conv(4, 2, 2))
    described = Architecture.from_module(module, torch.randn(2, 2, *size))
    built, batch = model(described, **OPTIONS), networks(described)
    moved = apply(batch, sample(batch, seed=0, step=0))

    assert difference(batch, moved) > 0.1
    torch.testing.assert_close(built(moved), built(batch), rtol=0, atol=1e-9)


@pytest.mark.parametrize("action", ["permute", "scale", "sign"])
def test_tokens_move_with_the_weights(model, networks, action):
    """Permuting, scaling and flipping commute with the tokenizer."""
    described = Architecture.from_module(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)),
        torch.randn(2, 2, 6, 6),
    )
    tokenizer, batch = model(described, **OPTIONS).tokenizer, networks(described)
    elements = sample(batch, seed=0, step=0, actions=(action,))
    moved = apply(batch, elements)

    assert difference(batch, moved) > 0.1
    assert difference(tokenizer(batch)[0].act(elements[0]), tokenizer(moved)[0]) < 1e-12


@pytest.mark.parametrize(("name", "axis"), [("first.weight", 3), ("second.weight", 4), ("hidden.weight", 2)])
def test_the_order_of_kernel_entries_matters(model, networks, name, axis):
    """Flipping a kernel, or the positions of a flattened map, changes the embedding."""
    described = architecture("flatten")
    embed, batch = model(described, **OPTIONS), networks(described)
    parameters = batch.networks[0].parameters()
    if name == "hidden.weight":  # reverse the positions of each channel
        parameters[name] = parameters[name].unflatten(2, (4, 4)).flip(3).flatten(2)
    else:
        parameters[name] = parameters[name].flip(axis)
    weights = torch.cat([p.flatten(1) for p in parameters.values()], dim=1)

    assert (embed(batch.replace([weights])) - embed(batch)).abs().max() > 1e-4


# -- a run ---------------------------------------------------------------------------------------------------


def test_a_zoo_of_cnns_is_learned(tmp_path):
    """A run on CNNs has half the error of the mean, and is invariant."""
    described = architecture("flatten")
    generator = np.random.default_rng(0)
    scale = generator.uniform(0.5, 2.0, 80)
    with create(tmp_path / "cnn.zarr", name="cnn") as zoo:
        weights = {
            p.name: (generator.standard_normal((80, *p.shape)).T * scale).T.astype(np.float32)
            for p in described.parameters
        }
        zoo.append(described, weights, {"scale": scale})
    small = (
        "layer_encoder.width=8",
        "layer_encoder.heads=2",
        "layer_encoder.hidden_layers=1",
        "train.epochs=10",
    )
    words = (f"zoo.path={tmp_path / 'cnn.zarr'}", "train.batch_size=8", *small)
    result = sneframe.run(sneframe.recipe("dwsnet", *words), tmp_path / "run", report=False)

    assert result.metrics["test"]["mse"] < 0.5 * result.metrics["baseline"]["test"]["mse"]
    assert result.metrics["invariance"]["e_g"] < 1e-6

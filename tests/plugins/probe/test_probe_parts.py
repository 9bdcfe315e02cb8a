"""Probes compared with modules that are run; what is refused, said, learned and left out of account."""

import math
import warnings

import pytest
import torch
from attrs import evolve
from sneframe_probe import sneframe_parts, sneframe_recipes
from sneframe_probe.aggregator import OutputValues
from sneframe_probe.probe_values import ProbeValues
from torch import nn

import sneframe
from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.batch import Batch, join
from sneframe.errors import ArchitecturesRefused, PartError
from sneframe.parts.part import Spec, fault
from sneframe.symmetry.describe import from_modules
from sneframe.testing import mlp

SMALL = ("layer_encoder.probes=5", "aggregator.hidden=[8,6]")
ONE, TWO, DEEPER, WIDE = mlp(2, 5, 4, 1), mlp(2, 6, 1), mlp(2, 3, 7, 3, 1), mlp(2, 4, 3)


def encoder(*words, architectures=(ONE, TWO)):
    torch.manual_seed(0)
    return sneframe.encoder("probe", architectures, *SMALL, *words).double().eval()


def networks(architecture, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(count, architecture.num_weights, generator=generator, dtype=torch.float64)
    return join({architecture: weights}, {architecture: range(count)})


def with_sines(**attributes):
    """The MLP 1 → 4 → 4 → 1 with a sine after each hidden layer."""
    plain = mlp(1, 4, 4, 1, activation="sine")
    layers = [
        evolve(layer, attributes=attributes if layer.activation == "sine" else {}) for layer in plain.layers
    ]
    return evolve(plain, layers=layers)


@pytest.mark.parametrize("part", sneframe_parts(), ids=lambda part: part.name)
def test_the_registry_accepts_every_part(part):
    """No part has a fault."""
    assert fault(part) is None


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe.recipe(name).recipe == name


# -- outputs -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_outputs_are_those_of_the_modules():
    """A module that runs on the probes gives the values, for every network of the batch."""
    torch.manual_seed(3)
    modules = [nn.Sequential(nn.Linear(2, n), nn.Tanh(), nn.Linear(n, 3)).double() for n in (4, 7, 4)]
    batch = from_modules(modules).to(dtype=torch.float64)
    model = encoder(architectures=batch.architectures)
    values = batch.restore([entry.values for entry in model.layer_encoder(batch.networks)])
    (probes,) = model.layer_encoder.inputs(batch.architectures[0])
    for module, found in zip(modules, values, strict=True):
        torch.testing.assert_close(found, module(probes), rtol=0, atol=1e-6)  # stacked as float32


def test_a_normalisation_does_not_change_the_outputs():
    """The weights as stored are evaluated, whatever rescales them on the way."""
    batch = networks(ONE)
    plain, scaled = (
        encoder(architectures=[ONE]),
        encoder("normalise.part=normalise/fan-in", architectures=[ONE]),
    )
    scaled.normalise.fit([batch])
    assert not torch.equal(scaled.normalise(batch).networks[0].weights, batch.networks[0].weights)
    torch.testing.assert_close(scaled(batch), plain(batch), rtol=0, atol=1e-12)


def test_a_deeper_network_than_any_in_training_is_encoded():
    """Every architecture with the same inputs and outputs is taken."""
    assert encoder()(networks(DEEPER)).shape == (3, 6)


def test_outputs_with_several_axes_are_flattened():
    """A network that returns a sequence of vectors gives one row of numbers for each probe."""
    described = Architecture(
        layers=[
            Layer(kind="linear", parameters=[Parameter(name="w", shape=(3, 2))]),
        ],
        input_shapes=[(4, 2)],
        outputs=[0],
    )
    model = encoder(architectures=[described])
    (entry,) = model.layer_encoder(networks(described).networks)
    (probes,) = model.layer_encoder.inputs(described)
    expected = probes[0] @ networks(described).networks[0].weights[1].reshape(3, 2).T
    torch.testing.assert_close(entry.values[1, 0], expected.flatten(), rtol=0, atol=1e-12)


def test_the_probes_are_trained():
    """A loss on the embedding has a gradient for every probe."""
    model = encoder()
    model(networks(ONE)).square().sum().backward()
    (probes,) = model.layer_encoder.inputs(ONE)
    assert (probes.grad.abs().sum(dim=1) > 0).all()


# -- what cannot be evaluated --------------------------------------------------------------------------------


def test_an_architecture_that_cannot_be_evaluated_is_refused():
    """The error names the layer and what is missing."""
    strange = evolve(TWO, layers=[evolve(TWO.layers[0], activation="other"), TWO.layers[1]])
    with pytest.raises(ArchitecturesRefused, match=r"cannot evaluate 1 of 2 .*layer 0 \(linear '0.weight'\)"):
        encoder(architectures=[ONE, strange])


def test_such_an_architecture_is_refused_at_prediction_too():
    """The error names the architecture and the layer."""
    strange = evolve(TWO, layers=[evolve(TWO.layers[0], activation="other"), TWO.layers[1]])
    with pytest.raises(PartError, match=r"linear 2×6 .*layer 0"):
        encoder()(networks(strange))


def test_a_refusal_names_other_recipes():
    """Methods that read weights take such a zoo."""
    strange = evolve(TWO, layers=[evolve(TWO.layers[0], activation="other"), TWO.layers[1]])
    with pytest.raises(ArchitecturesRefused, match=r"recipes that take this zoo: .*sne"):
        encoder(architectures=[strange])


def test_layers_that_do_not_fit_are_refused_before_training():
    """A hidden layer of another width than the next one reads."""
    shapes = ((6, 2), (1, 9))
    layers = [
        Layer(kind="linear", parameters=[Parameter(name=f"{n}.weight", shape=shape)], inputs=[n - 1])
        for n, shape in enumerate(shapes)
    ]
    with pytest.raises(ArchitecturesRefused, match=r"layer 1 \(linear '1.weight'\)"):
        encoder(architectures=[Architecture(layers=layers, outputs=[1])])


def test_an_unknown_size_of_images_is_refused():
    """A convolution tells its channels; the error names the layer, and the option that tells the rest."""
    settings = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
    weight = Parameter(name="conv.weight", shape=(2, 1, 3, 3))
    described = Architecture(
        layers=[
            Layer(kind="conv2d", parameters=[weight], attributes=settings),
            Layer(kind="global_average_pool", inputs=[0], attributes={"keepdim": False}),
        ],
        outputs=[1],
    )
    with pytest.raises(ArchitecturesRefused, match=r"conv.weight.* does not tell .*layer_encoder.size"):
        encoder(architectures=[described])
    model = encoder("layer_encoder.size=[8]", architectures=[described])
    with pytest.warns(UserWarning, match=r"conv.weight.* is taken to be image 1×8×8"):
        assert model(networks(described)).shape == (3, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(networks(described))  # it is said once


def test_an_input_without_probe_is_named():
    """A network of three inputs, where all training networks have two."""
    with pytest.raises(PartError, match=r"no probe .* linear 3×4 .* vector 3; .*: vector 2"):
        encoder()(networks(mlp(3, 4, 1)))


# -- sines of an unknown factor ------------------------------------------------------------------------------


def test_an_unknown_factor_is_said_and_learned():
    """It starts at 30, one warning says so, and it gets a gradient."""
    unknown, known = with_sines(), with_sines(factor=30.0)
    learning, fixed = encoder(architectures=[unknown]), encoder(architectures=[known])
    batch = networks(unknown)
    with pytest.warns(UserWarning, match="factor inside the sines .* is learned, starting at 30") as caught:
        found = learning(batch)
    assert len(caught) == 1
    torch.testing.assert_close(found, fixed(batch.joined(known)))
    learning(batch).sum().backward()
    assert learning.layer_encoder.factors.changes.grad[:2].abs().min() > 0


def test_no_factor_is_learned_where_all_are_known():
    """There is no trainable weight for it, and no network without factor is taken."""
    model = encoder(architectures=[with_sines(factor=30.0)])
    assert model.layer_encoder.factors.changes is None
    with pytest.raises(PartError, match="factor"):
        model(networks(with_sines()))


# -- orders of the outputs -----------------------------------------------------------------------------------


def aggregator(order, sizes=(3,), probes=2):
    torch.manual_seed(0)
    spec = Spec(carrier=ProbeValues, width=probes, architectures=(WIDE,) * len(sizes), sizes=sizes)
    return OutputValues(OutputValues.Config(order=order, hidden=(8, 6)), spec).double()


def carrier(values):
    return (ProbeValues(architecture=WIDE, values=values),)


@pytest.mark.parametrize("order", ["sorted", "pooled"])
def test_without_order_the_names_of_classes_do_not_matter(order):
    """Exchanging classes in the same way at all probes changes nothing."""
    part, values = aggregator(order), torch.randn(4, 2, 3, dtype=torch.float64)
    one, other = (part(carrier(each))[0].values for each in (values, values[..., [2, 0, 1]]))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_given_order_matters():
    """Two outputs of a regression have meanings of their own."""
    part, values = aggregator("given"), torch.randn(4, 2, 3, dtype=torch.float64)
    assert not torch.allclose(part(carrier(values))[0].values, part(carrier(values.flip(2)))[0].values)


def test_pooled_values_by_hand():
    """Two classes and two probes: 3 : 1 for the first class, then 1 : 1."""
    from sneframe_probe.aggregator import _pooled

    values = torch.tensor([[[math.log(3), 0.0], [1.0, 1.0]]], dtype=torch.float64)
    first, second = _pooled(values)[0]
    entropy = math.log(4) - 0.75 * math.log(3)
    spread = math.asinh(math.log(3)) / 2
    expected = [0.75, 0.5, entropy, entropy / math.log(2), spread, (0.75 + 0.5) / 2]
    torch.testing.assert_close(first, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(second[:5], torch.tensor([0.5, 0, math.log(2), 1, 0], dtype=torch.float64))


def test_each_number_of_outputs_has_its_own_first_layer():
    """A zoo of regressors with one and with three outputs is taken, another number only if pooled."""
    model = encoder(architectures=[TWO, WIDE])
    assert model(networks(TWO)).shape == model(networks(WIDE)).shape == (3, 6)
    with pytest.raises(PartError, match=r"reads 1 or 3 outputs, but .* has 2; aggregator.order = 'pooled'"):
        model(networks(mlp(2, 4, 2)))
    pooled = encoder("aggregator.order=pooled", architectures=[TWO, WIDE])
    assert pooled(networks(mlp(2, 4, 2))).shape == (3, 6)


@pytest.mark.parametrize("order", ["given", "sorted", "pooled"])
def test_a_network_that_diverged_does_no_harm(order):
    """Outputs that are infinite or not a number give a finite embedding."""
    values = torch.tensor([[[math.inf, 0, 1], [-math.inf, math.nan, 2]]], dtype=torch.float64)
    assert aggregator(order)(carrier(values))[0].values.isfinite().all()


def test_one_hidden_layer_is_enough():
    """The embedding is then that layer."""
    assert encoder("aggregator.hidden=[7]")(networks(ONE)).shape == (3, 7)


def test_other_carriers_are_refused():
    """The aggregator reads outputs, and nothing else."""
    with pytest.raises(PartError, match="takes ProbeValues, but got Batch"):
        OutputValues(OutputValues.Config(), Spec(carrier=Batch, width=1, architectures=(ONE,)))


# -- inputs of other kinds -----------------------------------------------------------------------------------


def test_soft_tokens_are_read_through_the_embedding():
    """A text classifier is evaluated at mixtures of its own rows."""
    table = Parameter(name="table", shape=(5, 3))
    described = Architecture(
        layers=[
            Layer(kind="embedding", parameters=[table], inputs=[-1]),
            Layer(kind="mean", inputs=[0], attributes={"axes": [1], "keepdim": False}),
        ],
        input_shapes=[(4,)],
        outputs=[1],
    )
    model, batch = encoder(architectures=[described]), networks(described)
    (entry,) = model.layer_encoder(batch.networks)
    (mixtures,) = model.layer_encoder.inputs(described)
    expected = (mixtures @ batch.networks[0].weights[2].reshape(5, 3)).mean(dim=1)
    torch.testing.assert_close(entry.values[2], expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_grey_and_colour_networks_of_several_sizes_share_a_zoo():
    """The outputs at their probes are those of the modules."""

    def cnn(channels):
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )

    torch.manual_seed(5)
    modules = [cnn(1).double(), cnn(3).double()]
    images = [torch.zeros(2, 1, 9, 9).double(), torch.zeros(2, 3, 6, 8).double()]
    described = [Architecture.from_module(*each) for each in zip(modules, images, strict=True)]
    model = encoder(architectures=described)
    for module, image, architecture in zip(modules, images, described, strict=True):
        (probes,) = model.layer_encoder.inputs(architecture)
        assert probes.shape == (5, *image.shape[1:])
        weights = torch.cat([p.flatten() for p in module.parameters()])[None]
        (entry,) = model.layer_encoder(join({architecture: weights}, {architecture: [0]}).networks)
        torch.testing.assert_close(entry.values[0], module(probes), rtol=0, atol=1e-12)
    assert len(model.layer_encoder.inputs.last) == 1

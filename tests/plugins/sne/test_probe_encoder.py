"""``sne/probe`` as a whole: what an embedding depends on, and what is said of what is not evaluated."""

import warnings

import pytest
import torch
from attrs import evolve
from networks import NETWORKS
from torch import nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import obstacle
from sneframe.batch import join
from sneframe.errors import PartError
from sneframe.symmetry import apply, sample
from sneframe.testing import mlp

# The normalisation is left unfitted on purpose, and some networks have few inputs and several outputs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*was never fitted"),
    pytest.mark.filterwarnings("ignore:.*taken for classifiers"),
]

SMALL = ("layer_encoder.width=8", "layer_encoder.heads=2", "layer_encoder.probes=4")
FUNCTION = ("layer_encoder.views=['probes','answers']",)  # the views that depend on outputs alone


def cnn(activation=nn.ReLU, classes=5):
    """Return a small CNN with random weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, stride=2), activation(), nn.Conv2d(4, 6, 3), activation()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes)),
    )


def of_module(module, example):
    return Architecture.from_module(module, example)


def encoder(*architectures, words=()):
    """Return an encoder with random changes to its weights, because some are 0 or 1 at initialisation."""
    torch.manual_seed(0)
    model = sneframe.encoder("sne/probe", architectures, *SMALL, *words).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def networks(*architectures, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = iter(range(count * len(architectures)))
    return join(
        {
            a: torch.randn(count, a.num_weights, generator=generator, dtype=torch.float64) / 3
            for a in architectures
        },
        {a: [next(ids) for _ in range(count)] for a in architectures},
    )


@torch.no_grad()
def embed(model, batch):
    return model(batch)


def change(one, other):
    return float((one - other).abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_permutations_of_every_group_change_nothing(name):
    """Permuting the neurons of each group leaves the embedding as it is, evaluated or not."""
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    architecture = of_module(make(), example)
    model, batch = encoder(architecture), networks(architecture)
    moved = apply(batch, sample(batch, seed=0, step=1))
    assert change(batch.networks[0].weights, moved.networks[0].weights) > 0.1
    assert change(embed(model, batch), embed(model, moved)) < 1e-8


def test_the_order_of_classes_is_hidden():
    """Networks that differ only in the order of their outputs have one embedding, unless it is given."""
    architecture = of_module(cnn(), torch.zeros(1, 1, 12, 12))
    batch = networks(architecture)
    order = torch.tensor([3, 0, 4, 1, 2])
    views = {name: view.clone() for name, view in batch.networks[0].parameters().items()}
    last = [p.name for p in architecture.layers[-1].parameters]
    moved = {name: view[:, order] if name in last else view for name, view in views.items()}
    other = batch.replace([torch.cat([moved[p.name].flatten(1) for p in architecture.parameters], dim=1)])
    hidden, given = encoder(architecture), encoder(architecture, words=("layer_encoder.order=given",))
    assert change(embed(hidden, batch), embed(hidden, other)) < 1e-9
    assert change(embed(given, batch), embed(given, other)) > 1e-4


def test_the_views_of_the_outputs_depend_on_the_function_alone():
    """Scaling the neurons of ReLU networks changes weights, but neither outputs nor these two views."""
    modules = [cnn() for _ in range(2)]
    batch = sneframe.from_modules(modules, [torch.zeros(1, 1, 12, 12)] * 2).to(dtype=torch.float64)
    model = encoder(*batch.architectures, words=FUNCTION)
    moved = apply(batch, sample(batch, seed=0, step=1, actions=("scale",)))
    assert change(batch.networks[0].weights, moved.networks[0].weights) > 0.01
    assert change(embed(model, batch), embed(model, moved)) < 1e-9
    assert change(embed(model, batch)[0], embed(model, batch)[1]) > 1e-6


def test_an_embedding_is_the_same_alone_and_in_a_mixed_batch():
    """Other networks of the batch, of other architectures and numbers of classes, change nothing."""
    images = torch.zeros(1, 1, 12, 12)
    mixed = [of_module(cnn(), images), of_module(cnn(nn.Tanh, classes=3), images), mlp(1, 6, 6, 1)]
    mixed.append(mlp(1, 4, 1, activation="other"))
    model, batch = encoder(*mixed), networks(*mixed)
    together = embed(model, batch)
    for number in range(len(batch)):
        assert change(embed(model, batch.select([number]))[0], together[number]) < 1e-12


def test_a_network_that_cannot_be_evaluated_keeps_its_codes():
    """It has an embedding that depends on its weights, and the part says what it left out."""
    known, unknown = mlp(1, 4, 1), mlp(1, 4, 1, activation="other")
    assert obstacle(unknown) is not None
    model, batch = encoder(known, unknown), networks(known, unknown)
    found = embed(model, batch)
    assert torch.isfinite(found).all()
    assert change(found[3], found[4]) > 1e-6
    assert model.layer_encoder.leaves_out(known) is None
    assert obstacle(unknown) in model.layer_encoder.leaves_out(unknown)


def test_a_sine_whose_factor_is_unknown_is_evaluated_with_a_learned_factor():
    """At the start it is read like a sine of factor 30, one warning says so, and the factor is trained."""
    unknown, known = (
        evolve(plain, layers=[_with_factor(layer, factor) for layer in plain.layers])
        for plain in (mlp(1, 4, 4, 1, activation="sine"),)
        for factor in (None, 30.0)
    )
    learning, fixed = (
        sneframe.encoder("sne/probe", [a], *SMALL, "layer_encoder.views=['probes']").double()
        for a in (unknown, known)
    )
    fixed.load_state_dict(learning.state_dict(), strict=False)
    batch = networks(unknown)
    with pytest.warns(UserWarning, match="factor inside the sines .* is learned, starting at 30"):
        found = learning(batch)
    torch.testing.assert_close(found, fixed(batch.joined(known)))
    assert learning.layer_encoder.leaves_out(unknown) is None
    found.sum().backward()
    assert learning.layer_encoder.probed.factors.changes.grad[:2].abs().min() > 0
    assert "factor" in fixed.layer_encoder.leaves_out(unknown)


def _with_factor(layer, factor):
    known = {} if factor is None or layer.activation != "sine" else {"factor": factor}
    return evolve(layer, attributes=known)


def test_a_network_whose_input_has_another_shape_keeps_its_codes():
    """A network with two inputs is read without probes if all probes are single numbers."""
    model = encoder(mlp(1, 4, 1))
    other = mlp(2, 4, 1)
    assert torch.isfinite(embed(model, networks(other))).all()
    assert "no probe has the shape" in model.layer_encoder.leaves_out(other)


@pytest.mark.parametrize(
    ("architecture", "words", "said"),
    [
        (mlp(2, 4, 3), (), True),
        (mlp(2, 4, 3), ("layer_encoder.order=given",), False),
        (mlp(2, 4, 3), ("layer_encoder.views=['statistics']",), False),
        (mlp(2, 4, 1), (), False),
        (mlp(100, 4, 3), (), False),
    ],
    ids=["three outputs", "order given", "not evaluated", "one output", "many inputs"],
)
def test_that_outputs_of_coordinates_are_taken_for_classes_is_said_once(architecture, words, said):
    """Networks of few inputs and several outputs may be INRs, so the first batch warns, and no other."""
    model, batch = encoder(architecture, words=words), networks(architecture)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embed(model, batch)
        embed(model, batch)
    assert [("taken for classifiers" in str(each.message)) for each in caught].count(True) == said


def test_messages_alone_evaluate_nothing():
    """Without the neurons' values, views of codes do not depend on the probes, and no network is left out."""
    words = ("layer_encoder.views=['output','groups']", "layer_encoder.neuron_values=false")
    unknown = mlp(1, 4, 1, activation="other")
    batch = networks(mlp(1, 4, 1), unknown)
    model = encoder(mlp(1, 4, 1), unknown, words=words)
    before = embed(model, batch)
    assert model.layer_encoder.leaves_out(unknown) is None
    move_probes(model)
    assert torch.equal(embed(model, batch), before)


@torch.no_grad()
@pytest.mark.parametrize("added", [True, False])
def test_messages_start_from_the_values_of_neurons_only_if_they_are_added(added):
    """The view of the codes changes with the probes if and only if the neurons' values are added."""
    words = ("layer_encoder.views=['output','probes']", f"layer_encoder.neuron_values={str(added).lower()}")
    model, batch = encoder(mlp(1, 4, 1), words=words), networks(mlp(1, 4, 1))
    (before,) = model.layer_encoder(batch.networks)
    move_probes(model)
    (after,) = model.layer_encoder(batch.networks)
    changes = (after.codes - before.codes).abs().amax(-1)
    assert (changes[:, 0].max() > 1e-4) == added
    assert changes[:, 1].min() > 1e-4


@torch.no_grad()
def move_probes(model):
    """Change the inputs at which networks are evaluated."""
    for parameter in model.layer_encoder.probed.inputs.parameters():
        parameter.add_(1.0)


def test_a_network_that_no_view_reads_is_refused():
    """With views of outputs alone, a network that cannot be evaluated is an error that says why."""
    unknown = mlp(1, 4, 1, activation="other")
    model = encoder(mlp(1, 4, 1), unknown, words=FUNCTION)
    with pytest.raises(PartError, match=r"probes and answers, but .* layer 0 .* cannot be evaluated"):
        embed(model, networks(unknown))


def test_deeper_networks_than_those_of_training_have_an_embedding():
    """A depth, a width and an activation that no training network had are read without an error."""
    model = encoder(mlp(1, 6, 6, 1, activation="tanh"))
    found = embed(model, networks(mlp(1, 4, 9, 4, 7, 1, activation="gelu")))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("scale", [0.0, 1e6])
def test_dead_and_exploding_networks_have_finite_embeddings_and_gradients(scale):
    """Weights that are all 0, or so large that values overflow single precision, give finite numbers."""
    architecture = of_module(cnn(), torch.zeros(1, 1, 12, 12))
    batch = networks(architecture).to(dtype=torch.float32)
    batch = batch.replace([scale * batch.networks[0].weights])
    torch.manual_seed(0)
    model = sneframe.encoder("sne/probe", [architecture], *SMALL)
    model(batch).sum().backward()
    assert torch.isfinite(model(batch)).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_every_weight_is_trained():
    """Each trainable weight gets a gradient, also if no network of a batch is evaluated."""
    model = sneframe.encoder("sne/probe", [mlp(1, 4, 1), mlp(1, 4, 1, activation="other")], *SMALL)
    model(networks(mlp(1, 4, 1, activation="other")).to(dtype=torch.float32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_run_says_how_many_networks_are_not_evaluated(tmp_path):
    """metrics.json has the number of networks and the reason, over all parts of the split."""
    from sneframe.zoo import create

    with create(tmp_path / "toy.zarr", name="toy") as zoo:
        for number, activation in enumerate(("relu", "other")):
            architecture = mlp(1, 4, 1, activation=activation)
            weights = torch.randn(20, architecture.num_weights)
            views = evolve(networks(architecture).networks[0], weights=weights).parameters()
            zoo.append(
                architecture,
                {name: view.numpy() for name, view in views.items()},
                {"scale": weights.std(dim=1).numpy()},
                group=range(20 * number, 20 * number + 20),
            )
    words = (f"zoo.path={tmp_path / 'toy.zarr'}", "train.epochs=1", *SMALL)
    config = sneframe.recipe("sne/probe", *words)
    found = sneframe.run(config, tmp_path / "run", report=False).metrics["left_out"]
    ((line, count),) = found.items()
    assert count == 20
    assert "sne/probe" in line
    assert "activation" in line


def test_values_of_single_outputs_are_read_unless_there_are_classes():
    """The view of the outputs' values is left out for classes without an order, and can be asked for."""
    classes = of_module(cnn(), torch.zeros(1, 1, 12, 12))
    given = ("layer_encoder.order=given",)
    asked = ("layer_encoder.views=['probes','statistics']",)
    found = {
        name: list(sneframe.encoder("sne/probe", [architecture], *SMALL, *words).layer_encoder.views)
        for name, architecture, words in (
            ("one", mlp(1, 4, 1), ()),
            ("classes", classes, ()),
            ("given", classes, given),
            ("asked", classes, asked),
        )
    }
    every = ["output", "groups", "probes", "answers", "layers", "statistics"]
    without = [view for view in every if view != "probes"]
    assert found == {"one": every, "classes": without, "given": every, "asked": ["probes", "statistics"]}


def test_codes_of_messages_have_a_dropout_of_their_own_only_beside_classes():
    """Each view's dropout is that of the page: of classes, of one output, and of outputs in a given order."""
    classes = of_module(cnn(), torch.zeros(1, 1, 12, 12))
    words = ("layer_encoder.dropout=0.1", "layer_encoder.code_dropout=0.4")
    codes, others = ("output", "groups"), ("answers", "layers", "statistics")
    exact = dict.fromkeys(("output", "probes"), ()) | dict.fromkeys(("groups", *others), (0.1,))
    for architecture, more, expected in (
        (classes, (), dict.fromkeys(codes, (0.4,)) | dict.fromkeys(others, (0.1,))),
        (classes, ("layer_encoder.order=given",), exact),
        (mlp(1, 4, 1), (), exact),
    ):
        views = sneframe.encoder("sne/probe", [architecture], *SMALL, *words, *more).layer_encoder.views
        found = {
            name: tuple({part.p for part in view.modules() if isinstance(part, nn.Dropout)})
            for name, view in views.items()
        }
        assert found == expected

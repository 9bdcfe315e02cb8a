"""Classifier zoos of digits: their content, killed and parallel builds, and the drawn hyper-parameters."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from attrs import evolve
from sneframe_zoos.classifiers import build as classifier
from sneframe_zoos.classifiers.build import BUILDERS, build, draw, train_block
from sneframe_zoos.classifiers.hyperparameters import INITS, OPTIMISERS, Ranges
from sneframe_zoos.classifiers.hyperparameters import draw as draw_hyperparameters
from sneframe_zoos.classifiers.options import CNNs, MLPs, Transformers
from torch.nn import functional as F

from sneframe.engine import ProcessEngine, SerialEngine
from sneframe.errors import ZooError
from sneframe.zoo import open_zoo

SERIAL = SerialEngine()
FEW = {"networks": 4, "train_images": 100, "test_images": 60, "batch_size": 20, "epochs": (1, 2)}
CONFIGS = {
    "small-cnn": CNNs(**FEW),
    "wild-cnn": CNNs(arch="wild", **FEW),
    "mlp": MLPs(widths=(8, 6), **FEW),
    "vit": Transformers(patch=5, width=8, mlp=12, **FEW),
}


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoos")
    for name, config in CONFIGS.items():
        build(config, folder / f"{name}.zarr", quiet, SERIAL)
    return folder


def open_(made, name, **options):
    return open_zoo(made / f"{name}.zarr", **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_has_the_stated_accuracy(made, name):
    """A network loads into its module and has the stored test accuracy and loss."""
    config, zoo = CONFIGS[name], open_(made, name)
    images = config.image_set()
    pictures, labels = images.tensors()
    pictures, labels = pictures[images.train :], labels[images.train :]
    assert len(zoo) > 4
    batch = zoo.load()
    for row in range(len(zoo)):
        alone = batch.select([row]).networks[0]
        module = draw(config, int(zoo.group[row])).design.module(images.shape, images.classes).eval()
        module.load_state_dict({key: value[0] for key, value in alone.parameters().items()})
        logits = module(pictures)
        assert (logits.argmax(1) == labels).double().mean().item() == zoo.column("test_accuracy")[row]
        loss = F.cross_entropy(logits, labels).item()
        assert loss == pytest.approx(zoo.column("test_loss")[row], rel=1e-4)


def test_hyper_parameters_and_results_are_properties(made):
    """Drawn hyper-parameters and measured results are the properties of a network."""
    zoo = open_(made, "small-cnn")
    hyper = ["lr", "optimiser", "init", "init_std", "l2", "dropout", "activation", "train_fraction", "epochs"]
    measured = [
        "train_accuracy",
        "train_loss",
        "test_accuracy",
        "test_loss",
        "generalisation_gap",
        "epoch",
        "final",
    ]
    assert {"dataset", "arch", *hyper, *measured} == set(zoo.properties)
    assert zoo.properties[0] == "test_accuracy"  # the property that runs predict by default
    gap = zoo.column("train_accuracy") - zoo.column("test_accuracy")
    np.testing.assert_array_equal(zoo.column("generalisation_gap"), gap)
    assert set(zoo.column("dataset")) == {"digits"}
    for row in range(len(zoo)):
        drawn = draw(CONFIGS["small-cnn"], int(zoo.group[row])).hyper
        assert zoo.column("lr")[row] == drawn.lr
        assert zoo.column("optimiser")[row] == drawn.optimiser


def test_checkpoints_of_a_run_are_one_group(made):
    """A run is one group with exactly one final checkpoint, at its last epoch."""
    zoo = open_(made, "small-cnn")
    for run in set(zoo.group):
        here = zoo.group == run
        epochs = zoo.column("epoch")[here]
        final = zoo.column("final")[here]
        assert final.sum() == 1
        assert epochs[final == 1] == epochs.max() == zoo.column("epochs")[here][0]
    assert len(zoo.where("final")) == len(set(zoo.group)) == 4


def test_networks_of_a_block_may_differ_in_architecture(made):
    """Wild designs of one block give one architecture each."""
    assert len(open_(made, "wild-cnn").architectures) == 4


def test_the_zoo_records_its_images_without_a_path(made, tmp_path):
    """The zoo stores name and digest of the images, but not their folder."""
    options = open_(made, "small-cnn").attributes["builder"]["config"]
    assert options["data"] == "digits"
    assert options["data_digest"] == CONFIGS["small-cnn"].image_set().digest
    images = CONFIGS["small-cnn"].image_set()
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "some.npz", images=images.images, labels=images.labels)
    here, there = (
        CNNs(data=f"npz:{tmp_path / folder / 'some.npz'}", **FEW).options() for folder in ("here", "there")
    )
    assert here == there
    assert here["data"] == "npz:some.npz"


# -- builds -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(classifier, "BLOCK", 2)


def test_a_killed_build_continues_to_the_same_zoo(tmp_path, small_blocks):
    """After a kill, the build continues with the missing blocks and gives the same zoo."""
    script = """
        import sys, time
        from pathlib import Path
        from sneframe.engine import SerialEngine
        from sneframe_zoos.classifiers import build as classifier
        from sneframe_zoos.classifiers.options import MLPs

        train, calls = classifier.train, []

        def train_once(*args, **options):
            if len(calls) == 2:
                print("in a later block", flush=True)
                time.sleep(300)
            calls.append(1)
            return train(*args, **options)

        classifier.train, classifier.BLOCK = train_once, 2
        images = {"train_images": 200, "test_images": 100}
        config = MLPs(networks=6, **images, widths=(8,), activations=("relu",), dropout=0.0)
        classifier.build(config, Path(sys.argv[1]), lambda done, total: None, SerialEngine())
    """
    path = tmp_path / "killed.zarr"
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in a later block\n"
        process.kill()
    assert not path.exists()
    seen, config = (
        [],
        MLPs(networks=6, train_images=200, test_images=100, widths=(8,), activations=("relu",), dropout=0.0),
    )
    build(config, path, lambda done, _: seen.append(done), SERIAL)
    build(config, tmp_path / "whole.zarr", quiet, SERIAL)
    assert seen == [4, 6]
    assert open_zoo(path).digest == open_zoo(tmp_path / "whole.zarr").digest


def test_processes_make_the_same_zoo(tmp_path, made):
    """Two processes and one process make equal zoos."""
    build(CONFIGS["small-cnn"], tmp_path / "other.zarr", quiet, ProcessEngine(workers=2))
    assert open_zoo(tmp_path / "other.zarr").digest == open_(made, "small-cnn").digest


def test_a_complete_zoo_is_kept(made, caplog):
    """Building again keeps the zoo; other options at the same path are refused."""
    path = made / "mlp.zarr"
    build(CONFIGS["mlp"], path, quiet, SERIAL)
    assert "exists and is complete; it is kept" in caplog.text
    with pytest.raises(ZooError, match=r"holds a zoo with seed=0 \(not 7\)"):
        build(evolve(CONFIGS["mlp"], seed=7), path, quiet, SERIAL)


def test_too_small_images_are_refused_before_writing(tmp_path):
    """Images too small for the design raise before any folder is made."""
    with pytest.raises(ZooError, match="at least 18 × 18 pixels, but got 16 × 16; enlarge the images"):
        build(CNNs(arch="arch1", **FEW), tmp_path / "a.zarr", quiet, SERIAL)
    assert [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_too_large_wild_designs_are_refused_before_writing(tmp_path):
    """A drawn design that needs larger images raises before any folder is made."""
    np.savez(tmp_path / "tiny.npz", images=np.zeros((20, 9, 9), np.uint8), labels=np.arange(20) % 2)
    config = Transformers(arch="wild", networks=8, data=f"npz:{tmp_path / 'tiny.npz'}")
    with pytest.raises(ZooError, match="pixels, but got 9 × 9"):
        build(config, tmp_path / "a.zarr", quiet, SERIAL)
    assert not (tmp_path / "a.zarr.part").exists()


def test_a_diverged_run_is_kept_as_unhealthy(tmp_path):
    """Networks of a diverged run are stored and marked as unhealthy."""
    config = MLPs(
        networks=2,
        train_images=100,
        test_images=50,
        widths=(6,),
        lr=(1e30, 1e30),
        optimisers=("sgd",),
        activations=("relu",),
        inits=("he_normal",),
    )
    build(config, tmp_path / "a.zarr", quiet, SERIAL)
    assert not open_zoo(tmp_path / "a.zarr", unhealthy=True).healthy.any()


def test_another_seed_draws_other_networks():
    """Two seeds share no network."""
    first, second = (train_block(evolve(CONFIGS["mlp"], seed=seed), 0) for seed in (0, 1))
    assert not np.isin(first["train_loss"], second["train_loss"]).any()


# -- what is drawn ------------------------------------------------------------------------------------------


def test_hyper_parameters_fill_their_ranges():
    """Drawn values lie in their ranges, have the right distribution and take every choice."""
    config = CNNs()
    drawn = [draw(config, number).hyper for number in range(400)]
    for name in ("lr", "l2", "init_std"):
        low, high = getattr(config, name)
        values = np.array([getattr(each, name) for each in drawn])
        values = np.log(values[~np.isnan(values)])
        assert np.log(low) <= values.min() < values.max() <= np.log(high)
        # log-uniform: the mean of the logarithms is the middle of their range
        assert values.mean() == pytest.approx((np.log(low) + np.log(high)) / 2, abs=0.1 * np.log(high / low))
    assert {each.optimiser for each in drawn} == set(OPTIMISERS)
    assert {each.init for each in drawn} == set(INITS)
    assert {each.epochs for each in drawn} == set(range(1, 9))
    assert {each.train_fraction for each in drawn} == {0.1, 0.25, 0.5, 1.0}
    none = np.mean([each.dropout == 0 for each in drawn])
    assert none == pytest.approx(0.5, abs=0.1)
    scaled = [each.init in ("normal", "truncated_normal") for each in drawn]
    assert scaled == [not np.isnan(each.init_std) for each in drawn]


def test_a_range_of_one_value_gives_that_value():
    """Equal bounds give exactly their value."""
    ranges = CNNs(epochs=(4, 4), lr=(0.1, 0.1), dropout=0.0).ranges
    assert isinstance(ranges, Ranges)
    drawn = draw_hyperparameters(ranges, np.random.default_rng(0))
    assert (drawn.epochs, drawn.lr, drawn.dropout) == (4, pytest.approx(0.1), 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": (3, 1)}, r"'epochs' must be a lower and an upper bound, but got \(3, 1\)"),
        ({"lr": (0.1,)}, "lr"),
        ({"lr": (0.1, math.inf)}, "'lr' must be finite, but got inf"),
        ({"l2": (0.1, math.inf)}, "'l2' must be finite, but got inf"),
        ({"init_std": (0.1, math.inf)}, "'init_std' must be finite, but got inf"),
        ({"optimisers": ("adamw",)}, "optimisers"),
        ({"activations": ()}, "activations"),
        ({"train_fractions": (0.0,)}, "train_fractions"),
        ({"dropout": 1.0}, "dropout"),
        ({"networks": 0}, "networks"),
    ],
)
def test_bad_options_are_refused(options, message):
    """Impossible options raise ValueError with the name of the option."""
    with pytest.raises(ValueError, match=message):
        CNNs(**options)


def test_builders_and_configs_have_equal_names():
    """A builder has the name that its zoos store."""
    for builder in BUILDERS:
        assert builder.name == builder.config.builder


@pytest.mark.parametrize("init", INITS)
def test_initial_kernels_have_the_stated_std(init):
    """Each initialisation has the standard deviation or orthogonality of its definition."""
    from sneframe_zoos.classifiers.initial import draw_weights

    hyper = evolve(draw(CNNs(), 0).hyper, init=init, init_std=0.05)
    module = torch.nn.Sequential(torch.nn.Linear(400, 300))
    weights = draw_weights(module, hyper, np.random.default_rng(0))
    kernel, bias = weights[: 400 * 300], weights[400 * 300 :]
    expected = {
        "glorot_normal": (2 / 700) ** 0.5,
        "he_normal": (2 / 400) ** 0.5,
        "orthogonal": (1 / 400) ** 0.5,  # 300 orthonormal rows of 400
        "normal": 0.05,
        "truncated_normal": 0.05 * 0.8796,  # a normal distribution truncated at ±2 standard deviations
    }[init]
    assert kernel.std() == pytest.approx(expected, rel=0.02)
    assert not bias.any()
    if init == "orthogonal":
        rows = kernel.reshape(300, 400)
        np.testing.assert_allclose(rows @ rows.T, np.eye(300), atol=1e-10)
    if init == "truncated_normal":
        assert abs(kernel).max() <= 0.1

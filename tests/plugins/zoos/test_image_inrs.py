"""Zoos of image INRs: what networks represent, their training, groups and splits, builds, bad options."""

import gzip
import math

import numpy as np
import pytest
import torch
from attrs import evolve
from sneframe_zoos import image_inrs
from sneframe_zoos.image_inrs import ImageINRs, build, draw, drawn_block, psnr, train
from sneframe_zoos.inr import SineINR, draw_siren, draw_weights
from torch import nn

from sneframe.architecture.evaluate import evaluate
from sneframe.engine import ProcessEngine, SerialEngine
from sneframe.errors import ZooError
from sneframe.zoo import open_zoo
from sneframe.zoo.splits import TEST, TRAIN, VAL, by_group

SERIAL = SerialEngine()
DIGITS = ImageINRs(networks=9, views=2, size=8, widths=(12, 10), steps=(20, 60), lr=(2e-3, 2e-2))
GENERATOR = np.random.default_rng(0)
COLOURS = GENERATOR.integers(0, 256, (12, 5, 7, 3), dtype=np.uint8)


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """Twelve colour images of 5 × 7 pixels."""
    path = tmp_path_factory.mktemp("images") / "colours.npz"
    np.savez(path, images=COLOURS, labels=np.arange(12) % 3)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def configs(npz):
    coloured = ImageINRs(data=npz, networks=12, widths=(6, 5, 4), steps=(5, 30), lr=(2e-3, 2e-2))
    return {"digits": DIGITS, "colours": coloured}


@pytest.fixture(scope="module")
def made(tmp_path_factory, configs):
    folder = tmp_path_factory.mktemp("zoos")
    for name, config in configs.items():
        build(config, folder / f"{name}.zarr", quiet, SERIAL)
    return folder


def original(config, index):
    """Return an image as ``(H, W, channels)`` with values from 0 to 1."""
    image = config.image_set().images[index] / 255
    return image if image.ndim == 3 else image[..., None]


def siren(parameters, points):
    """Return what a SIREN computes at points ``(M, 2)``, written out, with matrices and sines of numpy."""
    values = [each.double().numpy() for each in parameters]
    *hidden, (matrix, bias) = list(zip(values[::2], values[1::2], strict=True))
    for weight, shift in hidden:
        points = np.sin(30 * (points @ weight.T + shift))
    return points @ matrix.T + bias + 0.5


# -- what a network of the zoo represents --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "colours"])
def test_a_network_has_the_stated_psnr(made, configs, name):
    """A literal SIREN with the stored weights reproduces its image with the stored loss and PSNR."""
    config, zoo = configs[name], open_zoo(made / f"{name}.zarr")
    (networks,) = zoo.load().networks
    for row in range(len(zoo)):
        image = original(config, zoo.column("image")[row])
        height, width, channels = image.shape
        points = np.array(
            [(2 * i / (height - 1) - 1, 2 * j / (width - 1) - 1) for i in range(height) for j in range(width)]
        )
        drawn = siren([each[row] for each in networks.parameters().values()], points)
        loss = np.square(drawn.reshape(height, width, channels) - image).mean()
        assert zoo.column("loss")[row] == pytest.approx(loss, rel=1e-3)
        assert zoo.column("psnr")[row] == pytest.approx(10 * math.log10(1 / loss), abs=0.01)


@pytest.mark.parametrize("name", ["digits", "colours"])
def test_the_description_computes_what_the_module_computes(made, configs, name):
    """The description evaluates to the module's pixels, so that probes can evaluate the networks."""
    config, zoo = configs[name], open_zoo(made / f"{name}.zarr")
    (networks,) = zoo.load().networks
    channels = config.image_set().shape[0]
    points = torch.rand(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    values = evaluate(networks.architecture, networks.weights.double(), points)
    module = SineINR(config.widths, 2, channels).double()
    for row in range(len(zoo)):
        module.load_state_dict({key: value[row].double() for key, value in networks.parameters().items()})
        torch.testing.assert_close(values[row], module(points), rtol=1e-9, atol=1e-9)


def test_the_architecture_says_sine_and_offset(made):
    """The description records the factor inside each sine and the number that is added to the output."""
    (described,) = open_zoo(made / "digits.zarr").architectures
    assert [(layer.activation, layer.attributes) for layer in described.layers] == [
        ("sine", {"factor": 30.0}),
        ("sine", {"factor": 30.0}),
        ("none", {"shift": 0.5}),
    ]
    assert described.symmetry == "verified"


def test_properties_are_those_of_the_image_and_of_the_fit(made, configs):
    """Label, image and view are those of the source; learning rate and steps lie within their bounds."""
    config, zoo = configs["digits"], open_zoo(made / "digits.zarr")
    assert zoo.properties == (
        *("label", "psnr", "loss", "learning_rate", "steps", "image", "view", "dataset"),
    )
    np.testing.assert_array_equal(zoo.column("label"), config.image_set().labels[zoo.column("image")])
    assert zoo.column("view").tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert len(set(zoo.column("learning_rate"))) == 9
    assert (zoo.column("learning_rate") >= 2e-3).all()
    assert (zoo.column("learning_rate") <= 2e-2).all()
    assert (zoo.column("steps") >= 20).all()
    assert (zoo.column("steps") <= 60).all()
    assert set(zoo.column("dataset")) == {"digits"}


# -- training ------------------------------------------------------------------------------------------------


def train_alone(config, drawn):
    """Fit one INR in float64 with nn.Linear and torch.optim.Adam; return its weights and its loss."""
    image = torch.from_numpy(original(config, drawn.image)).flatten(0, 1)
    height, width, channels = original(config, drawn.image).shape
    rows, columns = (torch.linspace(-1, 1, size, dtype=torch.float64) for size in (height, width))
    points = torch.cartesian_prod(rows, columns)
    module = SineINR(config.widths, 2, channels).double()
    nn.utils.vector_to_parameters(torch.from_numpy(drawn.weights), module.parameters())
    adam = torch.optim.Adam(module.parameters(), lr=drawn.lr)
    for _ in range(drawn.steps):
        adam.zero_grad()
        nn.functional.mse_loss(module(points), image).backward()
        adam.step()
    loss = nn.functional.mse_loss(module(points), image).item()
    return nn.utils.parameters_to_vector(module.parameters()).detach(), loss


@pytest.mark.parametrize("init", ["siren", "dwsnets"])
@pytest.mark.parametrize("name", ["digits", "colours"])
def test_networks_fitted_together_are_those_fitted_alone(configs, name, init):
    """A block fitted together in float64 equals a literal loop of torch.optim.Adam, network by network."""
    config = evolve(configs[name], steps=(5, 30), lr=(2e-4, 2e-3), init=init)
    drawn = drawn_block(config, 0)
    assert len({each.steps for each in drawn}) > 3
    found = train(config, 0, dtype=torch.float64)
    for row, each in enumerate(drawn):
        weights, loss = train_alone(config, each)
        np.testing.assert_allclose(found["weights"][row], weights.numpy(), rtol=1e-9, atol=1e-9)
        assert found["loss"][row] == pytest.approx(loss, rel=1e-9)


def test_stored_weights_are_those_of_single_precision(made, configs):
    """The zoo holds the float32 weights of the block that is trained."""
    (networks,) = open_zoo(made / "colours.zarr").load().networks
    found = train(configs["colours"], 0)
    assert found["weights"].dtype == np.float32
    np.testing.assert_array_equal(networks.weights.numpy(), found["weights"])


def test_initial_weights_are_those_of_siren():
    """The weights and biases of each layer fill the stated ranges."""
    generators = (np.random.default_rng(seed) for seed in range(2000))
    weights = np.stack([draw_siren((5, 4), generator, inputs=2, outputs=3) for generator in generators])
    parts = np.split(weights, np.cumsum([10, 5, 20, 4, 12]), axis=1)
    bounds = (1 / 2, 2**-0.5, math.sqrt(6 / 5) / 30, 5**-0.5, math.sqrt(6 / 4) / 30, 4**-0.5)
    assert [part.shape[1] for part in parts] == [10, 5, 20, 4, 12, 3]
    for part, bound in zip(parts, bounds, strict=True):
        assert np.abs(part).max() <= bound
        assert np.abs(part).max() > 0.99 * bound
        assert part.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_initial_weights_are_those_of_dwsnets():
    """The first layer is as small as the others, hidden biases are 0, and the last layer is nn.Linear's."""
    generators = (np.random.default_rng(seed) for seed in range(2000))
    weights = np.stack([draw_weights((5, 4), generator, inputs=2, outputs=3) for generator in generators])
    first, biases, second, more, last = np.split(weights, np.cumsum([10, 5, 20, 4]), axis=1)
    assert last.shape[1] == 4 * 3 + 3
    assert not biases.any()
    assert not more.any()
    bounds = (math.sqrt(6 / 2) / 30, math.sqrt(6 / 5) / 30, 4**-0.5)
    for part, bound in zip((first, second, last), bounds, strict=True):
        assert np.abs(part).max() <= bound
        assert np.abs(part).max() > 0.99 * bound
        assert part.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_the_option_init_chooses_the_initial_weights(configs):
    """Hidden biases start at 0 with init dwsnets, and nowhere near 0 with init siren."""
    biases = {
        init: draw(evolve(configs["digits"], init=init), 3, 0).weights[24:36] for init in ("siren", "dwsnets")
    }
    assert not biases["dwsnets"].any()
    assert np.abs(biases["siren"]).max() > 0.1


def test_a_signal_of_no_error_has_a_finite_psnr():
    """PSNR is 10 log10(1 / loss), at most 120 dB, and missing for a loss that is not finite."""
    found = psnr(np.array([1.0, 0.01, 2e-4, 0.0, math.inf, math.nan]))
    np.testing.assert_allclose(found, [0, 20, 36.9897, 120, math.nan, math.nan], atol=1e-4)


# -- images, views and groups --------------------------------------------------------------------------------


def test_all_views_of_an_image_are_one_group(made):
    """The run group of a network is its image, so a random split never divides the views of an image."""
    zoo = open_zoo(made / "digits.zarr")
    np.testing.assert_array_equal(zoo.group, zoo.column("image"))
    assert np.unique(zoo.group, return_counts=True)[1].tolist().count(2) == 4
    for seed in range(5):
        split = by_group(zoo.group, fractions=(0.5, 0.2, 0.3), seed=seed)
        for image in set(zoo.group):
            assert len(set(split[zoo.group == image])) == 1


def test_views_of_an_image_start_from_different_weights(configs):
    """Two views of an image share no initial weight and no learning rate."""
    first, second = (draw(configs["digits"], 3, view) for view in (0, 1))
    assert not np.isin(first.weights, second.weights).any()
    assert first.lr != second.lr


def test_a_zoo_of_fewer_networks_is_the_beginning_of_a_larger_one(configs):
    """Networks depend on seed, image and view; the number of views does not change the first view."""
    few, many = (drawn_block(evolve(configs["digits"], networks=n), 0) for n in (4, 9))
    single = drawn_block(evolve(configs["digits"], networks=4, views=1), 0)
    for small, large in zip(few, many, strict=False):
        assert (small.image, small.view) == (large.image, large.view)
        np.testing.assert_array_equal(small.weights, large.weights)
    assert [each.image for each in single[:2]] == [few[0].image, few[2].image]
    np.testing.assert_array_equal(single[1].weights, few[2].weights)


def test_another_seed_draws_other_images_and_weights(configs):
    """Two seeds take the images in another order and share no initial weight."""
    first, second = (drawn_block(evolve(configs["digits"], seed=seed), 0) for seed in (0, 1))
    assert [each.image for each in first] != [each.image for each in second]
    pair = [draw(evolve(configs["digits"], seed=seed), 5, 0).weights for seed in (0, 1)]
    assert not np.isin(*pair).any()


def test_every_image_can_be_used_once(configs):
    """As many networks as images represent every image exactly once."""
    drawn = drawn_block(configs["colours"], 0)
    assert sorted(each.image for each in drawn) == list(range(12))


def idx(array):
    return b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def test_a_source_with_test_images_gives_its_split(tmp_path):
    """The split `published` has the source's test images, and a twelfth of the others for validation."""
    folder = tmp_path / "letters"
    folder.mkdir()
    images = GENERATOR.integers(0, 256, (36, 4, 4), dtype=np.uint8)
    labels = (np.arange(36) % 3).astype(np.uint8)
    for part, rows in {"train": slice(0, 24), "t10k": slice(24, 36)}.items():
        for kind, array in {"images-idx3": images[rows], "labels-idx1": labels[rows]}.items():
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    config = ImageINRs(data=f"idx:{folder}", networks=72, views=2, widths=(4,), steps=(1, 1))
    build(config, tmp_path / "a.zarr", quiet, SERIAL)
    zoo = open_zoo(tmp_path / "a.zarr")
    image, part = zoo.column("image"), zoo.split("published")
    assert set(image[part == TEST]) == set(range(24, 36))
    assert set(image[part == VAL]) == {11, 23}
    assert set(image[part == TRAIN]) == set(range(24)) - {11, 23}


def test_a_source_without_test_images_gives_no_split(made):
    """Digits have no published test images, so the zoo stores no split."""
    assert open_zoo(made / "digits.zarr").split_names == ()


# -- builds --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(image_inrs, "BLOCK", 4)


def test_processes_make_the_same_zoo(tmp_path, made, configs):
    """Two processes and one process make equal zoos."""
    build(configs["digits"], tmp_path / "a.zarr", quiet, ProcessEngine(workers=2))
    assert open_zoo(tmp_path / "a.zarr").digest == open_zoo(made / "digits.zarr").digest


def test_an_interrupted_build_continues_to_the_same_zoo(tmp_path, small_blocks, monkeypatch, configs):
    """After an interrupt, only the missing blocks are trained, and the zoo is the same."""
    config, trained = configs["digits"], []
    build(config, tmp_path / "whole.zarr", quiet, SERIAL)

    def interrupted(config, block):
        if trained == [0]:
            trained.append("interrupted")
            raise KeyboardInterrupt
        trained.append(block)
        return train(config, block)

    monkeypatch.setattr(image_inrs, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(config, tmp_path / "a.zarr", quiet, SERIAL)
    seen = []
    build(config, tmp_path / "a.zarr", lambda *pair: seen.append(pair), SERIAL)
    assert trained == [0, "interrupted", 1, 2]
    assert seen == [(4, 9), (8, 9), (9, 9)]
    assert open_zoo(tmp_path / "a.zarr").digest == open_zoo(tmp_path / "whole.zarr").digest


def test_a_diverged_network_is_kept_as_unhealthy(tmp_path, configs):
    """A network whose loss is not finite is stored, marked, and has no PSNR."""
    config = evolve(configs["digits"], networks=3, lr=(1e38, 1e38))
    build(config, tmp_path / "a.zarr", quiet, SERIAL)
    zoo = open_zoo(tmp_path / "a.zarr", unhealthy=True)
    assert not zoo.healthy.any()
    assert np.isnan(zoo.column("psnr")).all()


def test_the_zoo_records_its_images_without_a_path(made, configs):
    """The zoo stores name and digest of the images, but not their folder."""
    options = open_zoo(made / "colours.zarr").attributes["builder"]["config"]
    assert options["data"] == "npz:colours.npz"
    assert options["data_name"] == "colours"
    assert options["data_digest"] == configs["colours"].image_set().digest


def test_too_many_networks_are_refused_before_writing(tmp_path, configs):
    """More networks than views of images raise in one line before any folder is made."""
    config = evolve(configs["colours"], networks=40, views=3)
    with pytest.raises(ZooError) as caught:
        build(config, tmp_path / "a.zarr", quiet, SERIAL)
    assert str(caught.value) == (
        "colours: 40 networks with views = 3 need 14 images, but there are 12; use at least 4 views, or at "
        "most 36 networks"
    )
    assert not (tmp_path / "a.zarr.part").exists()


def test_a_missing_file_is_one_line(tmp_path):
    """A missing file of images raises in one line."""
    config = ImageINRs(data=f"npz:{tmp_path / 'none.npz'}")
    with pytest.raises(ZooError, match=r"^npz:.*none\.npz: there is no .*none\.npz$"):
        build(config, tmp_path / "a.zarr", quiet, SERIAL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 0}, "'networks' must be >= 1: 0"),
        ({"views": 0}, "'views' must be >= 1: 0"),
        ({"widths": ()}, "Length of 'widths' must be >= 1: 0"),
        ({"size": 0}, "'size' must be >= 1: 0"),
        ({"seed": -1}, "'seed' must be >= 0: -1"),
        ({"steps": (0, 5)}, "'steps' must be >= 1: 0"),
        ({"steps": (9, 5)}, r"'steps' must be a lower and an upper bound, but got \(9, 5\)"),
        ({"lr": (0.0, 1.0)}, "'lr' must be > 0: 0.0"),
        ({"lr": (1e-3,)}, "Length of 'lr' must be >= 2: 1"),
    ],
)
def test_an_impossible_config_is_refused(options, message):
    """Impossible options raise ValueError with the name of the option."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        ImageINRs(**options)

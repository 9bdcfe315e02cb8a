"""The builder of zoos of image INRs. Their networks are SIRENs, each fitted to one image.

The class of the image is a property of the network. NFN (arXiv 2302.14040) and DWSNets (arXiv 2301.12780)
classify such networks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import torch
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, le, lt, min_len, optional
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.engine import Engine
from sneframe.errors import ZooError, counted
from sneframe.zoo import ZooWriter
from sneframe.zoo.builder import ZooBuilder
from sneframe.zoo.splits import TEST, TRAIN, VAL
from sneframe_zoos.block_build import BlockBuild, numbers_of_block
from sneframe_zoos.classifiers.hyperparameters import log_uniform
from sneframe_zoos.classifiers.image_sources import images_once, recorded
from sneframe_zoos.classifiers.images import ImageSet
from sneframe_zoos.classifiers.options import POSITIVE, pair
from sneframe_zoos.fit import fit
from sneframe_zoos.inr import architecture, draw_siren, draw_weights

NAME = "zoos/images"
BLOCK = 64  #: networks in a block; fixed, so that a resumed build computes the same weights
STACK = 16  #: the most networks that are fitted together; more of them are hardly faster
COORDINATES = 2  #: row and column
LEAST_LOSS = 1e-12  #: smaller losses count as this one, so that the PSNR is finite
PUBLISHED = "published"  #: name of the split that a source with test images gives
VALIDATION = 12  #: one of so many images for training is for validation


@frozen(kw_only=True)
class ImageINRs:
    """The options of a zoo of image INRs.

    Everything random in the INR of an image is drawn from a generator keyed by the seed, the image and the
    view.
    """

    networks: int = option(1000, "number of networks", check=ge(1))
    data: str = option(
        "digits", "images: digits, npz:FILE, idx:FOLDER, folder:DIR or torchvision:NAME[:ROOT]"
    )
    data_name: str | None = option(
        None, "value of the property 'dataset'; default: the name of the file, folder or data set"
    )
    size: int | None = option(
        None, "height and width of the images in pixels; default: unchanged", check=optional(ge(1))
    )
    grey: bool = option(False, "convert colour images to grey")
    views: int = option(
        1,
        "number of networks of each image, fitted from different initial weights",
        check=and_(ge(1), le(1 << 16)),
    )
    widths: tuple[int, ...] = option(
        (32, 32), "widths of the hidden layers", check=deep_iterable(ge(1), iterable_validator=min_len(1))
    )
    init: Literal["siren", "dwsnets"] = option(
        "siren",
        "initial weights: siren: as in the code of SIREN; dwsnets: as in the code of DWSNets, with a smaller "
        "first layer and hidden biases of 0, which needs more steps",
    )
    seed: int = option(0, "seed of all random numbers", check=and_(ge(0), lt(2**64)))
    steps: tuple[int, int] = option(
        (30, 100), "smallest and largest number of Adam steps, drawn uniformly", check=pair(ge(1))
    )
    lr: tuple[float, float] = option(
        (5e-4, 2e-3), "bounds of Adam's learning rate, drawn log-uniformly", check=pair(POSITIVE)
    )

    def image_set(self) -> ImageSet:
        """Read the images.

        Raises:
            ZooError: there are no such images, or the content of a file is wrong.
            MachineError: a file cannot be read.
        """
        return images_once(self.data, name=self.data_name, size=self.size, grey=self.grey)

    def options(self) -> dict[str, Any]:
        """Return the options as JSON values that determine the zoo."""
        options: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self)))
        return {**options, **recorded(self.data, self.image_set())}


@frozen(kw_only=True, eq=False)
class UnfittedINR:
    """An INR before it is fitted: everything that is drawn for it.

    Args:
        image: index of the image in the image set.
        view: number of the view of this image.
        lr: Adam's learning rate.
        steps: number of Adam steps.
        weights: initial weights ``(P,)``, float64.
    """

    image: int
    view: int
    lr: float
    steps: int
    weights: np.ndarray


def images_of(config: ImageINRs, numbers: range) -> np.ndarray:
    """Return the indices of the images of networks, by their numbers.

    The images are shuffled once. Network ``k`` represents image number ``k // views`` of this order.
    """
    # No network has this key, because its second word holds the image and the view.
    key = np.array([config.seed, (1 << 64) - 1], dtype=np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(len(config.image_set().images))
    return np.asarray(order[np.array(numbers) // config.views])


def draw(config: ImageINRs, image: int, view: int) -> UnfittedINR:
    """Draw the learning rate, the number of steps and the initial weights of one view of an image."""
    key = np.array([config.seed, view << 32 | image], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    initial = draw_siren if config.init == "siren" else draw_weights
    return UnfittedINR(
        image=image,
        view=view,
        lr=log_uniform(config.lr, generator),
        steps=int(generator.integers(config.steps[0], config.steps[1] + 1)),
        weights=initial(config.widths, generator, inputs=COORDINATES, outputs=config.image_set().shape[0]),
    )


def drawn_block(config: ImageINRs, block: int) -> list[UnfittedINR]:
    """Draw all networks of a block, in the order of their numbers."""
    numbers = numbers_of_block(config.networks, BLOCK, block)
    views = (number % config.views for number in numbers)
    images = images_of(config, numbers).tolist()
    return [draw(config, image, view) for image, view in zip(images, views, strict=True)]


@cache
def described_inr(widths: tuple[int, ...], channels: int) -> Architecture:
    """Return the architecture of the INRs. It is cached, because every block needs it."""
    return architecture(widths, COORDINATES, channels)


def pixel_coordinates(height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return row and column of every pixel, row by row, as coordinates ``(2, H·W)`` in [-1, 1]."""
    axes = [torch.linspace(-1, 1, size, dtype=dtype) for size in (height, width)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


def signals(images: ImageSet, rows: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the images at the indices ``rows (N,)`` as signals ``(N, channels, H·W)`` in [0, 1]."""
    return images.pixels()[torch.from_numpy(rows)].flatten(2).to(dtype) / 255


def psnr(losses: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio in dB of mean squared errors, for signals in [0, 1].

    A loss that is not finite gives NaN.
    """
    ratios = -10 * np.log10(np.maximum(losses, LEAST_LOSS))
    return np.where(np.isfinite(losses), ratios, math.nan)


def train(config: ImageINRs, block: int, *, dtype: torch.dtype = torch.float32) -> dict[str, np.ndarray]:
    """Fit the n networks of a block. Return ``weights (n, P)``, of type ``dtype``, and ``loss (n,)``."""
    images, drawn = config.image_set(), drawn_block(config, block)
    channels, height, width = images.shape
    described = described_inr(config.widths, channels)
    points = pixel_coordinates(height, width, dtype)
    weights = torch.empty(len(drawn), described.num_weights, dtype=dtype)
    losses = torch.empty(len(drawn), dtype=torch.float64)
    # Stack networks with about as many steps, because a stack is fast only while it is full.
    rows = sorted(range(len(drawn)), key=lambda row: -drawn[row].steps)
    for first in range(0, len(rows), STACK):
        here = rows[first : first + STACK]
        some = [drawn[row] for row in here]
        weights[here], errors = fit(
            described,
            torch.from_numpy(np.stack([each.weights for each in some])).to(dtype),
            points,
            signals(images, np.array([each.image for each in some]), dtype),
            steps=torch.tensor([each.steps for each in some]),
            lr=torch.tensor([each.lr for each in some], dtype=torch.float64),
        )
        losses[here] = errors.double()
    return {"weights": weights.numpy(), "loss": losses.numpy()}


def build(config: ImageINRs, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Build the zoo, unless it exists. If another process is building the zoo, wait for that process.

    Raises:
        ZooError: there are no images or too few of them, or ``path`` already holds a zoo or an unfinished
            build of different options.
        MachineError: the images cannot be read, or the machine failed.
    """
    images = config.image_set()
    BlockBuild(
        builder=NAME,
        options=config.options(),
        defaults=json.loads(json.dumps(attrs.asdict(ImageINRs()))),
        networks=config.networks,
        size=BLOCK,
        check=partial(check_count, config),
        train=partial(train, config),
        write=partial(write, config),
        complete=partial(divide, config),
        name=f"{images.name}-inrs",
        description=f"INRs of {images.name}: {counted(config.networks, 'SIREN')}, each of one image",
    ).run(path, progress, engine)


def check_count(config: ImageINRs) -> None:
    """Check that there are enough images.

    Raises:
        ZooError: the networks need more images than there are.
    """
    images = config.image_set()
    there, needed = len(images.images), math.ceil(config.networks / config.views)
    if needed > there:
        raise ZooError(
            f"{images.name}: {config.networks} networks with views = {config.views} need {needed} images, "
            f"but there are {there}; use at least {math.ceil(config.networks / there)} views, or at most "
            f"{there * config.views} networks"
        )


def write(config: ImageINRs, zoo: ZooWriter, block: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Add the networks of a block to the zoo. All views of an image are one run group."""
    images, drawn = config.image_set(), drawn_block(config, block)
    described = described_inr(config.widths, images.shape[0])
    stacked = Networks(architecture=described, weights=torch.from_numpy(arrays["weights"]))
    image = np.array([each.image for each in drawn])
    zoo.append(
        described,
        stacked.parameters(),
        {
            "label": images.labels[image].astype(np.int64),
            "psnr": psnr(arrays["loss"]),
            "loss": arrays["loss"],
            "learning_rate": np.array([each.lr for each in drawn]),
            "steps": np.array([each.steps for each in drawn]),
            "image": image,
            "view": np.array([each.view for each in drawn]),
            "dataset": [images.name] * len(drawn),
        },
        group=image,
        healthy=np.isfinite(arrays["loss"]) & np.isfinite(arrays["weights"]).all(1),
    )


def divide(config: ImageINRs, zoo: ZooWriter) -> None:
    """Store the split ``published`` if the source of the images says which of them are for testing.

    Every twelfth image for training is for validation. From the 60 000 and 10 000 images of MNIST this makes
    the 55 000, 5000 and 10 000 INRs of DWSNets, though not the same ones.
    """
    images = config.image_set()
    if not images.published:
        return
    image = images_of(config, range(config.networks))
    part = np.where(image % VALIDATION == VALIDATION - 1, VAL, TRAIN)
    zoo.split(PUBLISHED, np.where(image < images.train, part, TEST))


IMAGES = ZooBuilder(
    name=NAME,
    config=ImageINRs,
    build=build,
    help="INRs of images; the properties are the class of the image and the PSNR",
)

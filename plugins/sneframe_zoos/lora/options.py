"""The options of ``zoo build lora``, and what is drawn for each adapter."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, in_, lt, min_len, optional

from sneframe.config.schema import option
from sneframe.errors import ZooError
from sneframe_zoos.classifiers.hyperparameters import log_uniform
from sneframe_zoos.classifiers.image_sources import images_once, recorded
from sneframe_zoos.classifiers.images import ImageSet
from sneframe_zoos.classifiers.options import POSITIVE, pair
from sneframe_zoos.classifiers.transformer import VisionTransformer

#: The sets of modules of each block that an adapter can change.
TARGETS: Final = {
    "query-value": ("query", "value"),
    "attention": ("query", "key", "value", "out"),
    "all": ("query", "key", "value", "out", "mlp.0", "mlp.3"),
}


@frozen(kw_only=True)
class Adapters:
    """The options of a zoo of low-rank adapters.

    One transformer, the base, is trained on all classes. Each adapter is trained on images of some classes.
    Everything random in adapter ``k`` is drawn from generators keyed by ``(seed, k)``.
    """

    networks: int = option(600, "number of adapters", check=ge(1))
    data: str = option(
        "digits", "images: digits, npz:FILE, idx:FOLDER, folder:DIR or torchvision:NAME[:ROOT]"
    )
    data_name: str | None = option(
        None, "value of the property 'dataset'; default: the name of the file, folder or data set"
    )
    train_images: int | None = option(
        None,
        "number of training images, the first ones; default: all, or 3 in 4 if the source has no test images",
        check=optional(ge(1)),
    )
    test_images: int | None = option(
        None,
        "number of test images, the first ones; default: all test images of the source, or else all others",
        check=optional(ge(1)),
    )
    size: int | None = option(
        None, "height and width of the images in pixels; default: unchanged", check=optional(ge(1))
    )
    grey: bool = option(False, "convert colour images to grey")
    seed: int = option(0, "seed of all random numbers", check=and_(ge(0), lt(2**64)))
    patch: int = option(4, "height and width of a patch of the base in pixels", check=ge(1))
    width: int = option(32, "width of a token of the base", check=ge(1))
    blocks: int = option(2, "number of blocks of the base", check=ge(1))
    heads: int = option(2, "number of heads of each attention of the base", check=ge(1))
    mlp: int = option(64, "width of the hidden layers of the base", check=ge(1))
    base_steps: int = option(150, "number of Adam steps of the base", check=ge(0))
    base_lr: float = option(1e-3, "learning rate of the base", check=POSITIVE)
    ranks: tuple[int, int] = option((1, 8), "smallest and largest rank, drawn uniformly", check=pair(ge(1)))
    targets: tuple[str, ...] = option(
        tuple(TARGETS),
        "sets of modules to draw from: query-value, attention (query, key, value, out), all",
        check=deep_iterable(in_(TARGETS), iterable_validator=min_len(1)),
    )
    alphas: tuple[float, ...] = option(
        (4.0, 8.0, 16.0),
        "values of alpha to draw from; an update is multiplied by alpha / rank",
        check=deep_iterable(POSITIVE, iterable_validator=min_len(1)),
    )
    lr: tuple[float, float] = option(
        (3e-4, 1e-2), "bounds of Adam's learning rate, drawn log-uniformly", check=pair(POSITIVE)
    )
    steps: tuple[int, int] = option(
        (20, 200), "smallest and largest number of Adam steps, drawn uniformly", check=pair(ge(0))
    )
    batch_size: int = option(32, "number of images in a training step", check=ge(1))
    subsets: int = option(
        10, "number of sets of classes; each adapter is trained on one of them", check=ge(1)
    )
    subset_size: int = option(3, "number of classes in such a set", check=ge(1))

    def image_set(self) -> ImageSet:
        """Read the images.

        Raises:
            ZooError: there are no such images, or the content of a file is wrong.
            MachineError: a file cannot be read.
        """
        return images_once(
            self.data,
            name=self.data_name,
            train=self.train_images,
            test=self.test_images,
            size=self.size,
            grey=self.grey,
        )

    @property
    def design(self) -> VisionTransformer:
        """The design of the base."""
        return VisionTransformer(
            patch=self.patch, width=self.width, blocks=self.blocks, heads=self.heads, mlp=self.mlp
        )

    def options(self) -> dict[str, Any]:
        """Return the options as JSON values that determine the zoo."""
        options: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self)))
        return {**options, **recorded(self.data, self.image_set())}


@frozen(kw_only=True)
class DrawnAdapter:
    """Everything that is drawn for an adapter, but for its initial weights.

    Args:
        number: number of the adapter.
        rank: rank of every update.
        targets: a key of :data:`TARGETS`.
        alpha: α; every update is multiplied by α / rank.
        lr: Adam's learning rate.
        steps: number of Adam steps.
        subset: index of the set of classes.
    """

    number: int
    rank: int
    targets: str
    alpha: float
    lr: float
    steps: int
    subset: int


def draw(config: Adapters, number: int) -> DrawnAdapter:
    """Draw the hyper-parameters of an adapter and the set of its classes."""
    generator = generator_of(config, number)
    return DrawnAdapter(
        number=number,
        rank=int(generator.integers(config.ranks[0], config.ranks[1] + 1)),
        targets=str(generator.choice(config.targets)),
        alpha=float(generator.choice(config.alphas)),
        lr=log_uniform(config.lr, generator),
        steps=int(generator.integers(config.steps[0], config.steps[1] + 1)),
        subset=int(generator.integers(config.subsets)),
    )


def generator_of(config: Adapters, number: int, stream: int = 0) -> np.random.Generator:
    """Return a generator of random numbers for an adapter. Each stream of an adapter has its own numbers."""
    key = np.array([config.seed, stream << 48 | number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


@cache
def subsets(config: Adapters) -> tuple[tuple[int, ...], ...]:
    """Return the sets of classes, all different, each in ascending order.

    Raises:
        ZooError: there are too few classes for so many different sets.
    """
    images = config.image_set()
    if config.subset_size > images.classes:
        raise ZooError(
            f"{images.name}: sets of {config.subset_size} classes are wanted, but there are {images.classes}"
        )
    generator = generator_of(config, 0, stream=3)
    found: dict[tuple[int, ...], None] = {}
    for _ in range(100 * config.subsets):
        if len(found) == config.subsets:
            return tuple(found)
        chosen = generator.choice(images.classes, config.subset_size, replace=False)
        found[tuple(sorted(chosen.tolist()))] = None
    if len(found) == config.subsets:
        return tuple(found)
    raise ZooError(
        f"{images.name}: {config.subsets} different sets of {config.subset_size} of {images.classes} classes "
        f"were not found; use fewer subsets"
    )

"""The options of ``zoo build cnn | mlp | transformer``, and the designs that they describe."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, lt, max_len, min_len, optional

from sneframe.config.schema import option
from sneframe.config.validators import finite
from sneframe_zoos.classifiers import convnet, mlp, transformer
from sneframe_zoos.classifiers.convnet import ConvNet
from sneframe_zoos.classifiers.design import ACTIVATIONS, Design
from sneframe_zoos.classifiers.hyperparameters import INITS, OPTIMISERS, Hyperparameters, Ranges
from sneframe_zoos.classifiers.image_sources import images_once, recorded
from sneframe_zoos.classifiers.images import ImageSet
from sneframe_zoos.classifiers.mlp import MLPDesign
from sneframe_zoos.classifiers.transformer import VisionTransformer

CNNS: dict[str, ConvNet] = {"small-cnn": convnet.SMALL_CNN, "arch1": convnet.ARCH1, "arch2": convnet.ARCH2}


POSITIVE = and_(gt(0), finite)


def pair(check: Any) -> Any:
    """Return a check of an option that is a lower and an upper bound, each of which passes ``check``."""
    return and_(deep_iterable(check), min_len(2), max_len(2), _ascending)


def _ascending(_: Any, attribute: attrs.Attribute[Any], value: tuple[float, float]) -> None:
    if value[0] > value[1]:
        raise ValueError(f"{attribute.name!r} must be a lower and an upper bound, but got {value}")


def _among(names: Sequence[str]) -> Any:
    return deep_iterable(in_(names), iterable_validator=min_len(1))


@frozen(kw_only=True)
class Classifiers(ABC):
    """The options that all zoos of classifiers have. Each subclass adds those of its designs.

    Everything random in run ``k`` is drawn from generators keyed by ``(seed, k)``.
    """

    builder: ClassVar[str]  #: name of the zoo builder, ``PLUGIN/NAME``
    arch: str = option("", "designs of the networks, which differ between the zoo builders")

    networks: int = option(1000, "number of training runs; each leaves several checkpoints", check=ge(1))
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
    checkpoints: int = option(
        3,
        "largest number of checkpoints of a run, at equal distances; the last is after the last epoch",
        check=ge(1),
    )
    batch_size: int = option(64, "number of images in a training step", check=ge(1))
    epochs: tuple[int, int] = option(
        (1, 8), "smallest and largest number of epochs, drawn uniformly", check=pair(ge(0))
    )
    lr: tuple[float, float] = option(
        (5e-4, 5e-2), "bounds of the learning rate, drawn log-uniformly", check=pair(POSITIVE)
    )
    optimisers: tuple[str, ...] = option(OPTIMISERS, "optimisers to draw from", check=_among(OPTIMISERS))
    inits: tuple[str, ...] = option(INITS, "initialisations of the kernels to draw from", check=_among(INITS))
    init_std: tuple[float, float] = option(
        (1e-2, 0.5),
        "bounds of the standard deviation of the inits normal and truncated_normal, drawn log-uniformly",
        check=pair(POSITIVE),
    )
    l2: tuple[float, float] = option(
        (1e-8, 1e-2), "bounds of the L2 penalty on kernels, drawn log-uniformly", check=pair(POSITIVE)
    )
    dropout: float = option(
        0.5,
        "largest dropout probability; half of the runs draw theirs uniformly below it, half use 0",
        check=and_(ge(0), lt(1)),
    )
    activations: tuple[str, ...] = option(
        ("relu", "tanh", "sigmoid", "selu"), "activations to draw from", check=_among(tuple(ACTIVATIONS))
    )
    train_fractions: tuple[float, ...] = option(
        (0.1, 0.25, 0.5, 1.0),
        "fractions of the training images to draw from",
        check=deep_iterable(and_(gt(0), le(1)), iterable_validator=min_len(1)),
    )

    @abstractmethod
    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """Return the design of a run's network. Whatever differs between runs is drawn from ``generator``."""

    @property
    def ranges(self) -> Ranges:
        """The ranges from which the hyper-parameters are drawn."""
        names = [each.name for each in attrs.fields(Ranges)]
        return Ranges(**{name: getattr(self, name) for name in names})

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

    def options(self) -> dict[str, Any]:
        """Return the options as JSON values that determine the zoo."""
        options: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self)))
        return {**options, **recorded(self.data, self.image_set())}


@frozen(kw_only=True)
class CNNs(Classifiers):
    """Options of ``zoo build cnn``."""

    builder: ClassVar[str] = "zoos/cnn"

    arch: Literal["small-cnn", "arch1", "arch2", "wild"] = option(
        "small-cnn",
        "small-cnn: as in the Small CNN Zoo; arch1, arch2: as in the SNE paper; wild: random for each run",
    )

    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """See :class:`~sneframe_zoos.classifiers.options.Classifiers`."""
        if self.arch == "wild":
            return convnet.wild(generator, self.activations, hyper.activation)
        return attrs.evolve(CNNS[self.arch], activation=hyper.activation)


@frozen(kw_only=True)
class MLPs(Classifiers):
    """Options of ``zoo build mlp``."""

    builder: ClassVar[str] = "zoos/mlp"

    arch: Literal["mlp", "wild"] = option(
        "mlp", "mlp: hidden layers of the given widths; wild: random depth and widths for each run"
    )
    widths: tuple[int, ...] = option(
        (32, 32),
        "widths of the hidden layers, for arch mlp",
        check=deep_iterable(ge(1), iterable_validator=min_len(1)),
    )

    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """See :class:`~sneframe_zoos.classifiers.options.Classifiers`."""
        if self.arch == "wild":
            return mlp.wild(generator, hyper.activation)
        return MLPDesign(widths=self.widths, activation=hyper.activation)


@frozen(kw_only=True)
class Transformers(Classifiers):
    """Options of ``zoo build transformer``."""

    builder: ClassVar[str] = "zoos/transformer"

    arch: Literal["vit", "wild"] = option(
        "vit", "vit: a vision transformer of the given sizes; wild: random sizes for each run"
    )
    patch: int = option(7, "height and width of a patch in pixels, for arch vit", check=ge(1))
    width: int = option(32, "width of a token, for arch vit", check=ge(1))
    blocks: int = option(2, "number of blocks, for arch vit", check=ge(1))
    heads: int = option(
        2,
        "number of heads of each attention, for arch vit; `width` must be a multiple of `heads`",
        check=ge(1),
    )
    mlp: int = option(64, "width of the hidden layer of each block, for arch vit", check=ge(1))

    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """See :class:`~sneframe_zoos.classifiers.options.Classifiers`."""
        if self.arch == "wild":
            return transformer.wild(generator, hyper.activation)
        return VisionTransformer(
            patch=self.patch,
            width=self.width,
            blocks=self.blocks,
            heads=self.heads,
            mlp=self.mlp,
            activation=hyper.activation,
        )

"""The builders ``cnn``, ``mlp`` and ``transformer``: their options, and the designs these lead to."""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs
import numpy as np
from attrs import frozen
from attrs.validators import deep_iterable, ge, min_len

from sneframe.config import option
from sneframe.zoo.builder import ZooBuilder
from sneframe_zoos import convnet, mlp, transformer
from sneframe_zoos.classifier import Classifiers, build
from sneframe_zoos.convnet import ConvNet
from sneframe_zoos.design import Design
from sneframe_zoos.hyperparameters import Hyperparameters
from sneframe_zoos.mlp import MLP
from sneframe_zoos.transformer import VisionTransformer

CNNS: dict[str, ConvNet] = {"small-cnn": convnet.SMALL_CNN, "arch1": convnet.ARCH1, "arch2": convnet.ARCH2}


@frozen(kw_only=True)
class CNNs(Classifiers):
    """Options of ``zoo build cnn``."""

    builder: ClassVar[str] = "zoos/cnn"

    arch: Literal["small-cnn", "arch1", "arch2", "wild"] = option(
        "small-cnn",
        "small-cnn: of the Small CNN Zoo; arch1, arch2: after the SNE paper; wild: drawn for each run",
    )

    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """See :class:`~sneframe_zoos.classifier.Classifiers`."""
        if self.arch == "wild":
            return convnet.wild(generator, self.activations, hyper.activation)
        return attrs.evolve(CNNS[self.arch], activation=hyper.activation)


@frozen(kw_only=True)
class MLPs(Classifiers):
    """Options of ``zoo build mlp``."""

    builder: ClassVar[str] = "zoos/mlp"

    arch: Literal["mlp", "wild"] = option(
        "mlp", "mlp: of these widths; wild: depth and widths drawn for each run"
    )
    widths: tuple[int, ...] = option(
        (32, 32), "of the hidden layers of an mlp", check=deep_iterable(ge(1), iterable_validator=min_len(1))
    )

    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """See :class:`~sneframe_zoos.classifier.Classifiers`."""
        if self.arch == "wild":
            return mlp.wild(generator, hyper.activation)
        return MLP(widths=self.widths, activation=hyper.activation)


@frozen(kw_only=True)
class Transformers(Classifiers):
    """Options of ``zoo build transformer``."""

    builder: ClassVar[str] = "zoos/transformer"

    arch: Literal["vit", "wild"] = option(
        "vit", "vit: a vision transformer of these sizes; wild: sizes drawn for each run"
    )
    patch: int = option(7, "pixels in height and width of a patch of a vit", check=ge(1))
    width: int = option(32, "of a token of a vit", check=ge(1))
    blocks: int = option(2, "of a vit", check=ge(1))
    heads: int = option(2, "of each attention of a vit; they divide the width", check=ge(1))
    mlp: int = option(64, "width of the hidden layer of each block of a vit", check=ge(1))

    def design(self, hyper: Hyperparameters, generator: np.random.Generator) -> Design:
        """See :class:`~sneframe_zoos.classifier.Classifiers`."""
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


BUILDERS = (
    ZooBuilder(name=CNNs.builder, config=CNNs, build=build, help="convolutional classifiers of images"),
    ZooBuilder(name=MLPs.builder, config=MLPs, build=build, help="fully connected classifiers of images"),
    ZooBuilder(name=Transformers.builder, config=Transformers, build=build, help="small vision transformers"),
)

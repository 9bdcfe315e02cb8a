"""Build a zoo of classifiers.

The hyper-parameters and the design of each training run are drawn at random. The runs are trained block by
block, and the zoo is written at the end.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import torch
from attrs import frozen
from torch import nn

from sneframe.architecture import Architecture
from sneframe.engine import Engine
from sneframe.symmetry.describe import describe
from sneframe.zoo import ZooBuilder, ZooWriter
from sneframe_zoos.block_build import BlockBuild, numbers_of_block
from sneframe_zoos.classifiers import hyperparameters
from sneframe_zoos.classifiers.design import Design
from sneframe_zoos.classifiers.evaluate import Checkpoint
from sneframe_zoos.classifiers.flat_weights import FlatWeights
from sneframe_zoos.classifiers.hyperparameters import Hyperparameters
from sneframe_zoos.classifiers.images import Images
from sneframe_zoos.classifiers.initial import draw_weights
from sneframe_zoos.classifiers.options import Classifiers, CNNs, MLPs, Transformers
from sneframe_zoos.classifiers.per_run import Run
from sneframe_zoos.classifiers.train import train

BLOCK = 64  #: runs in a block; fixed, so that a resumed build computes the same weights
STACK = 16  #: the most runs that are trained together; more of them do not fit into the processor's cache


@frozen(kw_only=True)
class Drawn:
    """A training run with its drawn hyper-parameters and design, but without initial weights.

    Args:
        number: number of the run.
        hyper: hyper-parameters of the run.
        design: design of the run's network.
        generator: the run's random generator, from which the initial weights are drawn next.
    """

    number: int
    hyper: Hyperparameters
    design: Design
    generator: np.random.Generator


def draw(config: Classifiers, number: int) -> Drawn:
    """Draw the hyper-parameters of training run ``number``, then the design of its network."""
    key = np.array([config.seed, number], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    hyper = hyperparameters.draw(config.ranges, generator)
    return Drawn(number=number, hyper=hyper, design=config.design(hyper, generator), generator=generator)


def train_block(config: Classifiers, block: int) -> dict[str, np.ndarray]:
    """Train the runs of a block. Return arrays about the n checkpoints of these runs.

    Returns:
        ``run``, ``epoch``, ``final``, ``healthy``, the accuracies and the losses, each of shape ``(n,)``;
        ``size`` ``(n,)``, the number of weights of each checkpoint; and ``weights``, the weights of all
        checkpoints, concatenated.
    """
    images = config.image_set()
    tensors = Images.of(images)
    stacks: dict[tuple[Design, bool], list[Run]] = defaultdict(list)
    for number in numbers_of_block(config.networks, BLOCK, block):
        drawn = draw(config, number)
        module = drawn.design.module(images.shape, images.classes)
        start = draw_weights(module, drawn.hyper, drawn.generator)
        stacks[drawn.design, drawn.hyper.dropout > 0].append(
            Run(number=number, hyper=drawn.hyper, weights=start)
        )
    checkpoints: list[Checkpoint] = []
    for (design, dropout), runs in stacks.items():
        module = design.module(images.shape, images.classes, dropout=0.5 if dropout else 0.0)
        # Stack runs of about the same length, because a stack is fast only while it is full.
        runs.sort(key=lambda run: -run.hyper.epochs * run.hyper.train_fraction)
        for first in range(0, len(runs), STACK):
            checkpoints += train(
                module,
                runs[first : first + STACK],
                tensors,
                seed=config.seed,
                batch_size=config.batch_size,
                checkpoints=config.checkpoints,
            )
    checkpoints.sort(key=lambda checkpoint: (checkpoint.run, checkpoint.epoch))
    columns = ("run", "epoch", "final", "healthy", *MEASURED)
    return {
        **{name: np.array([getattr(checkpoint, name) for checkpoint in checkpoints]) for name in columns},
        "size": np.array([len(checkpoint.weights) for checkpoint in checkpoints]),
        "weights": np.concatenate([checkpoint.weights for checkpoint in checkpoints]),
    }


#: Properties that are measured. A ``sneframe run`` on the zoo predicts the first of them by default.
MEASURED = ("test_accuracy", "test_loss", "train_accuracy", "train_loss")


def build(config: Classifiers, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Build the zoo, unless it exists. If another process is building the zoo, wait for that process.

    Raises:
        ZooError: there are no images, the images are too small, or ``path`` already holds a zoo or an
            unfinished build of different options.
        MachineError: the images cannot be read, or the machine failed.
    """
    images = config.image_set()
    BlockBuild(
        builder=config.builder,
        options=config.options(),
        defaults=json.loads(json.dumps(attrs.asdict(type(config)()))),
        networks=config.networks,
        size=BLOCK,
        check=partial(check_designs, config),
        train=partial(train_block, config),
        write=BlockWriter(config).add,
        name=f"{images.name}-{config.arch}",
        description=f"{config.arch} classifiers of {images.name}: {config.networks} training runs",
    ).run(path, progress, engine)


def check_designs(config: Classifiers) -> None:
    """Check that the design of every run can be built for the images.

    Raises:
        ZooError: the images are too small for a design, or do not fit it otherwise.
    """
    images = config.image_set()
    for design in {draw(config, number).design for number in range(config.networks)}:
        design.module(images.shape, images.classes)


class BlockWriter:
    """Writes finished blocks to a zoo.

    Args:
        config: the options of the zoo.
    """

    def __init__(self, config: Classifiers) -> None:
        self._config = config
        self._images = config.image_set()
        self._architectures: dict[Design, Architecture] = {}

    def add(self, zoo: ZooWriter, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the networks of a block to the zoo, design by design. Each training run is a run group."""
        numbers = numbers_of_block(self._config.networks, BLOCK, block)
        drawn = {number: draw(self._config, number) for number in numbers}
        rows: dict[Design, list[int]] = defaultdict(list)
        for row, number in enumerate(arrays["run"].tolist()):
            rows[drawn[number].design].append(row)
        weights = np.split(arrays["weights"], np.cumsum(arrays["size"])[:-1])
        for design, here in rows.items():
            module = design.module(self._images.shape, self._images.classes).eval()
            stacked = torch.from_numpy(np.stack([weights[row] for row in here]))
            properties = {
                **{name: arrays[name][here] for name in MEASURED},
                "generalisation_gap": arrays["train_accuracy"][here] - arrays["test_accuracy"][here],
                "dataset": [self._images.name] * len(here),
                "arch": [self._config.arch] * len(here),
                "epoch": arrays["epoch"][here],
                "final": arrays["final"][here],
            }
            hyper = [drawn[number].hyper for number in arrays["run"][here].tolist()]
            for field in attrs.fields(Hyperparameters):
                properties[field.name] = [getattr(each, field.name) for each in hyper]
            zoo.append(
                self._architecture(design, module),
                FlatWeights(module).views(stacked),
                properties,
                group=arrays["run"][here],
                healthy=arrays["healthy"][here],
            )

    def _architecture(self, design: Design, module: nn.Module) -> Architecture:
        if design not in self._architectures:
            example = torch.linspace(0, 1, math.prod(self._images.shape)).view(1, *self._images.shape)
            self._architectures[design] = describe(module, example)
        return self._architectures[design]


BUILDERS = (
    ZooBuilder(name=CNNs.builder, config=CNNs, build=build, help="convolutional image classifiers"),
    ZooBuilder(name=MLPs.builder, config=MLPs, build=build, help="fully connected image classifiers"),
    ZooBuilder(name=Transformers.builder, config=Transformers, build=build, help="small vision transformers"),
)

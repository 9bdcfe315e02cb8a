"""A zoo of classifiers, from its options to the written zoo: draw every run, train block by block, collect."""

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
from sneframe.zoo import ZooBuilder, create
from sneframe.zoo.write import ZooWriter
from sneframe_zoos.blocks import Blocks, finish
from sneframe_zoos.classifiers import hyperparameters
from sneframe_zoos.classifiers.design import Design
from sneframe_zoos.classifiers.hyperparameters import Hyperparameters
from sneframe_zoos.classifiers.initial import draw_weights
from sneframe_zoos.classifiers.options import Classifiers, CNNs, MLPs, Transformers
from sneframe_zoos.classifiers.train import Checkpoint, FlatWeights, Images, Run, train
from sneframe_zoos.once import made_by, once

BLOCK = 64  #: runs that are finished together; a fixed number, so that a resumed build repeats the same arithmetic
STACK = 16  #: runs that are trained together; more do not fit the processor's cache, and are slower


@frozen(kw_only=True)
class Drawn:
    """A run before it is trained.

    Args:
        number: of the run.
        hyper: its hyper-parameters.
        design: of its network.
        generator: from which the initial weights are drawn next.
    """

    number: int
    hyper: Hyperparameters
    design: Design
    generator: np.random.Generator


def draw(config: Classifiers, number: int) -> Drawn:
    """Draw a run: hyper-parameters first, then the design."""
    key = np.array([config.seed, number], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    hyper = hyperparameters.draw(config.ranges, generator)
    return Drawn(number=number, hyper=hyper, design=config.design(hyper, generator), generator=generator)


def numbers(config: Classifiers, block: int) -> range:
    """Return the runs of a block."""
    return range(block * BLOCK, min((block + 1) * BLOCK, config.networks))


def train_block(config: Classifiers, block: int) -> dict[str, np.ndarray]:
    """Train the runs of a block; return of their n networks one array each.

    Returns:
        ``run``, ``epoch``, ``final``, ``healthy``, the accuracies and losses ``(n,)``, and the ``weights`` of all, one
        network after the other, ``size (n,)`` of each.
    """
    images = config.image_set()
    tensors = Images.of(images)
    stacks: dict[tuple[Design, bool], list[Run]] = defaultdict(list)
    for number in numbers(config, block):
        drawn = draw(config, number)
        module = drawn.design.module(images.shape, images.classes)
        start = draw_weights(module, drawn.hyper, drawn.generator)
        stacks[drawn.design, drawn.hyper.dropout > 0].append(
            Run(number=number, hyper=drawn.hyper, weights=start)
        )
    found: list[Checkpoint] = []
    for (design, dropout), runs in stacks.items():
        module = design.module(images.shape, images.classes, dropout=0.5 if dropout else 0.0)
        # Runs of about the same length together: a stack is fast while it is full.
        runs.sort(key=lambda run: -run.hyper.epochs * run.hyper.train_fraction)
        for place in range(0, len(runs), STACK):
            found += train(
                module,
                runs[place : place + STACK],
                tensors,
                seed=config.seed,
                batch_size=config.batch_size,
                checkpoints=config.checkpoints,
            )
    found.sort(key=lambda checkpoint: (checkpoint.run, checkpoint.epoch))
    columns = ("run", "epoch", "final", "healthy", *MEASURED)
    return {
        **{name: np.array([getattr(checkpoint, name) for checkpoint in found]) for name in columns},
        "size": np.array([len(checkpoint.weights) for checkpoint in found]),
        "weights": np.concatenate([checkpoint.weights for checkpoint in found]),
    }


MEASURED = ("test_accuracy", "test_loss", "train_accuracy", "train_loss")  #: the one to predict first


def build(config: Classifiers, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Make the zoo; one that is there already is left as it is, one that another process is making is waited for.

    Raises:
        ZooError: no images, images too small, or the path holds something else: a zoo or an unfinished build of another
            configuration.
        MachineError: the images cannot be read.
    """
    options = config.options()
    defaults = json.loads(json.dumps(attrs.asdict(type(config)())))
    if not once(path, config.builder, options, defaults, lambda: make(config, path, progress, engine)):
        progress(config.networks, config.networks)


def make(config: Classifiers, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Train the runs block by block, then write the zoo.

    Raises:
        ZooError: an unfinished build of another configuration lies beside the path, or images too small.
    """
    images, options = config.image_set(), config.options()
    for design in {draw(config, number).design for number in range(config.networks)}:
        design.module(images.shape, images.classes)  # before any folder is made
    blocks = Blocks(path, {"builder": config.builder, **options})
    sizes = [len(numbers(config, block)) for block in range(math.ceil(config.networks / BLOCK))]
    finish(blocks, partial(train_block, config), sizes, progress, engine)
    with create(
        path,
        name=f"{images.name}-{config.arch}",
        description=f"{config.arch} classifiers of {images.name}: {config.networks} training runs",
        builder=made_by(config.builder, options),
    ) as zoo:
        collector = Collector(config, zoo)
        for block in range(len(sizes)):
            collector.add(block, blocks.load(block))
    blocks.remove()


class Collector:
    """Writes finished blocks into a zoo.

    Args:
        config: of the zoo.
        zoo: to write to.
    """

    def __init__(self, config: Classifiers, zoo: ZooWriter) -> None:
        self._config = config
        self._zoo = zoo
        self._images = config.image_set()
        self._architectures: dict[Design, Architecture] = {}

    def add(self, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the networks of a block, design by design."""
        drawn = {number: draw(self._config, number) for number in numbers(self._config, block)}
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
            self._zoo.append(
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
    ZooBuilder(name=CNNs.builder, config=CNNs, build=build, help="convolutional classifiers of images"),
    ZooBuilder(name=MLPs.builder, config=MLPs, build=build, help="fully connected classifiers of images"),
    ZooBuilder(name=Transformers.builder, config=Transformers, build=build, help="small vision transformers"),
)

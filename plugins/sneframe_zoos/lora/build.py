"""The builder of zoos of low-rank adapters."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import torch

from sneframe.architecture import Architecture
from sneframe.architecture.low_rank import adapter
from sneframe.engine import Engine
from sneframe.errors import ZooError, counted
from sneframe.zoo import ZooBuilder, ZooWriter
from sneframe_zoos.block_build import BlockBuild, numbers_of_block
from sneframe_zoos.lora.options import Adapters, draw, subsets
from sneframe_zoos.lora.train import STACK, AdapterStack, TrainedAdapter, modules_of, train_base

NAME = "zoos/lora"
BLOCK = 64  #: adapters in a block; fixed, so that a resumed build computes the same weights
MEASURED = ("accuracy", "loss", "accuracy_all", "loss_all")


def train_block(config: Adapters, block: int, *, shared: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train the adapters of a block. Return what was measured, and their weights, concatenated.

    Args:
        config: the options of the zoo.
        block: number of the block.
        shared: the state dict of the base.
    """
    stack = AdapterStack(config, shared)
    drawn = [draw(config, number) for number in numbers_of_block(config.networks, BLOCK, block)]
    # Stack adapters with about as many steps, because all of a stack take as many as the longest.
    drawn.sort(key=lambda each: -each.steps)
    trained: list[TrainedAdapter] = []
    for first in range(0, len(drawn), STACK):
        trained += stack.train(drawn[first : first + STACK])
    trained.sort(key=lambda each: each.drawn.number)
    flat = [
        np.concatenate([part.ravel() for pair in each.factors.values() for part in pair]) for each in trained
    ]
    return {
        **{name: np.array([getattr(each, name) for each in trained]) for name in MEASURED},
        "size": np.array([len(each) for each in flat]),
        "weights": np.concatenate(flat),
    }


def build(config: Adapters, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Build the zoo, unless it exists. If another process is building the zoo, wait for that process.

    Raises:
        ZooError: there are no images, or too few classes, or ``path`` already holds a zoo or an unfinished
            build of different options.
        MachineError: the images cannot be read, or the machine failed.
    """
    images = config.image_set()
    BlockBuild(
        builder=NAME,
        options=config.options(),
        defaults=json.loads(json.dumps(attrs.asdict(Adapters()))),
        networks=config.networks,
        size=BLOCK,
        check=partial(check, config),
        shared=partial(train_base, config),
        train=partial(train_block, config),
        write=AdapterWriter(config).add,
        name=f"{images.name}-adapters",
        description=f"{counted(config.networks, 'low-rank adapter')} of a transformer for {images.name}",
    ).run(path, progress, engine)


def check(config: Adapters) -> None:
    """Check that the base and the sets of classes can be made for the images.

    Raises:
        ZooError: they cannot, or a set of classes has no image to train or to test on.
    """
    images = config.image_set()
    config.design.module(images.shape, images.classes)
    for subset in subsets(config):
        for part, labels in (
            ("train", images.labels[: images.train]),
            ("test", images.labels[images.train :]),
        ):
            if not np.isin(labels, subset).any():
                raise ZooError(f"{images.name}: there is no image to {part} on of the classes {subset}")


class AdapterWriter:
    """Writes finished blocks to a zoo, architecture by architecture.

    Args:
        config: the options of the zoo.
    """

    def __init__(self, config: Adapters) -> None:
        self._config = config
        images = config.image_set()
        self._name = images.name
        module = config.design.module(images.shape, images.classes)
        state = module.state_dict()
        self._sides = {name: tuple(state[f"{name}.weight"].shape) for name in modules_of(config, "all")}
        self._architectures: dict[tuple[int, str], Architecture] = {}

    def add(self, zoo: ZooWriter, block: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the adapters of a block to the zoo. Each adapter is a run group of its own."""
        numbers = numbers_of_block(self._config.networks, BLOCK, block)
        drawn = [draw(self._config, number) for number in numbers]
        rows: dict[tuple[int, str], list[int]] = defaultdict(list)
        for row, each in enumerate(drawn):
            rows[each.rank, each.targets].append(row)
        weights = np.split(arrays["weights"], np.cumsum(arrays["size"])[:-1])
        for (rank, targets), here in rows.items():
            stacked = np.stack([weights[row] for row in here])
            scaling = np.array([drawn[row].alpha / rank for row in here], np.float32)
            classes = [subsets(self._config)[drawn[row].subset] for row in here]
            zoo.append(
                self._architecture(rank, targets),
                self._named(stacked, scaling, rank, targets),
                {
                    **{name: arrays[name][here] for name in MEASURED},
                    "classes": ["+".join(map(str, each)) for each in classes],
                    "rank": np.array([drawn[row].rank for row in here]),
                    "targets": [targets] * len(here),
                    "alpha": np.array([drawn[row].alpha for row in here]),
                    "learning_rate": np.array([drawn[row].lr for row in here]),
                    "steps": np.array([drawn[row].steps for row in here]),
                    "dataset": [self._name] * len(here),
                },
                group=np.array(numbers)[here],
                healthy=np.isfinite(stacked).all(1) & np.isfinite(arrays["loss_all"][here]),
            )

    def _shapes(self, rank: int, targets: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the factors, in the order in which a block stores them."""
        found: dict[str, tuple[int, ...]] = {}
        for name in modules_of(self._config, targets):
            outputs, inputs = self._sides[name]
            found[f"{name}.lora_A.weight"] = (rank, inputs)
            found[f"{name}.lora_B.weight"] = (outputs, rank)
        return found

    def _named(
        self, stacked: np.ndarray, scaling: np.ndarray, rank: int, targets: str
    ) -> dict[str, torch.Tensor]:
        shapes = self._shapes(rank, targets)
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
        pieces = np.split(stacked, ends, axis=1)
        named = {
            name: torch.from_numpy(piece.reshape(-1, *shape).copy())
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }
        scalings = {
            f"{name}.lora_scaling": torch.from_numpy(scaling) for name in modules_of(self._config, targets)
        }
        return {**named, **scalings}

    def _architecture(self, rank: int, targets: str) -> Architecture:
        if (rank, targets) not in self._architectures:
            scalings = {f"{name}.lora_scaling": () for name in modules_of(self._config, targets)}
            found = adapter({**self._shapes(rank, targets), **scalings})
            assert found is not None
            self._architectures[rank, targets] = found
        return self._architectures[rank, targets]


LORA = ZooBuilder(
    name=NAME,
    config=Adapters,
    build=build,
    help="low-rank adapters of a small transformer; the properties are accuracies and classes",
)

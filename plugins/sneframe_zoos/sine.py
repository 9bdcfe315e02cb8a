"""The builders of sine zoos. Their networks are INRs fitted to sin(f x); the frequency f is a property."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, min_len

from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.engine import Engine
from sneframe.zoo import ZooWriter
from sneframe.zoo.builder import ZooBuilder
from sneframe_zoos.block_build import BlockBuild, numbers_of_block
from sneframe_zoos.fit import fit
from sneframe_zoos.inr import architecture, draw_weights
from sneframe_zoos.once import holds

NAME = "zoos/sine"
BLOCK = 250  #: networks in a block; fixed, so that a resumed build computes the same weights
FREQUENCIES = (0.5, 10.0)  #: bounds of the uniform distribution of f


@frozen(kw_only=True)
class Sine:
    """The options of a sine zoo. Network ``k`` has a random generator keyed by ``(seed, k)``."""

    networks: int = option(1000, "number of networks", check=ge(1))
    widths: tuple[int, ...] = option(
        (32, 32), "widths of the hidden layers", check=deep_iterable(ge(1), iterable_validator=min_len(1))
    )
    seed: int = option(0, "seed of the frequencies and the initial weights", check=and_(ge(0), lt(2**64)))
    steps: int = option(1000, "largest number of Adam steps for each network", check=ge(1))
    tolerance: float = option(1e-4, "mean squared error at which the training of a network ends", check=ge(0))
    lr: float = option(1e-3, "Adam's learning rate", check=gt(0))
    weight_decay: float = option(1e-4, "Adam's L2 penalty", check=ge(0))
    points: int = option(
        256, "number of equally spaced points in [-pi, pi] that each network is fitted to", check=ge(2)
    )
    siren: bool = option(False, "draw the weights of the first layer from U(±1), as SIREN does")


@frozen(kw_only=True)
class Demo:
    """The demo zoo has no options."""


DEMO_ZOO = Sine(networks=1000, widths=(16, 16))


def build(config: Sine, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Build the zoo, unless it exists. If another process is building the zoo, wait for that process.

    Raises:
        ZooError: ``path`` already holds a zoo or an unfinished build of different options.
        MachineError: the machine failed.
    """
    BlockBuild(
        builder=NAME,
        options=_options(config),
        defaults=_options(Sine()),
        networks=config.networks,
        size=BLOCK,
        train=partial(train, config),
        write=partial(write, config),
        name="sine",
        description=f"INRs of sin(f x) on [-pi, pi], f uniform in {list(FREQUENCIES)}",
    ).run(path, progress, engine)


def write(config: Sine, zoo: ZooWriter, block: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Add the networks of a block to the zoo. Each network is a run group of its own."""
    described = architecture(config.widths)
    stacked = Networks(architecture=described, weights=torch.from_numpy(arrays["weights"]))
    zoo.append(
        described,
        stacked.parameters(),
        {"frequency": arrays["frequency"], "fit_mse": arrays["fit_mse"]},
        group=np.array(numbers_of_block(config.networks, BLOCK, block)),
    )


def train(config: Sine, block: int) -> dict[str, np.ndarray]:
    """Fit the n networks of a block. Return ``weights (n, P)``, ``frequency (n,)`` and ``fit_mse (n,)``."""
    numbers = numbers_of_block(config.networks, BLOCK, block)
    keys = (np.array([config.seed, number], dtype=np.uint64) for number in numbers)
    generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    frequency = np.array([generator.uniform(*FREQUENCIES) for generator in generators])
    start = np.stack([draw_weights(config.widths, generator, siren=config.siren) for generator in generators])
    x = np.linspace(-math.pi, math.pi, config.points)
    count = len(numbers)
    weights, errors = fit(
        architecture(config.widths),
        torch.from_numpy(start.astype(np.float32)),
        torch.from_numpy(x.astype(np.float32))[None],
        torch.from_numpy(np.sin(np.outer(frequency, x)).astype(np.float32))[:, None],
        steps=torch.full((count,), config.steps),
        lr=torch.full((count,), config.lr, dtype=torch.float64),
        tolerance=config.tolerance,
        weight_decay=config.weight_decay,
    )
    return {"weights": weights.numpy(), "frequency": frequency, "fit_mse": errors.numpy()}


def build_demo(_: Any, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Build the demo zoo, a sine zoo, unless it exists. The build takes half a minute."""
    if not holds(path, NAME, _options(DEMO_ZOO), _options(Sine())):
        build(DEMO_ZOO, path, progress, engine)


def _options(config: Sine) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(json.dumps(attrs.asdict(config)))
    return options


SINE = ZooBuilder(
    name=NAME, config=Sine, build=build, help="INRs of sine waves; the property is the frequency"
)
DEMO = ZooBuilder(
    name="zoos/demo", config=Demo, build=build_demo, help="the sine zoo of the demo, built in half a minute"
)

"""The builders of sine zoos: a config in; INRs of sin(f x), with the frequency f as a property, out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
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
from sneframe.zoo import create
from sneframe.zoo.builder import ZooBuilder
from sneframe_zoos.blocks import Blocks, finish
from sneframe_zoos.fit import fit
from sneframe_zoos.inr import architecture, draw_weights
from sneframe_zoos.once import holds, made_by, once

NAME = "zoos/sine"
BLOCK = 250  #: networks trained together; a fixed number, so that a resumed build repeats the same arithmetic
FREQUENCIES = (0.5, 10.0)  #: f is uniform between the two


@frozen(kw_only=True)
class Sine:
    """What determines a sine zoo; network ``k`` draws from a generator of its own, keyed by ``(seed, k)``."""

    networks: int = option(1000, "how many", check=ge(1))
    widths: tuple[int, ...] = option(
        (32, 32), "of the hidden layers", check=deep_iterable(ge(1), iterable_validator=min_len(1))
    )
    seed: int = option(0, "of frequencies and initial weights", check=and_(ge(0), lt(2**64)))
    steps: int = option(1000, "of Adam, at most, for each network", check=ge(1))
    tolerance: float = option(1e-4, "the mean squared error at which a network is frozen", check=ge(0))
    lr: float = option(1e-3, "Adam's learning rate", check=gt(0))
    weight_decay: float = option(1e-4, "Adam's L2 penalty", check=ge(0))
    points: int = option(256, "equally spaced, in [-pi, pi]; what each network is fitted on", check=ge(2))
    siren: bool = option(False, "whether the first layer starts as SIREN's does, its weights U(±1)")


@frozen(kw_only=True)
class Demo:
    """The demo zoo has nothing to configure."""


DEMO_ZOO = Sine(networks=1000, widths=(16, 16))


def build(config: Sine, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Make the zoo; one that is there already is left as it is, one that another process is making is waited for.

    Raises:
        ZooError: the path holds something else: a zoo or an unfinished build of another configuration.
    """
    if not once(path, NAME, _options(config), _options(Sine()), lambda: make(config, path, progress, engine)):
        progress(config.networks, config.networks)


def make(config: Sine, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Train the networks block by block, then write the zoo.

    Raises:
        ZooError: an unfinished build of another configuration lies beside the path.
    """
    blocks = Blocks(path, {"builder": NAME, **_options(config)})
    sizes = [len(numbers(config, block)) for block in range(math.ceil(config.networks / BLOCK))]
    finish(blocks, partial(train, config), sizes, progress, engine)
    described = architecture(config.widths)
    with create(
        path,
        name="sine",
        description=f"INRs of sin(f x) on [-pi, pi], f uniform in {list(FREQUENCIES)}",
        builder=made_by(NAME, _options(config)),
    ) as zoo:
        for block in range(len(sizes)):
            arrays = blocks.load(block)
            stacked = Networks(architecture=described, weights=torch.from_numpy(arrays["weights"]))
            zoo.append(
                described,
                stacked.parameters(),
                {"frequency": arrays["frequency"], "fit_mse": arrays["fit_mse"]},
                group=np.array(numbers(config, block)),
            )
    blocks.remove()


def numbers(config: Sine, block: int) -> range:
    """Return the networks of a block."""
    return range(block * BLOCK, min((block + 1) * BLOCK, config.networks))


def train(config: Sine, block: int) -> dict[str, np.ndarray]:
    """Return ``weights (n, P)``, ``frequency (n,)`` and ``fit_mse (n,)`` of the networks of a block."""
    keys = (np.array([config.seed, number], dtype=np.uint64) for number in numbers(config, block))
    generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    frequency = np.array([generator.uniform(*FREQUENCIES) for generator in generators])
    start = np.stack([draw_weights(config.widths, generator, siren=config.siren) for generator in generators])
    x = np.linspace(-math.pi, math.pi, config.points)
    weights, errors = fit(
        architecture(config.widths),
        torch.from_numpy(start.astype(np.float32)),
        torch.from_numpy(x.astype(np.float32)),
        torch.from_numpy(np.sin(np.outer(frequency, x)).astype(np.float32)),
        steps=config.steps,
        tolerance=config.tolerance,
        lr=config.lr,
        weight_decay=config.weight_decay,
    )
    return {"weights": weights.numpy(), "frequency": frequency, "fit_mse": errors.numpy()}


def build_demo(_: Any, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
    """Build the demo zoo, a sine zoo small enough to wait for; nothing is said of one that is there."""
    if not holds(path, NAME, _options(DEMO_ZOO), _options(Sine())):
        build(DEMO_ZOO, path, progress, engine)


def _options(config: Sine) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(json.dumps(attrs.asdict(config)))
    return options


SINE = ZooBuilder(
    name=NAME, config=Sine, build=build, help="INRs of sine waves; the property is the frequency"
)
DEMO = ZooBuilder(
    name="zoos/demo", config=Demo, build=build_demo, help="the sine zoo of the demo, made in half a minute"
)
